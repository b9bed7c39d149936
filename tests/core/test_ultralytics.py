"""Ultralytics is imported without a trace: settings, environment, network, print options."""

import json
import os
import subprocess
import sys
from pathlib import Path

LOOK = """
import json, os, socket, sys
asked = []
def nobody(*arguments, **named):
    asked.append(str(arguments[0]))
    raise OSError("no network")
socket.getaddrinfo = socket.create_connection = nobody
import numpy, torch
torch.set_num_threads(2)
before = dict(os.environ), numpy.get_printoptions(), dict(vars(torch._tensor_str.PRINT_OPTS))
if len(sys.argv) > 1:
    import ultralytics
from labkit.core import ultralytics as imported
module = imported.ultralytics()
after = dict(os.environ), numpy.get_printoptions(), dict(vars(torch._tensor_str.PRINT_OPTS))
from ultralytics.utils import AUTOINSTALL, LOGGER, ONLINE, SAFE_LOAD, SETTINGS, VERBOSE
from ultralytics.utils.events import events
SETTINGS.update(runs_dir="/changed/in/this/process")
with imported.silent():
    level = LOGGER.level
print(json.dumps({
    "same": [a == b for a, b in zip(before, after)], "asked": asked, "events": events.enabled,
    "online": ONLINE, "safe": SAFE_LOAD, "verbose": VERBOSE, "installs": AUTOINSTALL,
    "trackers": [name for name in imported.TRACKERS if SETTINGS[name]],
    "threads": torch.get_num_threads(), "level": level, "data": SETTINGS["datasets_dir"],
}))
"""


def look(home: Path, *arguments: str, **environment: str) -> dict:
    """What a fresh interpreter sees after the import."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("YOLO", "ULTRALYTICS"))}
    plain.pop("XDG_CONFIG_HOME", None)
    plain.pop("OMP_NUM_THREADS", None)
    ran = subprocess.run(
        [sys.executable, "-c", LOOK, *arguments],
        env={**plain, "HOME": str(home), "PYTHONPATH": str(Path.cwd()), **environment},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_it_leaves_no_trace(tmp_path):
    found = look(tmp_path)
    assert found["same"] == [True, True, True]  # environment, numpy's options, torch's options
    assert found["asked"] == []
    assert not found["events"]
    assert not found["online"]
    assert found["safe"]
    assert not found["verbose"]
    assert not found["installs"]
    assert found["trackers"] == []
    assert found["threads"] == 2
    assert list(tmp_path.rglob("*")) == []  # no settings file, nothing in the working folder


def settings_file(folder: Path) -> tuple[Path, str]:
    """A settings file of an old schema, which Ultralytics would write anew; its content."""
    file = folder / "Ultralytics" / "settings.json"
    file.parent.mkdir(parents=True)
    content = json.dumps({"settings_version": "0.0.4", "datasets_dir": "/my/sets", "sync": True})
    file.write_text(content)
    return file, content


def test_a_persons_settings_are_read_and_not_written(tmp_path):
    file, content = settings_file(tmp_path / ".config")
    found = look(tmp_path)
    assert found["data"] == "/my/sets"
    assert not found["events"]
    assert file.read_text() == content
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_what_a_person_asks_for_stays(tmp_path):
    file, content = settings_file(tmp_path / "elsewhere")
    found = look(
        tmp_path,
        YOLO_OFFLINE="false",
        YOLO_VERBOSE="true",
        YOLO_CONFIG_DIR=str(tmp_path / "elsewhere"),
    )
    assert found["asked"] != []  # he wants to know whether there is a network
    assert found["verbose"]
    assert found["level"] >= 40  # but `silent` is silent
    assert found["data"] == "/my/sets"
    assert file.read_text() == content


def test_an_import_of_ones_own_comes_first(tmp_path):
    found = look(tmp_path, "import first", YOLO_OFFLINE="true")
    assert not found["events"]
    assert found["trackers"] == []
