from __future__ import annotations

from pathlib import Path

import pytest

from labkit.vision.folders import cache_folder, runs_folder

FOLDERS = {"LABKIT_CACHE": cache_folder, "LABKIT_RUNS": runs_folder}


@pytest.mark.parametrize("variable", FOLDERS)
def test_a_folder_can_be_chosen(variable, tmp_path, monkeypatch):
    monkeypatch.setenv(variable, str(tmp_path / "mine"))
    assert FOLDERS[variable]() == tmp_path / "mine"
    assert not (tmp_path / "mine").exists(), "asking makes nothing"


@pytest.mark.parametrize("variable", FOLDERS)
@pytest.mark.parametrize("empty", [True, False])
def test_without_a_choice_it_is_below_the_home_folder(variable, empty, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv(variable, raising=False)
    if empty:
        monkeypatch.setenv(variable, "")
    folder = FOLDERS[variable]()
    assert folder.is_relative_to(tmp_path)
    assert "labkit" in folder.parts


@pytest.mark.parametrize("variable", FOLDERS)
def test_a_choice_may_be_relative_or_name_the_home_folder(variable, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "here")
    chosen = FOLDERS[variable]()
    monkeypatch.chdir("/")
    assert chosen == tmp_path / "here", "it stays where it was when it was asked for"
    monkeypatch.setenv(variable, "~/there")
    assert FOLDERS[variable]() == Path.home() / "there"
