"""SIGTERM and Ctrl-C, from the first moment of a command to its last: a first one is obeyed, a second one ends at once.

Outside the loop a signal raises `Interrupted` where the program stands, so that what is half made is taken away.
The loop notes it instead (`watch`), saves, and leaves by the same exception.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from absl import logging

ASKING = (signal.SIGTERM, signal.SIGINT)


class Interrupted(SystemExit):
    """A run that was asked to stop: exit code 143 (SIGTERM) or 130 (Ctrl-C). tells: this process says how to go on."""

    def __init__(self, number: int, tells: bool = True):
        super().__init__(128 + number)
        self.tells = tells


class Caught:
    """The number of the signal that has come; 0 until then."""

    number = 0

    def note(self, number: int) -> None:
        """A signal has come."""
        self.number = number


def leave(number: int) -> None:
    """Stop where the program stands."""
    raise Interrupted(number)


@contextmanager
def stoppable() -> Iterator[None]:
    """For a whole command: a first signal raises Interrupted, a second one ends the process even while jax compiles."""
    with answered(leave), overheard():
        yield


@contextmanager
def watch() -> Iterator[Caught]:
    """Signals only set a flag while the block runs; their former handlers are put back at its end."""
    caught = Caught()
    with answered(caught.note):
        yield caught


@contextmanager
def answered(answer: Callable[[int], None]) -> Iterator[None]:
    """A first signal calls `answer` in the main thread, a second one ends the process."""
    if threading.current_thread() is not threading.main_thread():      # only the main thread may set handlers
        yield
        return

    def first(number, frame):
        for each in ASKING:
            signal.signal(each, signal.SIG_DFL)
        answer(number)

    former = {number: signal.signal(number, first) for number in ASKING}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextmanager
def overheard() -> Iterator[None]:
    """Signals are heard by a thread, too: a compile is one step to Python, which answers only between two steps."""
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)
    former = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=listen, args=(ear,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        mouth.close()


def listen(ear: socket.socket) -> None:
    """Say that a first signal was heard; end the process at a second one."""
    heard = 0
    with ear:
        while number := int.from_bytes(ear.recv(1), "big"):             # 0: the other side was closed
            heard += number in ASKING
            if heard > 1:
                os._exit(128 + number)
            if number in ASKING:
                logging.warning("%s: stopping after what is under way; a second one ends at once",
                                signal.Signals(number).name)
