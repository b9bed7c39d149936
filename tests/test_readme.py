"""What README.md and CONTRIBUTING.md claim is true today."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch

import labkit
from labkit.cli import main
from labkit.core.executors import SynchronousExecutor
from labkit.recipe.initialize import INITS
from labkit.training.trainer import initial_network

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


COMMANDS = [
    line
    for block in blocks(README, "")
    for line in block.splitlines()
    if line.startswith("labkit ")
]


def test_it_is_one_screen():
    assert len(README.splitlines()) <= 70, "details go to docs/"


def test_links_lead_somewhere():
    for text in (README, CONTRIBUTING):
        for path in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_exist(line):
    name, *arguments = shlex.split(line.partition(" #")[0])[1:]
    command = main.get_command(click.Context(main), name)
    assert command is not None, name
    command.make_context(name, arguments)  # raises where an option or argument is wrong


def test_its_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z]+)", README + CONTRIBUTING))
    assert named <= targets


def test_its_numbers_are_right():
    counts = re.search(r"(\d+) initializations, (\d+) optimizers and (\d+) schedules", README)
    assert counts is not None
    registries = (labkit.INITS, labkit.OPTIMIZERS, labkit.SCHEDULES)
    assert tuple(map(int, counts.groups())) == tuple(map(len, registries))
    for task in ("spiral", "moons", "circles", "xor", "blobs", "regression", "digits"):
        assert task in labkit.TASKS


def test_its_notebooks_are_all_of_them():
    named = set(re.findall(r"`(\d\d_\w+)`", README))
    assert named == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_its_python_runs():
    (code,) = blocks(README, "python")
    exec(compile(code, "README.md", "exec"), {})


def test_its_share_strings_are_understood():
    for line in COMMANDS:
        if "'" in line:
            recipe = labkit.Recipe.from_text(shlex.split(line)[2])
            assert labkit.Recipe.from_text(recipe.to_text()) == recipe


def test_the_example_of_a_new_initializer_works():
    (code,) = [block for block in blocks(CONTRIBUTING, "python") if "rademacher" in block]
    assert len(code.strip().splitlines()) < 15
    module = {**vars(__import__("labkit.recipe.initialize", fromlist=["INITS"]))}
    try:
        exec(compile(code, "CONTRIBUTING.md", "exec"), module)
        network = initial_network(labkit.Recipe.from_text("init=rademacher(std=0.3) seed=0"))
        sizes = network.get_submodule("layer1").weight.detach().abs()
        assert torch.equal(sizes, torch.full_like(sizes, 0.3))
    finally:
        INITS.unregister("rademacher")


def test_the_example_of_a_new_panel_works():
    (code,) = [block for block in blocks(CONTRIBUTING, "python") if "(Panel)" in block]
    assert len(code.strip().splitlines()) <= 60
    module: dict[str, Any] = {}
    exec(compile(code, "CONTRIBUTING.md", "exec"), module)
    make = module["SaturationPanel"]
    panel = make(executor=SynchronousExecutor())
    calm = panel.outputs.copy()
    assert panel.slider.value == 1.0
    panel.slider.value = 8.0
    assert np.mean(np.abs(panel.outputs) > 0.97) > 3 * np.mean(np.abs(calm) > 0.97)
    assert panel.status.value == panel.words()
    before = panel.outputs
    panel.buttons["New seed"].click()
    assert not np.array_equal(panel.outputs, before)
    panel.layer = lambda gain: 1 / 0
    panel.slider.value = 2.0
    assert "ZeroDivisionError: " in panel.message.value
    with pytest.raises(ZeroDivisionError):
        asyncio.run(panel.finished())

    static = make(8.0, interactive=False)
    assert not hasattr(static, "widget")
    (figure,) = static.figures()
    assert sum(figure.data[0].y) == 1000


def test_the_table_of_rooms_names_every_room_and_only_files_that_exist():
    """Files stand with `.py` or `/` in the second column, modules without it in the third."""
    text = CONTRIBUTING.partition("| room | file | idea |")[2]
    rows = [line.split("|")[1:4] for line in text.partition("\n\n")[0].splitlines()[2:]]
    here: list[str] = []
    rooms, missing = set(), []
    for first, files, idea in rows:
        here = [name.rstrip("/") for name in re.findall(r"`([^`]+)`", first)] or here
        rooms |= {name for name in here if name != "labkit"}
        named = re.findall(r"`([^`]+)`", files)
        named += [f"{name}.py" for name in re.findall(r"`([a-z_]+)`", idea)]
        for name in named:
            folders = [ROOT / "labkit" / ("" if room == "labkit" else room) for room in here]
            inner = [f / sub.rstrip("/") for f in folders for sub in named if sub.endswith("/")]
            if not any((folder / name).exists() for folder in folders + inner):
                missing.append(f"{here}: {name}")
    assert not missing
    folders = {path.parent.name for path in (ROOT / "labkit").glob("*/__init__.py")}
    assert rooms == folders
