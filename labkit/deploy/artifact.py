"""The chosen artifact on disk: its files, and a card for people and for programs."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit._version import __version__
from labkit.core.errors import LabError
from labkit.core.files import write_atomically

if TYPE_CHECKING:
    from labkit.deploy.choice import Choice, Measured

FORMAT = "labkit.artifact/1"


def save_artifact(choice: Choice, path: str | os.PathLike[str]) -> Path:
    """Write the chosen files and their card into a folder.

    `model.onnx`, or `model.xml` with `model.bin`; `card.json` and `card.md` beside them. Files
    of the same names are replaced, each of them whole.

    Args:
        choice: the result of a search.
        path: the folder, created if necessary.

    Returns:
        The file to open.

    Raises:
        LabError: nothing was chosen, or `path` cannot be a folder.
    """
    row = choice.chosen
    if row is None:
        raise LabError(
            "there is nothing to save: no candidate is accurate enough. See the verdict."
        )
    folder = artifact_folder(path)
    written = [write_atomically(folder / file.name, file.read_bytes()) for file in row.files]
    card = card_facts(choice, row, written)
    write_atomically(folder / "card.json", json.dumps(card, indent=2))
    write_atomically(folder / "card.md", card_text(choice, card))
    return written[0]


def artifact_folder(path: str | os.PathLike[str]) -> Path:
    """The folder for an artifact, which may not exist yet.

    Raises:
        LabError: it is a file, or inside of one.
    """
    folder = Path(path).expanduser().absolute()
    for place in (folder, *folder.parents):
        if place.is_file():
            raise LabError(f"{place} is a file: give a folder for the artifact's files.")
    return folder


def card_facts(choice: Choice, row: Measured, files: list[Path]) -> dict[str, Any]:
    """The card as JSON values."""
    return {
        "format": FORMAT,
        "labkit": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": {
            file.name: {"sha256": _sha256(file), "bytes": file.stat().st_size} for file in files
        },
        "parent": {"name": choice.about["weights"], "sha256": choice.about["weights_sha256"]},
        "task": "detect",
        "names": choice.about["names"],
        "imgsz": choice.about["imgsz"],
        "input": "images (1, 3, imgsz, imgsz) float32: RGB, 0 to 1, fitted into a grey square",
        "output": "(1, n, 6) float32: left, top, right, bottom in pixels, score, class",
        "chosen": row.facts(),
        "target": choice.target,
        "max_drop": choice.max_drop,
        "threads": choice.threads,
        "data": {k: choice.about[k] for k in ("data", "data_sha256", "validation_images")},
        "calibration": {
            k: choice.about[k] for k in ("calibration", "calibration_sha256", "calibration_images")
        },
        "reference": choice.reference.facts() if choice.reference else None,
        "candidates": [other.facts() for other in choice.rows],
        "machine": choice.machine,
        "verdict": choice.verdict.splitlines(),
    }


def card_text(choice: Choice, card: dict[str, Any]) -> str:
    """The card in Markdown."""
    chosen, data, seen = card["chosen"], card["data"], card["calibration"]
    options = json.dumps(chosen["recipe"]) if chosen["recipe"] else "as exported"
    figures = (row.row() for row in choice.rows)
    table = [{**row, "problem": row["problem"].replace("|", "/")} for row in figures]
    columns = list(table[0])
    return "\n".join(
        [
            f"# {chosen['name']}, of {card['parent']['name']}",
            "",
            *(f"* {line}" for line in card["verdict"]),
            "",
            "## What it is",
            "",
            *(
                f"* **{name}**, {file['bytes']:,} bytes, SHA-256 `{file['sha256']}`"
                for name, file in card["files"].items()
            ),
            f"* **Parent:** {card['parent']['name']}, SHA-256 `{card['parent']['sha256']}`",
            f"* **Built for:** {chosen['runtime']}, {chosen['precision']}: {options}",
            f"* **Options for the runtime:** {json.dumps(chosen['options'])}",
            f"* **Reads:** {card['input']}; imgsz is {card['imgsz']}",
            f"* **Gives:** {card['output']}",
            f"* **Classes:** {', '.join(card['names'].values())}",
            f"* **Calibration:** {seen['calibration_images']} images of {seen['calibration']}, "
            f"SHA-256 `{seen['calibration_sha256']}`",
            f"* **Accuracy** on {data['validation_images']} images of {data['data']}, SHA-256 "
            f"`{data['data_sha256']}`",
            "* **Machine:** " + ", ".join(f"{k} {v}" for k, v in card["machine"].items()),
            f"* **Made:** {card['date']} by labkit {card['labkit']}",
            "",
            "## All candidates",
            "",
            "| " + " | ".join(columns) + " |",
            "|" + "---|" * len(columns),
            *("| " + " | ".join(str(row[name]) for name in columns) + " |" for row in table),
            "",
        ]
    )


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
