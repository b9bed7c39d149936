from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from labkit.core.errors import FileError, LabError, RecipeError, nearest, unknown

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
    assert "did you mean" not in unknown("optimizer", "quite another", NAMES)


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
