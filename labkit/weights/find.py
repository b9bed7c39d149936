"""From the name of weights to their file: a path, a model's name, or "starter"."""

from __future__ import annotations

import os
from pathlib import Path

from labkit.core.errors import FileError, misnamed

STARTER = "starter"
STARTER_FILE = Path(__file__).with_name("starter.safetensors")
STARTER_CARD = Path(__file__).with_name("starter.md")  # how the file was made


def find(source: str | os.PathLike[str]) -> Path:
    """The file that is meant; a model that Ultralytics publishes is fetched by Ultralytics.

    Raises:
        FileError: there is no such file, or no network to fetch it.
    """
    if source == STARTER:
        return STARTER_FILE
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.exists():
        raise FileError(f"{path} is not a file")
    if path.parent == Path() and path.suffix in ("", ".pt") and _published(path.stem):
        return _fetched(f"{path.stem}.pt")
    raise FileError(
        f"{path} is not there. Give the path of a weight file, the name of a model of Ultralytics "
        f'such as yolo26n.pt, or "{STARTER}"'
    )


def _published(stem: str) -> bool:
    if not stem.lower().startswith(("yolo", "rtdetr")):
        return False
    from labkit.core.ultralytics import ultralytics

    ultralytics()
    from ultralytics.utils.downloads import GITHUB_ASSETS_STEMS

    if stem not in GITHUB_ASSETS_STEMS:
        known = sorted(name for name in GITHUB_ASSETS_STEMS if name.startswith("yolo"))
        options = "There is no such file, and no such model of Ultralytics."
        raise FileError(misnamed(f"weights={stem!r} is not known", stem, known, options=options))
    return True


def _fetched(name: str) -> Path:
    """Where Ultralytics has it, or puts it: its weights folder, or the working folder."""
    from labkit.core.ultralytics import silent

    with silent():
        from ultralytics.utils import is_online
        from ultralytics.utils.downloads import attempt_download_asset

        try:
            path = Path(attempt_download_asset(name))
        except Exception as error:  # requests', urllib3's and Ultralytics' own; a full disk
            reason = " ".join(str(error).split())
            offline = isinstance(error, ConnectionError) or not is_online()
            raise _unreachable(name, "there is no network" if offline else reason) from None
    if not path.is_file():
        raise _unreachable(name, "there is no network")
    return path


def _unreachable(name: str, reason: str) -> FileError:
    return FileError(
        f"{name} is not here and cannot be fetched: {reason[:200]}. "
        f'The weights "{STARTER}" come with labkit'
    )
