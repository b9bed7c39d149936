"""What any Player does, seen on one that counts. How a Session trains: test_training.py."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import labkit.training.session
from labkit.core.executors import SynchronousExecutor
from labkit.recipe.recipe import Recipe
from labkit.training.session import Player, Session
from labkit.training.trainer import fit

QUICK = Recipe(task="moons", samples=100, hidden=(6, 4), steps=60, device="cpu")


class Faulty(Player):
    """Makes steps until `at`, where it raises `error` as long as there is one."""

    def __init__(self, at: int, error: BaseException | None, *, executor=None) -> None:
        super().__init__(executor)
        self.at, self.fault = at, error
        self._begin()

    @property
    def steps_done(self) -> int:
        return self.count

    @property
    def over(self) -> bool:
        return self.count >= 10

    def _advance(self) -> None:
        if self.count == self.at and self.fault is not None:
            raise self.fault
        self.count += 1

    def _begin(self) -> None:
        self.count = 0


def until_it_ends(player: Player) -> None:
    player.play()
    with contextlib.suppress(ZeroDivisionError):
        player.wait(30)


class Counter(Player):
    """Counts to `end`; waits at `hold` until somebody halts it, then makes one more step."""

    def __init__(self, end: int, *, hold: int | None = None, executor=None) -> None:
        super().__init__(executor)
        self.end, self.hold = end, hold
        self.reached = threading.Event()
        self.threads: list[tuple[str, int]] = []
        self._begin()

    @property
    def steps_done(self) -> int:
        return self.count

    @property
    def over(self) -> bool:
        return self.count >= self.end

    def _advance(self) -> None:
        if self.count == self.hold and not self.reached.is_set():
            self.reached.set()
            assert self._halt.wait(30), "nobody halted the run"
        self.threads.append((threading.current_thread().name, torch.get_num_threads()))
        self.count += 1

    def _begin(self) -> None:
        self.count = 0


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_players_life():
    player = Counter(10, hold=4)
    seen = [player.state]
    player.play()
    assert player.reached.wait(30)
    seen.append(player.state)
    player.pause()
    seen.append((player.state, player.steps_done))
    player.step(2)
    seen.append((player.state, player.steps_done))
    player.stop()
    seen.append((player.state, player.steps_done))
    player.play()  # from the beginning: it was stopped
    player.wait(30)
    seen.append((player.state, player.steps_done, player.running))
    player.rewind()
    seen.append((player.state, player.speed))
    assert seen == [
        "ready",
        "running",
        ("paused", 5),
        ("paused", 7),
        ("stopped", 7),
        ("finished", 10, False),
        ("ready", 0.0),
    ]
    assert len(player.threads) == 7 + 10


def test_playing_is_done_elsewhere_and_single_steps_here():
    player = Counter(6)
    player.step(2)
    player.play()
    player.wait(30)
    here = threading.current_thread().name
    assert [name for name, _ in player.threads] == [here] * 2 + ["labkit-train"] * 4


def test_every_step_uses_one_thread_of_torch(two_threads):
    player = Counter(4)
    player.step(2)
    player.play()
    player.wait(30)
    assert [count for _, count in player.threads] == [1, 1, 1, 1]
    assert torch.get_num_threads() == 2, "the caller's setting is gone"


@pytest.mark.parametrize("init", ["orthogonal", "lsuv"])
def test_initial_weights_do_not_depend_on_torchs_threads(init, two_threads):
    recipe = Recipe(task="digits", hidden=(256, 128), init=init, steps=1, device="cpu")
    np.testing.assert_array_equal(Session(recipe).initial, fit(recipe).flat(0))


def test_speed_is_in_steps_per_second(monkeypatch):
    """By a clock that moves 10 ms a step: 100 steps per second."""
    player = Counter(200, executor=SynchronousExecutor())
    clock = SimpleNamespace(perf_counter=lambda: player.count / 100)
    monkeypatch.setattr(labkit.training.session, "time", clock)
    assert player.speed == 0
    player.play()
    assert player.speed == pytest.approx(100)


def test_a_run_shorter_than_one_measurement_has_a_speed():
    player = Counter(3, executor=SynchronousExecutor())
    player.play()
    assert player.speed > 0


def test_a_synchronous_run_can_be_paused_from_another_thread():
    player = Counter(10, hold=4, executor=SynchronousExecutor())

    def interrupt() -> None:
        assert player.reached.wait(30)
        player.pause()

    other = threading.Thread(target=interrupt, daemon=True)
    other.start()
    player.play()
    other.join(30)
    assert not other.is_alive()
    assert (player.state, player.steps_done) == ("paused", 5)


def test_a_play_between_the_two_halves_of_a_pause_is_paused_too(monkeypatch):
    """Pause halts, then waits: a run that somebody starts in between must not be waited for."""
    player = Counter(10**9)
    player.play()
    wait, intruder = player.wait, []

    def let_somebody_play_first(timeout: float | None = None) -> None:
        monkeypatch.setattr(player, "wait", wait)
        wait(30)
        thread = threading.Thread(target=player.play, daemon=True)
        thread.start()
        thread.join(0.2)  # with a lock it cannot come in before the pause is over
        intruder.append(thread)
        wait(timeout)

    monkeypatch.setattr(player, "wait", let_somebody_play_first)
    pausing = threading.Thread(target=player.pause, daemon=True)
    pausing.start()
    pausing.join(30)
    assert not pausing.is_alive(), "pause waits for a run that was started meanwhile"
    intruder[0].join(30)
    player.pause()
    assert player.state == "paused"


def test_asking_whether_it_runs_while_its_work_is_forgotten():
    """`wait`, on another thread, may forget finished work between two looks at it."""
    finished: Future[None] = Future()
    finished.set_result(None)
    looks = [finished]

    class Forgetful(Counter):
        _work = property(lambda self: looks.pop() if looks else None, lambda self, work: None)

    assert Forgetful(2).running is False


def test_a_start_that_fails_leaves_everything_as_it_was(monkeypatch):
    player = Counter(10)
    player.step(3)
    player.stop()

    def fail() -> None:
        raise ZeroDivisionError("broken on purpose")

    monkeypatch.setattr(player, "_begin", fail)
    with pytest.raises(ZeroDivisionError):
        player.rewind()
    assert (player.state, player.steps_done) == ("stopped", 3)


EXECUTORS = pytest.mark.parametrize("executor", [None, SynchronousExecutor()])


@EXECUTORS
def test_an_exception_inside_training_is_known_and_the_run_has_failed(executor):
    fault = ZeroDivisionError("broken on purpose")
    player = Faulty(4, fault, executor=executor)
    assert (player.state, player.error) == ("ready", None)
    player.play()
    with pytest.raises(ZeroDivisionError):
        player.wait(30)
    assert (player.state, player.error, player.steps_done) == ("failed", fault, 4)
    player.wait()  # it raises once only
    assert player.error is fault


@EXECUTORS
@pytest.mark.parametrize("mended", [True, False])
def test_a_failed_run_goes_on_where_it_was_and_may_fail_again(executor, mended):
    fault = ZeroDivisionError("broken on purpose")
    player = Faulty(4, fault, executor=executor)
    until_it_ends(player)
    player.fault = None if mended else fault
    until_it_ends(player)
    assert player.error is (None if mended else fault)
    assert (player.state, player.steps_done) == (("finished", 10) if mended else ("failed", 4))


@EXECUTORS
def test_rewinding_forgets_the_error(executor):
    player = Faulty(4, ZeroDivisionError("broken on purpose"), executor=executor)
    until_it_ends(player)
    player.rewind()
    assert (player.state, player.error, player.steps_done) == ("ready", None, 0)


@pytest.mark.parametrize("button", ["pause", "stop", "rewind"])
def test_buttons_do_not_raise_what_training_raised(button):
    """A panel shows `error`; its buttons have to work all the same."""
    player = Faulty(4, ZeroDivisionError("broken on purpose"), executor=SynchronousExecutor())
    player.play()
    getattr(player, button)()
    assert player.state == ("ready" if button == "rewind" else "failed")


def test_a_single_step_that_fails_raises_and_is_remembered():
    fault = ZeroDivisionError("broken on purpose")
    player = Faulty(1, fault)
    player.step()
    with pytest.raises(ZeroDivisionError):
        player.step()
    assert (player.state, player.error) == ("failed", fault)
    player.fault = None
    player.step()
    assert (player.state, player.error, player.steps_done) == ("paused", None, 2)


def test_a_start_that_fails_keeps_the_error_of_the_run_before(monkeypatch):
    fault = ZeroDivisionError("broken on purpose")
    player = Faulty(1, fault, executor=SynchronousExecutor())
    player.play()

    def fail() -> None:
        raise ValueError("no start")

    monkeypatch.setattr(player, "_begin", fail)
    with pytest.raises(ValueError, match="no start"):
        player.rewind()
    assert (player.state, player.error, player.steps_done) == ("failed", fault, 1)


def test_an_interrupt_is_a_pause_and_no_failure():
    player = Faulty(3, KeyboardInterrupt(), executor=SynchronousExecutor())
    with pytest.raises(KeyboardInterrupt):
        player.run()
    assert (player.state, player.error, player.steps_done) == ("paused", None, 3)


# --- a session -------------------------------------------------------------------------


def test_recipe_history_and_network_change_as_one(monkeypatch):
    """Whoever reads while another recipe starts sees the old run or the new one, whole."""
    session = Session(QUICK)
    session.step(3)
    seen = []
    real = labkit.training.session.Trainer

    def trainer(*args, **kwargs):
        seen.append((session.recipe, session.history.layout.total, session.steps_done))
        return real(*args, **kwargs)

    monkeypatch.setattr(labkit.training.session, "Trainer", trainer)
    session.update(QUICK.replace(hidden=(20, 20)))
    assert seen == [(QUICK, 6 * 2 + 6 + 4 * 6 + 4 + 2 * 4 + 2, 3)]
    assert session.recipe.hidden == (20, 20)
    assert session.history.layout.total == 20 * 2 + 20 + 20 * 20 + 20 + 2 * 20 + 2


def test_another_recipe_starts_from_its_own_weights():
    """Given weights belong to the recipe they were given for."""
    session = Session(QUICK, initial=np.zeros(56, np.float32))
    session.update(QUICK.replace(seed=4))
    expected = Session(QUICK.replace(seed=4)).initial
    np.testing.assert_array_equal(session.initial, expected)
    session.rewind()
    np.testing.assert_array_equal(session.initial, expected)


def test_a_live_change_keeps_given_weights_for_the_rewind():
    given = np.full(56, 0.1, np.float32)
    session = Session(QUICK, initial=given)
    session.update(QUICK.replace(lr=0.5))
    session.step(3)
    session.rewind()
    np.testing.assert_array_equal(session.history.flat(), given)
    assert session.recipe.lr == 0.5


def test_marks_write_numbers_out():
    session = Session(QUICK.replace(steps=2000))
    session.step()
    session.update(session.recipe.replace(steps=12_500, lr=0.0125))
    texts = [mark.text for mark in session.history.marks]
    assert texts == ["lr 0.01 → 0.0125", "steps 2000 → 12500"]


def test_running_to_the_end_gives_the_history():
    session = Session(QUICK)
    assert session.run() is session.history
    assert session.history.last_step == 60


@EXECUTORS
def test_a_session_tells_what_its_trainer_raised(executor, monkeypatch):
    session = Session(QUICK, executor=executor)
    session.step(3)
    fault = RuntimeError("out of memory")

    def evaluate(*args: object) -> None:
        raise fault

    monkeypatch.setattr(session.trainer, "evaluate", evaluate)
    with pytest.raises(RuntimeError, match="out of memory"):
        session.run()
    assert (session.state, session.error) == ("failed", fault)
    session.update(QUICK.replace(seed=3))
    assert (session.state, session.error) == ("ready", None)
