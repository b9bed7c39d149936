"""What the site takes from the repository itself, so that nothing is written twice.

* Each notebook is its executed page, from the folder that $LABKIT_PAGES names (`make docs` runs
  the notebooks into it).
* The API is what the packages' stubs list, under the stubs' own headings.
* The names to choose from are the registries' tables; the changes are CHANGELOG.md.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from labkit.core.parameters import parameters, spell

ROOT = Path(__file__).parents[1]
# Packages with public names, and a module, each a page of the reference.
PACKAGES = (
    "labkit",
    "labkit.analysis",
    "labkit.batch",
    "labkit.deploy",
    "labkit.figures",
    "labkit.quantize",
    "labkit.views",
    "labkit.vision",
    "labkit.vision.finetuning",
    "labkit.weights",
)
CODE = ("name", "arguments", "default")  # columns in a fixed-width font
REGISTRIES = {
    "TASKS": "Tasks",
    "NETWORKS": "Networks",
    "ACTIVATIONS": "Activation functions",
    "INITS": "Initializations",
    "OPTIMIZERS": "Optimizers",
    "SCHEDULES": "Schedules",
    "LOSSES": "Losses",
    "SURFACES": "Surfaces",
    "VIEWS": "Views",
}


def on_config(config: Any) -> Any:
    """Put the generated pages into the navigation."""
    pages = [f"notebooks/{path.stem}.md" for path in notebooks()]
    reference = [{name: f"api/{name}.md"} for name in PACKAGES]
    for entry in config.nav:
        if entry.get("Notebooks"):
            entry["Notebooks"] = ["notebooks/index.md", *pages]
        if "Reference" in entry:
            entry["Reference"] = [
                page
                for item in entry["Reference"]
                for page in (reference if item == "api/" else [item])
            ]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Make the pages that the repository already holds in another form."""

    def add(uri: str, content: str | None = None, source: Path | None = None) -> None:
        made = {"content": content} if source is None else {"abs_src_path": str(source)}
        files.append(File.generated(config, uri, **made))

    for path in notebooks():
        add(f"notebooks/{path.stem}.md", notebook_page(path))
        add(f"notebooks/executed/{path.stem}.html", source=executed(path.stem))
    for package in PACKAGES:
        add(f"api/{package}.md", api_page(package))
    add("reference/names.md", names_page())
    add("reference/changes.md", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    add("contributing.md", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    return files


def notebooks() -> list[Path]:
    """The series, in its order."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def executed(name: str) -> Path:
    """The page of an executed notebook, as `labkit run` leaves it."""
    folder = os.environ.get("LABKIT_PAGES", "")
    found = sorted(Path(folder).glob(f"{name}-*/{name}.html")) if folder else []
    if len(found) != 1:
        raise PluginError(
            f"{len(found)} executed pages of {name} in LABKIT_PAGES={folder!r}, not one: "
            "`make docs` runs the notebooks first"
        )
    return found[0]


def notebook_page(path: Path) -> str:
    """A page around an executed notebook: what it holds, for the search, and itself."""
    texts = [
        "".join(cell["source"])
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "markdown"
    ]
    title = texts[0].partition("\n")[0]
    sections = re.findall(r"^## (.+)$", "\n".join(texts), re.MULTILINE)
    page = f"executed/{path.stem}.html"
    return "\n\n".join(
        [
            "---\nhide: [toc]\n---",
            title,
            f"`{path.name}`, executed with its default parameters: {' · '.join(sections)}. "
            f"[On a page of its own]({page})",
            f'<iframe class="executed" src="../{page}" title="{title.lstrip("# ")}"></iframe>',
        ]
    )


def api_page(package: str) -> str:
    """The public names of a package in the order and under the headings of its stub."""
    if ROOT.joinpath(*package.split(".")).with_suffix(".py").exists():
        return f"# {package}\n\n::: {package}\n    options: {{show_root_heading: false}}"
    lines = [
        f"# {package}",
        f"::: {package}\n    options: {{members: [], show_root_heading: false}}",
    ]
    for heading, name in public_names(package):
        if heading:
            lines.append(f"## {heading[0].upper()}{heading[1:]}")
        lines.append(f"::: {name}")
    return "\n\n".join(lines)


def public_names(package: str) -> Iterator[tuple[str, str]]:
    """Headings (once, before their first name) and full names of functions and classes.

    A function that has the name of its module goes by its own place: `labkit.weights.load.load`.
    """
    folder = ROOT.joinpath(*package.split("."))
    stub = folder / "__init__.pyi"
    text = (stub if stub.exists() else folder / "__init__.py").read_text(encoding="utf-8")
    lines, heading = text.splitlines(), ""
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ImportFrom) or not (node.level or node.module):
            continue
        if lines[node.lineno - 2].startswith("# "):
            heading = lines[node.lineno - 2][2:]
        module = f"{package}.{node.module or ''}" if node.level else str(node.module)
        for name in (alias.name for alias in node.names):
            inside = ROOT.joinpath(*module.split("."))
            whole = (inside / name).is_dir() or (inside / f"{name}.py").exists()
            if name.isupper() or name.startswith("_") or (whole and module == f"{package}."):
                continue  # registries and packages have pages of their own
            clash = (folder / f"{name}.py").exists()
            yield heading, f"{module}.{name}" if clash else f"{package}.{name}"
            heading = ""


def names_page() -> str:
    """All registries, an entry a line."""
    import labkit
    from labkit.vision import FineTune

    lines = [
        "# Names to choose from",
        "Each of these is one entry in one place, and stands in menus, on the command line, in "
        "share strings and in messages. `labkit list` prints the same.",
    ]
    for registry, title in REGISTRIES.items():
        lines += [f"## {title}", table(getattr(labkit, registry).table())]
    lines += ["## Fields of a recipe", table(fields(labkit.Recipe))]
    lines += ["## Fields of a fine-tuning run", table(fields(FineTune))]
    return "\n\n".join(lines)


def fields(description: type[BaseModel]) -> list[dict[str, str]]:
    """The fields of a recipe or a fine-tuning run, a row each."""
    return [
        {
            "name": name,
            "what": field.help,
            "default": "" if field.default == {} else spell(field.default),
            "limits": "" if field.low is None else f"{field.low:g} to {field.high:g}",
        }
        for name, field in parameters(description).items()
    ]


def table(rows: list[dict[str, str]]) -> str:
    """A Markdown table without its empty columns."""
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell(name, row[name]) for name in columns) + " |" for row in rows]
    return "\n".join(lines)


def cell(column: str, text: str) -> str:
    """A value in a Markdown table."""
    text = text.replace("|", "\\|")
    return f"`{text}`" if text and column in CODE else text
