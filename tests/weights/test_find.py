"""What weights are called: a path, a model that Ultralytics publishes, "starter"."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from labkit.core.errors import FileError
from labkit.weights import load
from labkit.weights.find import STARTER_CARD, STARTER_FILE, find
from tests.weights import goods


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch) -> list[str]:
    asked: list[str] = []

    def refuse(url, *_, **__):
        asked.append(url)
        raise requests.exceptions.ConnectionError("Name or service not known")

    monkeypatch.setattr(requests, "get", refuse)
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    return asked


@pytest.mark.parametrize("name", ["yolo26n.pt", "yolo26n", "yolov8n-seg.pt", "yolo11n-pose"])
def test_without_a_network_one_line_names_the_starter(elsewhere, no_network, name):
    with pytest.raises(FileError) as caught:
        load(name)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert Path(name).stem in message
    assert "no network" in message
    assert '"starter"' in message
    assert len(no_network) == 1
    assert list(elsewhere.iterdir()) == [], "nothing half-fetched is left"


def test_a_name_is_fetched_by_ultralytics_to_where_it_puts_it(elsewhere, monkeypatch):
    from labkit.core.ultralytics import ultralytics

    ultralytics()
    from ultralytics.utils import downloads

    def fetch(url, file, **_):
        assert url.endswith("/yolo26n.pt")
        Path(file).write_bytes(goods.state_dict())

    monkeypatch.setattr(downloads, "safe_download", fetch)
    assert load("yolo26n").count > 0
    assert (elsewhere / "yolo26n.pt").is_file()


def test_a_file_of_that_name_comes_first(elsewhere):
    (elsewhere / "yolo26n.pt").write_bytes(goods.state_dict())
    assert find("yolo26n.pt") == Path("yolo26n.pt")


def test_a_name_that_is_nearly_one(elsewhere):
    with pytest.raises(FileError, match="did you mean 'yolo26n"):
        load("yolo26nn.pt")


@pytest.mark.parametrize(
    "name", ["models/yolo26n.pt", "nothing.pt", "yolo26n.onnx", "http://x/y.pt"]
)
def test_what_is_not_there_and_is_not_looked_for(elsewhere, no_network, name):
    with pytest.raises(FileError, match="is not there"):
        load(name)
    assert no_network == []


def test_the_starter_is_part_of_the_package():
    assert find("starter") == STARTER_FILE
    assert STARTER_FILE.is_file()
    assert STARTER_CARD.is_file()
    assert find("starter").suffix == ".safetensors"
