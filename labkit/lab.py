"""The lab: put the notebooks in a folder and open JupyterLab on the first one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

from labkit.core.errors import LabError
from labkit.core.files import write_atomically

FIRST = "00_start_here.ipynb"
MANIFEST = ".labkit.json"
CONFIG = Path(__file__).parent / "config"


def shipped() -> Path:
    """The folder the notebooks are shipped in: the package's own, or the clone's."""
    package = Path(__file__).parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if any(folder.glob("*.ipynb")):
            return folder
    raise LabError("this labkit was installed without its notebooks: install it again")


def prepare(folder: Path | str) -> Path:
    """Copy the shipped notebooks into `folder`, and return it resolved.

    A notebook whose owner has changed it is never overwritten: `.labkit.json` keeps the
    hash of what was copied, and only a file that still has it is replaced by a newer one.
    The folder they are shipped in is left alone. Raises `LabError` where `folder` cannot
    hold them.
    """
    source, folder = shipped().resolve(), Path(folder).expanduser().resolve()
    if folder == source:
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        copied = _read_manifest(folder)
        for path in sorted(source.glob("*.ipynb")):
            copied[path.name] = _copy(path, folder / path.name, copied.get(path.name))
        write_atomically(folder / MANIFEST, json.dumps({"copied": copied}, indent=2) + "\n")
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise LabError(f"{error.filename} is in the way: choose another folder") from None
    except OSError as error:
        raise LabError(f"cannot write to {folder}: {error.strerror}") from None
    return folder


def command(folder: Path, options: Iterable[str] = (), *, root: bool, display: bool) -> list[str]:
    """The command line that starts JupyterLab in `folder`; `options` come last and win.

    Without a `display` no browser is tried: a machine without one has text browsers at
    most, and they would take over the terminal.
    """
    first = (
        FIRST
        if (folder / FIRST).exists()
        else next((path.name for path in sorted(folder.glob("*.ipynb"))), "")
    )
    url = f"/lab/tree/{first}" if first else "/lab"
    return [
        *(sys.executable, "-m", "jupyterlab"),
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url={url}",
        *(["--allow-root"] if root else []),
        *([] if display else ["--no-browser"]),
        *options,
    ]


def environment(folder: Path, base: Mapping[str, str]) -> dict[str, str]:
    """The variables JupyterLab starts with: `base`, and what makes it ask nothing."""
    return {
        **base,
        # Our settings go before the user's: no news, no update check, no "are you sure?".
        "JUPYTER_CONFIG_PATH": _prepend(CONFIG, base.get("JUPYTER_CONFIG_PATH")),
        # Kernels of this interpreter go first: a `python3` in the user's home is another one.
        "JUPYTER_PATH": _prepend(Path(sys.prefix, "share", "jupyter"), base.get("JUPYTER_PATH")),
        # An empty layout at each start: restored tabs would hide the first notebook.
        "JUPYTERLAB_WORKSPACES_DIR": str(_workspaces(folder)),
        "PLOTLY_RENDERER": base.get("PLOTLY_RENDERER", "plotly_mimetype"),
    }


def launch(folder: Path, options: Sequence[str] = ()) -> int:
    """Run JupyterLab on the notebooks in `folder` until it ends, and return its exit code.

    On POSIX it takes this process over, so that signals and the terminal are its own.
    """
    workspaces = _workspaces(folder)
    shutil.rmtree(workspaces, ignore_errors=True)
    workspaces.mkdir(parents=True, exist_ok=True)
    argv = command(folder, options, root=_is_root(), display=_has_display(os.environ))
    env = environment(folder, os.environ)
    print(f"labkit: the notebooks are in {folder}; Ctrl-C stops the lab.", flush=True)
    if os.name == "posix":
        os.execve(argv[0], argv, env)
    return subprocess.call(argv, env=env)


def _copy(source: Path, target: Path, copied: str | None) -> str | None:
    """Bring `target` up to date unless it was changed; the hash its owner was given."""
    content = source.read_bytes()
    new = _fingerprint(content)
    if os.path.lexists(target):
        current = _fingerprint(target.read_bytes())
        if current == new:
            return new
        if current != copied:
            if copied != new:
                print(
                    f"labkit: kept {target.name}, which you changed: rename it to get the new one"
                )
            return copied
    write_atomically(target, content)
    return new


def _read_manifest(folder: Path) -> dict[str, str | None]:
    # A manifest that cannot be read only means that nothing is known to be untouched.
    try:
        copied = json.loads((folder / MANIFEST).read_bytes())["copied"]
        return dict(copied)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def _workspaces(folder: Path) -> Path:
    name = _sha256(os.fsencode(folder))[:12]
    return Path(jupyter_runtime_dir(), "labkit", name)


def _prepend(path: Path, paths: str | None) -> str:
    return os.pathsep.join([str(path), *([paths] if paths else [])])


def _fingerprint(content: bytes) -> str:
    """The SHA-256 of a notebook's cells; of all its bytes where it is not a notebook.

    The rest of the file does not count: JupyterLab rewrites it as soon as a kernel starts.
    """
    with suppress(ValueError, KeyError, TypeError):
        cells = json.loads(content)["cells"]
        for cell in cells:
            cell["source"] = "".join(cell["source"])
        content = json.dumps(cells, sort_keys=True).encode()
    return _sha256(content)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _has_display(env: Mapping[str, str]) -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return any(env.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
