"""From notebooks and a grid to jobs, with everything that is wrong reported before one starts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit.batch.grid import GridSpec
from labkit.batch.job import Job, Limits, identify
from labkit.batch.parameters import check_parameters, unknown_parameter
from labkit.batch.source import Source, read_source
from labkit.batch.values import check_size
from labkit.core.errors import FileError, LabError

PathLike = str | os.PathLike[str]
Grid = GridSpec | Iterable[Mapping[str, Any]]
Runs = GridSpec | list[dict[str, Any]]
OnNote = Callable[[str], None]
MOST_PROBLEMS = 30  # lines of an error


def plan(
    notebooks: PathLike | Iterable[PathLike],
    grid: Grid = ({},),
    *,
    kernel: str = "warm",
    threads: int = 1,
    limits: Limits = Limits(),  # noqa: B008
    report_mode: bool = False,
    fast: bool = False,
    text: bool = True,
    on_note: OnNote = lambda note: None,
) -> list[Job]:
    """The runs of notebooks over a grid, checked; nothing is written or started.

    A parameter has to be one of some notebook's; the others run without it. `interactive`
    is False where a notebook has it and nothing else is given. Duplicates run once.

    Args:
        notebooks: files, and folders of which every notebook is meant.
        grid: the values of each run, as `labkit.batch.grid` makes them.
        kernel: as in `Job`, like `threads`, `limits` and `report_mode`.
        fast: values for a quick run, from the notebooks' metadata, for what is not given.
        text: values given as text are read as the type of the default.
        on_note: called with each remark, one sentence.

    Raises:
        LabError: everything that is wrong with notebooks and values, one line each.
    """
    several = [notebooks] if isinstance(notebooks, str | os.PathLike) else notebooks
    sources, problems = _read(list(map(Path, several)))
    runs = grid if isinstance(grid, GridSpec) else [dict(values) for values in grid]
    if not problems:  # else a notebook that cannot be read may know what the others do not
        problems = _unknown(sources, runs, on_note)
    jobs: dict[str, Job] = {}
    requested = 0
    for source in sources:
        if fast and source.fast is None:
            on_note(f"{source.path} has no values for a fast run: it runs with its own")
        found, wrong = _values(source, runs, (fast and source.fast) or {}, text)
        problems += [f"{source.path}: {line}" for line in wrong] if len(sources) > 1 else wrong
        requested += len(found)
        for values in found:
            identity = identify(source.name, source.content, values)
            jobs[identity] = Job(
                identity, source.name, source.content, values, kernel, threads, report_mode, limits
            )
    if problems:
        raise LabError("\n".join(_first(list(dict.fromkeys(problems)))))
    if isinstance(grid, GridSpec):
        check_size(requested, grid.most)
    if requested > len(jobs):
        twice = requested - len(jobs)
        on_note(f"{requested:,} runs requested, {twice:,} of them duplicates: duplicates run once")
    return list(jobs.values())


def notebooks_in(path: Path) -> list[Path]:
    """A notebook itself, or those of a folder, sorted; hidden ones and checkpoints are none.

    Raises:
        FileError: a folder without notebooks.
    """
    if not path.is_dir():
        return [path]
    found = [file for file in sorted(path.iterdir()) if file.suffix == ".ipynb"]
    found = [f for f in found if f.is_file() and not re.search(r"^\.|-checkpoint$", f.stem)]
    if not found:
        raise FileError(f"{path} is a folder without notebooks: there is no *.ipynb in it")
    return found


def _read(paths: Iterable[Path]) -> tuple[list[Source], list[str]]:
    """The notebooks, and what is wrong with those that are none."""
    sources: dict[Path, Source] = {}
    problems = []
    for path in paths:
        try:
            files = notebooks_in(path)
        except FileError as error:
            problems.append(str(error))
            continue
        for file in files:
            try:
                sources.setdefault(file.resolve(), read_source(file))
            except FileError as error:
                problems.append(str(error))
    return list(sources.values()), problems


def _unknown(sources: Sequence[Source], runs: Runs, on_note: OnNote) -> list[str]:
    """Problems with parameters that no notebook has; notes on those that some notebooks lack."""
    if isinstance(runs, GridSpec):
        names = runs.names
    else:
        names = list(dict.fromkeys(name for run in runs for name in run))
    known = {name: True for source in sources for name in source.parameters}
    for source in sources:
        lacking = [n for n in names if n in known and n not in source.parameters]
        if lacking:
            names_lacking = ", ".join(map(str, lacking))
            on_note(f"{source.path} has no parameter {names_lacking}: it runs without")
    owner = "this notebook" if len(sources) == 1 else "any of these notebooks"
    return [unknown_parameter(name, known, owner) for name in names if name not in known]


def _values(
    source: Source, runs: Runs, fast: Mapping[str, Any], text: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """The checked values of every run of a notebook, and what is wrong with the others."""
    known, recipe = source.parameters, source.uses_labkit
    found: list[dict[str, Any]] = []
    problems: dict[str, None] = {}
    quick: dict[str, Any] = {}
    try:
        quick = check_parameters(known, fast, text=False, recipe=recipe)
    except LabError as error:
        wrong = [f"its values for a fast run: {line}" for line in str(error).splitlines()]
        problems |= dict.fromkeys(wrong)
    if isinstance(runs, GridSpec):
        text = False
        try:
            runs = runs.expand(known)
        except LabError as error:
            return [], [*problems, *str(error).splitlines()]
    for run in runs:
        try:
            given = {name: value for name, value in run.items() if name in known}
            values = check_parameters(known, given, text=text, recipe=recipe and not quick)
            if quick:
                values = check_parameters(known, quick | values, text=False, recipe=recipe)
        except LabError as error:
            problems |= dict.fromkeys(str(error).splitlines())
            continue
        if "interactive" in known:
            values.setdefault("interactive", False)
        # The notebook's order: the same values in another one are the same run.
        found.append({name: values[name] for name in known if name in values})
    return found, list(problems)


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - MOST_PROBLEMS
    return lines if more <= 0 else [*lines[:MOST_PROBLEMS], f"… and {more:,} more like these"]
