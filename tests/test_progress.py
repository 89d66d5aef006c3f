import pytest

from medfuse_jax import progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_it_is_a_line_every_ten_seconds(clock, caplog):
    caplog.set_level("INFO")
    with progress.Progress("simulating", 100, "person") as told:
        for done in range(1, 101):
            clock[0] += 1.0
            told.tell(done, loss=0.5)
    said = [record.getMessage() for record in caplog.records]
    lines = [line for line in said if line.startswith("simulating")]          # a neighbour's signal may speak as well
    assert len(lines) == 10 and lines[0] == "simulating: person 10 of 100, 1 person/s, 90 s left, loss 0.5"
    assert lines[-1] == "simulating: person 100 of 100, in 2 min, loss 0.5"


def test_what_came_before_the_first_unit_does_not_count_as_its_pace(clock, caplog):
    caplog.set_level("INFO")
    with progress.Progress("ldm", 20, "step", first=9) as told:
        clock[0] = 100.0                                        # it compiled
        told.tell(10)
        clock[0] = 110.0
        told.tell(15)
    assert [record.getMessage() for record in caplog.records] == ["ldm: step 15 of 20, 2 s/step, 10 s left"]


def test_who_does_not_show_is_silent_and_reads_nothing(clock, caplog):
    caplog.set_level("INFO")
    with progress.Progress("ldm", 1, "step", shows=False) as told:
        told.tell(1, loss="not a number")
    assert not caplog.records


@pytest.mark.parametrize("seconds, words", [(0.2, "0 s"), (99.0, "99 s"), (130.0, "2 min"), (12600.0, "3.5 h")])
def test_times_are_told_as_people_tell_them(seconds, words):
    assert progress.duration(seconds) == words
