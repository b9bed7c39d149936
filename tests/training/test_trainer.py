from __future__ import annotations

import math
import random
import threading
import time

import numpy as np
import pytest
import torch

from labkit.core.errors import RecipeError
from labkit.core.executors import SynchronousExecutor
from labkit.core.threads import one_thread
from labkit.recipe.initialize import INITS
from labkit.recipe.networks import ACTIVATIONS, NETWORKS
from labkit.recipe.optimize import OPTIMIZERS
from labkit.recipe.recipe import Recipe
from labkit.recipe.tasks import TASKS
from labkit.training.recorder import Step
from labkit.training.session import Session
from labkit.training.trainer import Trainer, fit, train

QUICK = Recipe(task="moons", samples=100, hidden=(6, 4), steps=60, device="cpu")
CHANGES = [
    {},
    {"schedule": "one_cycle", "init": "sparse", "seed": 3},
    {"optimizer": "lbfgs", "batch_size": 70},
    {"optimizer": "muon", "task": "digits", "samples": 80, "network": "cnn"},
    {"task": "regression", "optimizer": "adafactor", "activation": "gelu"},
]
RECIPES = [pytest.param(QUICK.replace(**c), id=str(c)) for c in CHANGES]


def weights_after(session_or_trainer) -> np.ndarray:
    trainer = getattr(session_or_trainer, "trainer", session_or_trainer)
    return trainer.flat.numpy().copy()


def trained(recipe: Recipe, **options) -> np.ndarray:
    """Final weights, trained on this thread."""
    with one_thread():
        trainer = Trainer(recipe, **options)
        while not trainer.finished:
            trainer.advance()
    return weights_after(trainer)


def holding(session: Session, at: int) -> threading.Event:
    """Make training wait after step `at` until somebody halts it: it then makes one more.

    Returns:
        An event that is set once training waits.
    """
    trainer, reached = session.trainer, threading.Event()
    advance = trainer.advance

    def advance_or_wait() -> Step | None:
        if trainer.step == at and not reached.is_set():
            reached.set()
            assert session._halt.wait(30), "nobody halted the run"
        return advance()

    trainer.advance = advance_or_wait
    return reached


def assert_same_history(one, other) -> None:
    for name in ("loss", "lr", "train_loss", "val_loss", "val_accuracy"):
        for ours, theirs in zip(one.curve(name), other.curve(name), strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
    for ours, theirs in zip(one.snapshots(), other.snapshots(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def two_threads():
    """As many as torch would take on a machine with two cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


# --- determinism -----------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_recipe_gives_the_same_weights(recipe):
    one, two = fit(recipe), fit(recipe)
    assert_same_history(one, two)
    assert not np.array_equal(one.flat(), one.flat(0)), "nothing was learnt"
    other = fit(recipe.replace(seed=recipe.seed + 1))
    assert not np.array_equal(one.flat(), other.flat()), "the seed does nothing"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_sessions_thread_gives_the_same_weights_as_this_one(recipe):
    session = Session(recipe)
    session.play()
    session.wait(60)
    assert session.state == "finished"
    np.testing.assert_array_equal(weights_after(session), trained(recipe))
    assert_same_history(session.history, fit(recipe))


def test_threads_agree_on_larger_networks_too(two_threads):
    """Where torch itself uses several threads for one product."""
    recipe = Recipe(
        task="digits", hidden=(256, 128), batch_size=1258, steps=5, activation="relu", device="cpu"
    )
    session = Session(recipe)
    session.run()
    np.testing.assert_array_equal(weights_after(session), trained(recipe))


@pytest.mark.parametrize("recipe", RECIPES)
def test_recording_does_not_change_the_weights(recipe):
    np.testing.assert_array_equal(trained(recipe, record=False), trained(recipe))


def test_training_uses_no_global_generator(global_rng_untouched):
    first = trained(QUICK)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1234)
        np.testing.assert_array_equal(first, trained(QUICK))
    fit(QUICK.replace(init="sparse"))


# --- what a step is --------------------------------------------------------------------


def test_train_yields_a_record_of_every_step():
    steps = list(train(QUICK))
    assert [step.step for step in steps] == list(range(1, 61))
    assert all(math.isfinite(step.loss) for step in steps)
    assert {step.lr for step in steps} == {QUICK.lr}


def test_the_loss_is_of_the_batch_before_its_update():
    recipe = QUICK.replace(batch_size=70, optimizer="sgd", lr=0.5, steps=5)
    history = fit(recipe)
    before_update = history.curve("train_loss")[1]  # the only batch is the whole split
    np.testing.assert_allclose(history.curve("loss")[1], before_update[:-1], rtol=1e-6)


def cross_entropy(outputs: np.ndarray, targets: np.ndarray) -> float:
    outputs = outputs.astype(np.float64)
    log_sum = np.log(np.exp(outputs).sum(axis=1))
    return float(np.mean(log_sum - outputs[np.arange(len(targets)), targets]))


def test_evaluation_is_of_whole_splits():
    trainer, data = Trainer(QUICK), QUICK.data()
    train_loss, train_accuracy, val_loss, val_accuracy = trainer.evaluate()
    for loss, accuracy, inputs, targets in [
        (train_loss, train_accuracy, data.train_inputs, data.train_targets),
        (val_loss, val_accuracy, data.val_inputs, data.val_targets),
    ]:
        outputs, classes = trainer.network(inputs).detach().numpy(), targets.numpy()
        assert loss == pytest.approx(cross_entropy(outputs, classes), rel=1e-5)
        assert accuracy == pytest.approx(np.mean(outputs.argmax(axis=1) == classes), rel=1e-6)


@pytest.mark.parametrize(("most", "judged"), [((), 500), ((70,), 70), ((None,), 2800)])
def test_long_splits_are_judged_by_their_first_samples(most, judged):
    recipe = Recipe(task="moons", samples=4000, device="cpu")
    trainer, data = Trainer(recipe), recipe.data()
    outputs = trainer.network(data.train_inputs[:judged]).detach().numpy()
    expected = cross_entropy(outputs, data.train_targets[:judged].numpy())
    assert trainer.evaluate(*most)[0] == pytest.approx(expected, rel=1e-5)


def test_the_last_evaluation_is_of_whole_splits():
    recipe = Recipe(task="moons", samples=4000, steps=3, device="cpu")
    trainer = Trainer(recipe)
    while not trainer.finished:
        trainer.advance()
    assert (
        trainer.history.summary()["val_loss"] == trainer.evaluate(None)[2] != trainer.evaluate()[2]
    )


def test_regression_has_no_accuracy():
    recipe = Recipe(task="regression", steps=4, device="cpu")
    trainer, data = Trainer(recipe), recipe.data()
    _, train_accuracy, val_loss, val_accuracy = trainer.evaluate()
    assert (train_accuracy, val_accuracy) == (None, None)
    errors = trainer.network(data.val_inputs).detach().numpy() - data.val_targets.numpy()
    assert val_loss == pytest.approx(np.mean(errors.astype(np.float64) ** 2), rel=1e-5)
    history = fit(recipe)
    assert np.isnan(history.curve("val_accuracy")[1]).all()
    assert set(history.summary()) == {"steps", "train_loss", "val_loss"}


@pytest.mark.parametrize(
    ("steps", "every"), [(7, 1), (99, 9), (399, 39), (400, 40), (1999, 40), (3000, 60)]
)
def test_whole_splits_are_evaluated_now_and_then_and_at_the_end(steps, every):
    numbers, _ = fit(QUICK.replace(steps=steps)).curve("val_loss")
    assert numbers.tolist() == sorted({*range(0, steps + 1, every), steps})


def test_an_epoch_takes_every_sample_once_and_keeps_a_short_batch():
    recipe = Recipe(task="moons", samples=50, batch_size=16, device="cpu")  # 35 to train with
    trainer = Trainer(recipe)
    epochs = [[next(trainer._batches) for _ in range(3)] for _ in range(2)]
    seen = []
    for batches in epochs:
        assert [len(inputs) for inputs, _ in batches] == [16, 16, 3]
        inputs, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
        seen.append(torch.column_stack([inputs, targets]).tolist())
    data = recipe.data()
    known = torch.column_stack([data.train_inputs, data.train_targets]).tolist()
    assert sorted(seen[0]) == sorted(seen[1]) == sorted(known)
    assert seen[0] != seen[1], "each epoch has an order of its own"


def test_history_holds_what_the_network_held():
    trainer = Trainer(QUICK)
    history = trainer.history
    np.testing.assert_array_equal(history.flat(0), trainer.initial)
    for _ in range(3):
        trainer.advance()
        held = {name: p.detach().numpy() for name, p in trainer.network.named_parameters()}
        kept = history.weights()
        assert list(kept) == list(held)
        for name, values in held.items():
            np.testing.assert_array_equal(kept[name], values)
    gradient = trainer.network.layer1.weight.grad.norm().item()
    recorded = history.statistic("gradient_norm", "layer1.weight")[1]
    assert (recorded[0], recorded[-1]) == (0.0, pytest.approx(gradient, rel=1e-5))
    assert history.about["recipe"] == QUICK.model_dump()


# --- what is learnt --------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_trains(task, network):
    images_only = NETWORKS[network].traits.get("images_only", False)
    if images_only and not TASKS[task].traits["image"]:
        with pytest.raises(RecipeError, match="needs pictures"):
            QUICK.replace(task=task, network=network)
        return
    recipe = QUICK.replace(task=task, network=network, samples=60, steps=3)
    assert fit(recipe).last_step == 3


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("init", INITS)
def test_every_init_trains_with_every_activation(init, activation):
    recipe = QUICK.replace(init=init, activation=activation, steps=2, samples=30)
    history = fit(recipe)
    assert history.finding is None
    assert np.isfinite(history.flat()).all()


def test_he_initialization_learns_digits():
    recipe = Recipe(
        task="digits",
        hidden=(64, 32),
        activation="relu",
        init="kaiming_normal",
        lr=0.003,
        steps=500,
        device="cpu",
    )
    assert fit(recipe).summary()["val_accuracy"] > 0.95


def test_equal_units_stay_equal():
    recipe = QUICK.replace(
        task="digits", samples=300, hidden=(16, 8), init="all_equal", lr=0.1, steps=50
    )
    history = fit(recipe)
    for name in ("layer1.weight", "layer2.weight"):
        before, after = history.weights(0)[name], history.weights()[name]
        assert np.abs(after - before).max() > 0.01, "nothing was learnt"
        np.testing.assert_allclose(after, np.tile(after[0], (len(after), 1)), atol=1e-5)
    broken = fit(recipe.replace(init="kaiming_normal")).weights()["layer1.weight"]
    assert np.abs(broken - broken[0]).max() > 0.01


# --- initial weights -------------------------------------------------------------------


def test_a_run_may_start_from_given_weights():
    halfway = fit(QUICK).flat()
    recipe = QUICK.replace(seed=5)
    session = Session(recipe, initial=halfway)
    np.testing.assert_array_equal(session.initial, halfway)
    np.testing.assert_array_equal(session.history.flat(), halfway)
    session.run()
    np.testing.assert_array_equal(weights_after(session), trained(recipe, initial=halfway))
    assert not np.array_equal(weights_after(session), trained(recipe))
    session.rewind()
    np.testing.assert_array_equal(weights_after(session), halfway)


def test_given_weights_are_not_written_to():
    given = fit(QUICK).flat().copy()
    before = given.copy()
    Session(QUICK, initial=given).run()
    np.testing.assert_array_equal(given, before)


def test_given_weights_must_fit():
    with pytest.raises(RecipeError, match=r"initial weights are \(3,\), the network has 56"):
        Session(QUICK, initial=np.zeros(3, np.float32))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there():
    with pytest.raises(RecipeError, match=r"device='cuda' .* use 'auto'"):
        fit(QUICK.replace(device="cuda"))
    session = Session(QUICK)
    session.step(3)
    with pytest.raises(RecipeError, match="device='cuda'"):
        session.update(QUICK.replace(device="cuda"))
    assert (session.recipe, session.trainer.step) == (QUICK, 3), "the run is still there"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_gpu_computes_the_same(recipe):
    """From the same start, over the same batches; later steps amplify rounding."""
    recipe = recipe.replace(steps=5)
    on_gpu, again = fit(recipe.replace(device="cuda")), fit(recipe.replace(device="auto"))
    np.testing.assert_array_equal(on_gpu.flat(), again.flat())
    on_cpu = fit(recipe)
    np.testing.assert_array_equal(on_gpu.flat(0), on_cpu.flat(0))
    np.testing.assert_allclose(on_gpu.flat(), on_cpu.flat(), atol=1e-3)


# --- early stopping --------------------------------------------------------------------

# It memorizes twenty noisy samples: the validation loss turns early.
MEMORIZING = QUICK.replace(
    train_share=0.3, label_noise=0.2, hidden=(32,), lr=0.05, steps=1000, batch_size=8
)


def first_too_late(losses: np.ndarray, patience: int) -> int:
    """The index of the evaluation that is `patience` later than the lowest."""
    for index in range(len(losses)):
        if index - int(np.argmin(losses[: index + 1])) >= patience:
            return index
    raise AssertionError("patience lasts")


@pytest.mark.parametrize("patience", [1, 3, 8])
def test_patience_ends_the_run_and_changes_no_step_before(patience):
    whole, early = fit(MEMORIZING), fit(MEMORIZING.replace(patience=patience))
    steps, losses = whole.curve("val_loss")
    end = first_too_late(losses, patience)
    assert 0 < end < len(steps) - 1, "the run must end before its steps"
    assert early.last_step == steps[end]
    np.testing.assert_array_equal(early.curve("val_loss")[1], losses[: end + 1])
    np.testing.assert_array_equal(early.flat(), whole.flat(early.last_step))
    best = int(steps[int(np.argmin(losses[: end + 1]))])
    assert early.best_step() == best
    assert [(m.step, m.text) for m in early.marks] == [
        (early.last_step, f"stopped early: best at step {best}")
    ]
    assert not whole.marks
    assert early.finding is None


def test_a_run_that_stopped_early_is_finished():
    session = Session(MEMORIZING.replace(patience=2), executor=SynchronousExecutor())
    session.play()
    assert session.state == "finished"
    assert 0 < session.steps_done < MEMORIZING.steps
    before = weights_after(session)
    session.play()
    session.step()
    np.testing.assert_array_equal(weights_after(session), before)
    session.rewind()
    assert (session.state, session.history.marks) == ("ready", [])


def test_early_stopping_needs_no_history():
    recipe = MEMORIZING.replace(patience=2)
    np.testing.assert_array_equal(trained(recipe), fit(recipe).flat())


def test_patience_that_lasts_changes_nothing():
    one, other = fit(QUICK), fit(QUICK.replace(patience=1000))
    np.testing.assert_array_equal(one.flat(), other.flat())
    assert_same_history(one, other)
    assert not other.marks


def test_a_run_that_reached_its_end_did_not_stop_early():
    steps, losses = fit(MEMORIZING).curve("val_loss")
    length = int(steps[first_too_late(losses, 10)])
    assert 400 <= length < 1000, "a run of this length is evaluated at the same steps"
    history = fit(MEMORIZING.replace(patience=10, steps=length))
    assert (history.last_step, history.marks) == (length, [])


# --- a session controlled by hand ------------------------------------------------------


def test_single_steps():
    session = Session(QUICK)
    assert session.state == "ready"
    session.step()
    session.step(4)
    assert (session.state, session.trainer.step, session.history.last_step) == ("paused", 5, 5)
    session.step(1000)
    assert (session.state, session.trainer.step) == ("finished", 60)
    np.testing.assert_array_equal(weights_after(session), trained(QUICK))


def test_pause_stops_between_two_steps_and_play_goes_on():
    session = Session(QUICK)
    reached = holding(session, 20)
    session.play()
    assert reached.wait(30)
    assert session.state == "running"
    session.play()  # a second click does nothing
    session.pause()
    assert (session.state, session.trainer.step) == ("paused", 21)
    np.testing.assert_array_equal(weights_after(session), session.history.flat())
    session.pause()
    session.play()
    session.wait(60)
    assert (session.state, session.speed > 0) == ("finished", True)
    np.testing.assert_array_equal(weights_after(session), trained(QUICK))
    session.play()
    session.pause()
    assert (session.state, session.trainer.step) == ("finished", 60)


def test_stepping_pauses_a_run():
    session = Session(QUICK)
    reached = holding(session, 20)
    session.play()
    assert reached.wait(30)
    session.step(2)
    assert (session.state, session.trainer.step) == ("paused", 23)


def test_stop_keeps_what_was_recorded_and_play_starts_over():
    session = Session(QUICK)
    reached = holding(session, 20)
    session.play()
    assert reached.wait(30)
    session.stop()
    stopped = session.history
    assert (session.state, stopped.last_step) == ("stopped", 21)
    session.play()
    session.wait(60)
    assert session.state == "finished"
    assert session.history is not stopped
    assert stopped.last_step == 21
    assert session.history.curve("loss")[0].tolist() == list(range(1, 61))
    np.testing.assert_array_equal(weights_after(session), trained(QUICK))


@pytest.mark.parametrize("recipe", RECIPES)
def test_rewind_returns_to_the_very_same_weights_and_replays_them(recipe):
    session = Session(recipe)
    start = weights_after(session)
    np.testing.assert_array_equal(start, session.initial)
    first = session.run()
    end = weights_after(session)
    assert not np.array_equal(start, end)
    np.testing.assert_array_equal(session.initial, start, "training moved what rewind returns to")
    session.rewind()
    assert (session.state, len(session.history), session.history.last_step) == ("ready", 1, 0)
    np.testing.assert_array_equal(weights_after(session), start)
    np.testing.assert_array_equal(weights_after(session), session.initial)
    second = session.run()
    np.testing.assert_array_equal(weights_after(session), end)
    assert_same_history(first, second)


def test_rewinding_a_running_session():
    session = Session(QUICK)
    reached = holding(session, 20)
    session.play()
    assert reached.wait(30)
    session.rewind()
    assert (session.state, session.trainer.step) == ("ready", 0)


def test_a_synchronous_session_is_over_when_play_returns():
    session = Session(QUICK, executor=SynchronousExecutor())
    session.play()
    assert session.state == "finished"
    np.testing.assert_array_equal(weights_after(session), trained(QUICK))


# --- live changes ----------------------------------------------------------------------


def test_a_live_learning_rate_acts_on_the_run_and_leaves_a_mark():
    session = Session(QUICK)
    session.step(20)
    history = session.history
    assert session.update(QUICK.replace(lr=0.1)) is False
    assert session.history is history
    assert session.state == "paused"
    session.step(40)
    assert history.curve("lr")[1].tolist() == [0.01] * 20 + [0.1] * 40
    assert [(mark.step, mark.text) for mark in history.marks] == [(20, "lr 0.01 → 0.1")]
    assert session.recipe.lr == 0.1
    assert not np.array_equal(weights_after(session), trained(QUICK))


def test_a_live_change_lets_a_running_session_run_on():
    session = Session(QUICK)
    reached = holding(session, 20)
    session.play()
    assert reached.wait(30)
    session.update(QUICK.replace(lr=0.1))
    session.wait(60)
    assert session.state == "finished"
    by_hand = Session(QUICK)
    by_hand.step(21)
    by_hand.update(QUICK.replace(lr=0.1))
    by_hand.step(39)
    np.testing.assert_array_equal(weights_after(session), weights_after(by_hand))
    assert [mark.step for mark in session.history.marks] == [21]


def test_a_change_before_the_first_step_leaves_no_mark():
    session = Session(QUICK)
    assert session.update(QUICK.replace(lr=0.1)) is False
    session.run()
    assert session.history.marks == []
    np.testing.assert_array_equal(weights_after(session), trained(QUICK.replace(lr=0.1)))


def test_the_same_recipe_is_no_change():
    session = Session(QUICK)
    session.step(3)
    assert session.update(Recipe(**QUICK.model_dump())) is False
    assert (session.trainer.step, session.history.marks) == (3, [])


@pytest.mark.parametrize(
    "change",
    [
        {"init": "orthogonal"},
        {"optimizer": "sgd"},
        {"optimizer_args": {"beta1": 0.5}},
        {"task": "xor"},
        {"hidden": (3,)},
        {"seed": 1},
        {"lr": 0.1, "init": "orthogonal"},
    ],
    ids=str,
)
def test_any_other_change_starts_anew(change):
    session = Session(QUICK)
    reached = holding(session, 20)
    session.play()
    assert reached.wait(30)
    old = session.history
    assert session.update(QUICK.replace(**change)) is True
    assert (session.state, session.trainer.step) == ("ready", 0)
    assert session.history is not old
    assert old.last_step == 21, "what the old run recorded stays"
    session.run()
    np.testing.assert_array_equal(weights_after(session), trained(QUICK.replace(**change)))


def test_more_steps_continue_a_finished_run():
    session = Session(QUICK)
    session.run()
    session.update(QUICK.replace(steps=90))
    assert session.state == "paused"
    session.run()
    assert session.history.curve("loss")[0].tolist() == list(range(1, 91))
    np.testing.assert_array_equal(weights_after(session), trained(QUICK.replace(steps=90)))
    assert session.history.marks[0].text == "steps 60 → 90"


def test_fewer_steps_than_were_made_end_the_run():
    session = Session(QUICK)
    session.step(30)
    session.update(QUICK.replace(steps=20))
    assert (session.state, session.trainer.step) == ("finished", 30)


@pytest.mark.parametrize("name", ["cosine", "one_cycle", "warmup_cosine", "step", "cyclic"])
def test_a_new_length_stretches_the_schedule(name):
    """From where it is, the run follows the curve of the new length."""
    recipe = QUICK.replace(schedule=name)
    session = Session(recipe)
    session.step(30)
    for steps in (20, 90):  # the first is shorter than what was made already
        session.update(session.recipe.replace(steps=steps))
    session.run()
    short, long = (fit(recipe.replace(steps=n)).curve("lr")[1] for n in (60, 90))
    _, rates = session.history.curve("lr")
    np.testing.assert_allclose(rates, [*short[:30], *long[30:]], rtol=1e-9)


def test_a_new_length_does_not_move_a_schedule_that_watches_the_loss():
    recipe = QUICK.replace(schedule="plateau", schedule_args={"patience": 30}, batch_size=70)
    session = Session(recipe)
    session.run()
    session.update(recipe.replace(steps=100))
    session.run()
    expected = fit(recipe.replace(steps=100)).curve("lr")[1]
    np.testing.assert_array_equal(session.history.curve("lr")[1], expected)


# --- when things go wrong --------------------------------------------------------------


def break_at(session: Session, at: int) -> None:
    trainer = session.trainer
    advance = trainer.advance

    def fail_or_advance() -> Step | None:
        if trainer.step == at:
            raise ZeroDivisionError("broken on purpose")
        return advance()

    trainer.advance = fail_or_advance


@pytest.mark.parametrize("synchronous", [False, True])
def test_an_error_in_training_reaches_the_caller_of_wait(synchronous):
    session = Session(QUICK, executor=SynchronousExecutor() if synchronous else None)
    break_at(session, 20)
    session.play()
    with pytest.raises(ZeroDivisionError, match="broken on purpose"):
        session.wait(60)
    assert (session.state, session.trainer.step) == ("failed", 20)
    session.wait()  # it is raised once
    session.rewind()
    session.run()
    np.testing.assert_array_equal(weights_after(session), trained(QUICK))


def test_an_error_nobody_waited_for_is_kept_until_the_run_starts_anew():
    session = Session(QUICK, executor=SynchronousExecutor())
    break_at(session, 20)
    session.play()
    assert isinstance(session.error, ZeroDivisionError)
    session.rewind()
    assert (session.state, session.error) == ("ready", None)


def test_waiting_may_time_out():
    session = Session(QUICK)
    reached = holding(session, 20)
    session.play()
    assert reached.wait(30)
    with pytest.raises(TimeoutError):
        session.wait(0.01)
    assert session.state == "running"
    session.pause()


def test_an_interrupt_pauses_and_play_resumes_to_the_same_weights(monkeypatch):
    session = Session(QUICK)
    reached = holding(session, 20)
    wait = session.wait

    def interrupted() -> None:
        assert reached.wait(30)
        monkeypatch.setattr(session, "wait", wait)
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.run()
    assert (session.state, session.trainer.step) == ("paused", 21)
    session.play()
    session.wait(60)
    np.testing.assert_array_equal(weights_after(session), trained(QUICK))


def exploding(**changes) -> Recipe:
    base = Recipe(
        task="regression",
        optimizer="sgd",
        lr=10.0,
        steps=200,
        init="normal",
        init_args={"std": 2.0},
        activation="relu",
        device="cpu",
    )
    return base.replace(**changes)


def test_a_diverging_run_says_when_where_and_how_good_it_was():
    session = Session(exploding())
    history = session.run()
    assert session.state == "diverged"
    finding = session.finding
    numbers, losses = history.curve("loss")
    assert finding.kind == "diverged"
    assert 1 < finding.evidence["step"] == history.last_step + 1 < 200
    assert np.isfinite(losses).all(), "a step that failed is no step"
    assert finding.evidence["last_good_loss"] == losses[-1]
    assert finding.evidence["last_good_step"] == numbers[-1]
    assert finding.evidence["layer"] in {*dict(session.trainer.network.named_modules()), "the loss"}
    for part in (f"step {history.last_step + 1}", f"{losses[-1]:.4g}", finding.evidence["layer"]):
        assert part in finding.message
    assert history.finding == finding.as_dict()
    assert history.summary()["finding"] == finding.message
    assert [step.step for step in train(exploding())] == numbers.tolist()
    np.testing.assert_array_equal(weights_after(session), history.flat())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_loss_that_is_not_finite_makes_no_update(optimizer):
    recipe = QUICK.replace(task="regression", optimizer=optimizer, activation="identity")
    given = np.full(Trainer(recipe).layout.total, 1e25, np.float32)
    session = Session(recipe, initial=given)
    session.step(3)
    assert (session.state, session.trainer.step, len(session.history)) == ("diverged", 0, 1)
    assert session.finding.evidence["step"] == 1
    np.testing.assert_array_equal(weights_after(session), given)


def test_a_diverged_session_can_be_rewound_and_mended():
    session = Session(exploding())
    session.run()
    session.play()
    session.step()
    assert session.state == "diverged", "there is nothing to go on with"
    session.rewind()
    assert (session.state, session.finding, session.history.finding) == ("ready", None, None)
    session.run()
    assert session.state == "diverged"
    assert session.update(exploding(lr=1e-4, init_args={"std": 0.5})) is True
    session.run()
    assert session.state == "finished"
    assert session.finding is None


# --- many hands ------------------------------------------------------------------------


def test_calls_from_many_threads_leave_a_working_session():
    """Nothing hangs, nothing is lost, and weights are never caught between two steps."""
    session = Session(QUICK.replace(steps=100_000))
    errors: list[BaseException] = []
    ends = time.monotonic() + 1

    def click(seed: int) -> None:
        choose = random.Random(seed)
        calls = [
            session.play,
            session.play,
            session.pause,
            session.stop,
            session.step,
            session.rewind,
            lambda: session.update(session.recipe.replace(lr=choose.choice([0.01, 0.02]))),
            lambda: session.history.flat(),
            lambda: session.state,
        ]
        try:
            while time.monotonic() < ends:
                choose.choice(calls)()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=click, args=(seed,), daemon=True) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a call hangs"
    assert not errors, errors
    session.pause()
    numbers, _ = session.history.curve("loss")
    assert numbers.tolist() == list(range(1, session.trainer.step + 1))
    np.testing.assert_array_equal(weights_after(session), session.history.flat())
    session.update(QUICK.replace(seed=1))
    session.run()
    np.testing.assert_array_equal(weights_after(session), trained(QUICK.replace(seed=1)))
