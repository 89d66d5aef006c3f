"""SIGTERM and Ctrl-C: a first one asks the loop to save and leave, a second one ends at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ASKING = (signal.SIGTERM, signal.SIGINT)


class Interrupted(SystemExit):
    """A run that was asked to stop, after it has saved: exit code 143 (SIGTERM) or 130 (Ctrl-C)."""

    def __init__(self, number: int):
        super().__init__(128 + number)


class Caught:
    """The number of the signal that has come; 0 until then."""

    number = 0


@contextmanager
def watch() -> Iterator[Caught]:
    """Signals only set a flag while the block runs; their former handlers are put back at its end."""
    caught = Caught()
    if threading.current_thread() is not threading.main_thread():      # only the main thread may set handlers
        yield caught
        return

    def note(number, frame):
        caught.number = number
        for each in ASKING:
            signal.signal(each, signal.SIG_DFL)

    former = {number: signal.signal(number, note) for number in ASKING}
    try:
        yield caught
    finally:
        for number, handler in former.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
