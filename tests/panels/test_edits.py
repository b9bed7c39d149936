from __future__ import annotations

import contextlib
import threading

import pytest

from labkit.core.errors import LabError
from labkit.panels.edits import Edits


class Fields:
    """Two numbers that somebody edits, always as a pair."""

    def __init__(self) -> None:
        self.edits = Edits()
        self.value = (0, 0)
        self.errors: list[Exception | None] = []
        self.restored = 0

    def guard(self, handler):
        return self.edits.guard(handler, alert=self.errors.append, restore=self.restore)

    def restore(self) -> None:
        self.restored += 1


def test_edits_of_two_threads_follow_each_other():
    fields = Fields()
    both = threading.Barrier(2)

    def edit(index: int, number: int) -> None:
        value = list(fields.value)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.3)  # where both are here at once, both have read the old value
        value[index] = number
        fields.value = tuple(value)

    guarded = fields.guard(edit)
    threads = [threading.Thread(target=guarded, args=pair) for pair in ((0, 5), (1, 7))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert fields.value == (5, 7)


def test_what_is_filled_is_no_edit_and_only_on_this_thread():
    fields = Fields()
    edited: list[str] = []
    guarded = fields.guard(edited.append)
    with fields.edits.filling():
        guarded("by the program")
        with fields.edits.filling():
            pass
        guarded("still by the program")
        other = threading.Thread(target=guarded, args=("by somebody",))
        other.start()
        other.join(20)
    guarded("by somebody else")
    assert edited == ["by somebody", "by somebody else"]


@pytest.mark.parametrize("error", [LabError("too much"), ZeroDivisionError()])
def test_an_error_is_shown_and_the_controls_go_back(error):
    fields = Fields()

    def refuse() -> None:
        raise error

    fields.guard(refuse)()
    assert fields.errors == [None, error], "first the old alert goes, then the new one comes"
    assert fields.restored == 1
    fields.guard(lambda: None)()
    assert fields.errors[-1] is None
    assert fields.restored == 1


def test_an_interrupt_goes_through():
    fields = Fields()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fields.guard(interrupt)()
