"""No weight file, good or bad, has anything executed, written or fetched by being loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.weights import goods, guard, hostile

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts by /proc")


def under_guard(how: str, folder: Path, paths: list[Path], warm: int = 0) -> list[dict[str, Any]]:
    """What became of each file, with `folder` as working folder and home."""
    (folder / "canary_module.py").write_text(f"import os; os.system({hostile.touch()!r})")
    done = subprocess.run(
        [sys.executable, guard.__file__, how, *map(str, paths)],
        cwd=folder,
        env={
            **os.environ,
            "HOME": str(folder),
            "PYTHONPATH": f"{ROOT}:{folder}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "WARM": str(warm),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """All files below, with size and time of change."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.name != "canary_module.py"
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "good").mkdir()
    good = goods.write(folder / "good")
    bad = hostile.write(folder)
    before = everything(folder)
    found = under_guard("labkit", folder, [*good, *bad], warm=len(good))
    assert everything(folder) == before, "something was written"
    return {Path(result["path"]).name: result for result in found}


def test_nothing_executes_in_any_file(results, capsys):
    loaded = [name for name, r in results.items() if r["outcome"].startswith("loaded")]
    refused = [name for name, r in results.items() if r["outcome"].startswith("refused")]
    executed = [name for name, r in results.items() if r.get("seen")]
    with capsys.disabled():
        print(
            f"\nweight files: {len(results)} tried, {len(loaded)} loaded, {len(refused)} refused, "
            f"{len(executed)} executed; at most {max(r['seconds'] for r in results.values()):.1f} s"
            f" and {max(r['megabytes'] for r in results.values()):.0f} MB each"
        )
    assert {name: results[name]["seen"] for name in executed} == {}
    assert len(results) == len(hostile.MAKERS) + len(goods.MAKERS)


@pytest.mark.parametrize("name", list(hostile.MAKERS))
def test_a_hostile_file_is_refused_in_one_line(results, name):
    result = results[name]
    assert result["outcome"].startswith("refused "), result
    assert len(result["outcome"].splitlines()) == 1
    assert name in result["outcome"]
    assert result["seconds"] < 5  # of the processor, whatever else the machine does


@pytest.mark.parametrize("name", list(goods.MAKERS))
def test_a_good_file_is_loaded(results, name):
    assert results[name]["outcome"].startswith("loaded "), results[name]


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("calls_os_system.pt", "posix.system"),
        ("calls_eval.pt", "builtins.eval"),
        ("calls_exec.pt", "builtins.exec"),
        ("calls_a_process.pt", "subprocess.Popen"),
        ("chains_reductions.pt", "functools.partial"),
        ("nests_torch_load.pt", "torch.serialization.load"),
        ("nests_pickle_loads.pt", "pickle.loads"),
        ("names_python_2.pt", "builtins.eval"),
        ("names_a_module_of_its_own.pt", "canary_module.Boom"),
        ("bare_pickle_of_protocol_0.pt", "posix.system"),
        ("bare_pickle_of_protocol_2.pt", "posix.system"),
        ("bare_pickle_of_protocol_4.pt", "posix.system"),
        ("bare_pickle_of_protocol_5.pt", "posix.system"),
        ("legacy_pickle.pt", "posix.system"),
        ("newer_protocol_in_a_zip.pt", "posix.system"),
        ("storage_by_its_constructor.pt", "torch.storage.UntypedStorage"),
        ("bytearray_of_terabytes.pt", "builtins.bytearray"),
        ("hides_in_an_ultralytics_function.pt", "ultralytics.nn.tasks.torch_safe_load"),
    ],
)
def test_the_offending_global_is_named(results, name, named):
    assert named in results[name]["outcome"]


def test_the_guard_sees_what_full_unpickling_does(tmp_path):
    """The same files, loaded as labkit never does: they do run, and the guard notes it."""
    names = ["calls_os_system.pt", "calls_eval.pt", "legacy_pickle.pt", "nests_pickle_loads.pt"]
    paths = []
    for name in names:
        path = tmp_path / name
        path.write_bytes(hostile.MAKERS[name](path))
        paths.append(path)
    found = under_guard("unguarded", tmp_path, paths)
    for result in found:
        assert any("os.system" in event for event in result["seen"]), result
    assert (tmp_path / hostile.CANARY).exists()
