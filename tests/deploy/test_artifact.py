from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

from labkit.core.errors import LabError
from labkit.deploy import save_artifact
from labkit.deploy.artifact import artifact_folder
from tests.deploy.rows import ABOUT, BROKEN, FAST, FLOAT, WRONG, choice


@pytest.fixture
def found(tmp_path):
    """A choice of two files, with a problem that would break a table in Markdown."""
    files = [tmp_path / "built" / name for name in ("model.xml", "model.bin")]
    files[0].parent.mkdir()
    for file in files:
        file.write_bytes(file.name.encode() * 9)
    fast = dataclasses.replace(FAST, files=tuple(files))
    return choice(FLOAT, fast, dataclasses.replace(BROKEN, problem="a | b"))


def test_the_files_and_their_card_are_written(found, tmp_path):
    to = tmp_path / "deep" / "artifact"
    file = save_artifact(found, to)
    assert file == to / "model.xml"
    assert sorted(one.name for one in to.iterdir()) == [
        "card.json", "card.md", "model.bin", "model.xml",
    ]  # fmt: skip
    for one in found.chosen.files:
        assert (to / one.name).read_bytes() == one.read_bytes()


def test_the_card_for_programs(found, tmp_path):
    save_artifact(found, tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["format"] == "labkit.artifact/1"
    assert list(card["files"]) == ["model.xml", "model.bin"]
    for name, facts in card["files"].items():
        content = (tmp_path / name).read_bytes()
        assert facts == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert card["parent"] == {"name": ABOUT["weights"], "sha256": ABOUT["weights_sha256"]}
    assert card["chosen"]["name"] == "fast"
    assert [one["name"] for one in card["candidates"]] == ["PyTorch fp32", "fast", "broken"]
    assert card["verdict"] == found.verdict.splitlines()
    # the keys of format 1, which other programs read
    assert {"runtime", "precision", "recipe", "options"} <= card["chosen"].keys()


def test_the_card_for_people(found, tmp_path):
    save_artifact(found, tmp_path)
    text = (tmp_path / "card.md").read_text()
    assert text.startswith("# fast, of mine\n\n* Take fast")
    assert hashlib.sha256((tmp_path / "model.bin").read_bytes()).hexdigest() in text
    assert "**Classes:** cell, clump" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(found.rows)
    assert len({line.count("|") for line in table}) == 1


def test_an_artifact_that_exists_is_replaced(found, tmp_path):
    (tmp_path / "model.xml").write_text("old")
    assert save_artifact(found, tmp_path).read_bytes() == found.chosen.files[0].read_bytes()


def test_without_a_choice_there_is_nothing_to_save(tmp_path):
    with pytest.raises(LabError, match="no candidate is accurate enough"):
        save_artifact(choice(FLOAT, WRONG), tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_a_file_cannot_be_the_folder(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for path in (file, file / "deploy", file / "deep" / "deploy"):
        with pytest.raises(LabError, match=r"file is a file: give a folder"):
            artifact_folder(path)
    assert artifact_folder(tmp_path / "new") == tmp_path / "new"
