from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from labkit.core.errors import FileError, LabError, RecipeError, misnamed, nearest, unknown

NAMES = ["adam", "adamw", "sgd"]


@pytest.mark.parametrize(
    ("given", "found"),
    [("adamm", "adam"), ("ADAM", "adam"), ("sdg", "sgd"), ("quite another", None), (3, None)],
)
def test_nearest(given, found):
    assert nearest(given, NAMES) == found


def test_unknown_names_field_value_guess_and_choices():
    assert unknown("optimizer", "adamm", NAMES) == (
        "optimizer='adamm' is not known: did you mean 'adam'? Choose from adam, adamw, sgd."
    )
    assert unknown("optimizer", "quite another", NAMES) == (
        "optimizer='quite another' is not known. Choose from adam, adamw, sgd."
    )


def test_a_misnamed_thing_has_its_problem_first_and_its_options_last():
    problem = "lrr is not a field"
    assert misnamed(problem, "lrr", ["lr", "steps"]) == (
        "lrr is not a field: did you mean 'lr'? Known: lr, steps."
    )
    assert misnamed(problem, "lrr", []) == "lrr is not a field. Known: none."
    assert misnamed(problem, "lrr", iter(["lr"]), options="Use lr.") == (
        "lrr is not a field: did you mean 'lr'? Use lr."
    )


@pytest.mark.parametrize("kind", [LabError, RecipeError, FileError])
def test_a_notebook_shows_the_message_without_a_traceback(kind, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell = InteractiveShell()
    shell.history_manager.enabled = False
    shell.push({"kind": kind})
    shell.run_cell("raise kind('lr=99 is not allowed')")
    printed = "".join(capsys.readouterr())
    assert printed.strip() == f"{kind.__name__}: lr=99 is not allowed"
    assert issubclass(kind, ValueError)
