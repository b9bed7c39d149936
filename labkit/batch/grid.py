"""Grids: from `lr=1e-3:1e-1:log:5`, or a file, to the parameters of every run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from labkit.batch.parameters import NotebookParameter, typed
from labkit.batch.values import MOST_RUNS, check_size, from_texts, from_value, one_value
from labkit.core.errors import FileError, LabError, misnamed


def grid(*, most: int = MOST_RUNS, **values: Iterable[Any]) -> list[dict[str, Any]]:
    """Every combination of the values: `grid(lr=[0.1, 0.01], seed=range(3))`, six runs.

    Args:
        most: more combinations than this are refused.
        values: for each parameter the values to try; the last parameter varies fastest.
            Numbers of numpy are taken as plain ones.

    Raises:
        LabError: a parameter without values, or more than `most` combinations.
    """
    lists = {name: _listed(name, options) for name, options in values.items()}
    check_size(math.prod(map(len, lists.values())), most)
    return _product(lists)


def _listed(name: str, options: Any) -> list[Any]:
    if isinstance(options, str | dict) or not isinstance(options, Iterable):
        raise LabError(f"{name}={options!r} is no list of values: give {name}=[{options!r}]")
    found = [_plain(option) for option in options]
    if not found:
        raise LabError(f"{name} has no values: give a list such as {name}=[...]")
    return found


def _plain(value: Any) -> Any:
    """A number of numpy or torch as Python's own."""
    return value.item() if getattr(value, "shape", None) == () else value


def _product(lists: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(lists, chosen, strict=True)) for chosen in itertools.product(*lists.values())]


# --- what is requested, before the notebook says the types ------------------------------


@dataclass(frozen=True)
class GridSpec:
    """A grid as it was written down; the notebook's parameters decide how it is read.

    Attributes:
        texts: from the command line, `{"lr": ["0.1,0.2"]}`: each text one value or several.
        values: from a file, `{"lr": [0.1, 0.2]}`; a text of the same name replaces them.
        runs: combinations given one by one; each is combined with every choice of the
            parameters that it does not name itself.
        seeds: that many seeds, from 0.
        notebooks: to be run, where a file says so.
        most: more runs of one notebook than this are refused.
    """

    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    runs: Sequence[Mapping[str, Any]] = ()
    seeds: int | None = None
    notebooks: Sequence[Path] = ()
    most: int = MOST_RUNS

    @property
    def names(self) -> list[str]:
        """Every parameter that is given, in order."""
        seed = [] if self.seeds is None else ["seed"]
        return list(dict.fromkeys([*self.texts, *self.values, *itertools.chain(*self.runs), *seed]))

    def expand(self, known: Mapping[str, NotebookParameter]) -> list[dict[str, Any]]:
        """Every run's values for a notebook; parameters that it does not know are left out.

        Raises:
            LabError: everything that cannot be read as its parameter's type, a line each,
                or more than `most` runs.
        """
        problems: dict[str, None] = {}
        lists: dict[str, list[Any]] = {}
        runs: list[dict[str, Any]] = [{} for _ in self.runs or [{}]]
        for name in self._varied(known):
            try:
                found = self._values(known[name])
                lists[name] = [typed(known[name], value, text=False) for value in found]
            except LabError as error:
                problems[str(error)] = None
        for run, given in zip(runs, self.runs, strict=False):
            for name in [n for n in given if n in known and n not in self.texts]:
                try:
                    value = one_value(known[name], given[name])
                    run[name] = typed(known[name], value, text=False)
                except LabError as error:
                    problems[str(error)] = None
        if problems:
            raise LabError("\n".join(problems))
        rest = [{n: v for n, v in lists.items() if n not in run} for run in runs]
        check_size(sum(math.prod(map(len, others.values())) for others in rest), self.most)
        return [
            {**run, **chosen}
            for run, others in zip(runs, rest, strict=True)
            for chosen in _product(others)
        ]

    def _varied(self, known: Mapping[str, NotebookParameter]) -> list[str]:
        names = [*self.values, *self.texts, *(["seed"] if self.seeds is not None else [])]
        return [name for name in dict.fromkeys(names) if name in known]

    def _values(self, parameter: NotebookParameter) -> list[Any]:
        if parameter.name in self.texts:
            return from_texts(parameter, self.texts[parameter.name], self.most)
        if parameter.name in self.values:
            return from_value(parameter, self.values[parameter.name], self.most)
        return list(range(self.seeds or 0))


# --- the command line ------------------------------------------------------------------


def read_options(options: Iterable[str], seeds: int | None = None) -> GridSpec:
    """What `-p NAME=VALUES` and `--seeds N` say; the same name again adds values.

    Raises:
        LabError: no `=`, or seeds given in both ways.
    """
    texts: dict[str, list[str]] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise LabError(f"-p {option}: write NAME=VALUE, as in -p lr=0.1")
        texts.setdefault(name, []).append(text)
    if seeds is not None and "seed" in texts:
        raise LabError(f"give --seeds {seeds} or -p seed={texts['seed'][0]}, not both")
    _check_seeds(seeds)
    return GridSpec(texts, seeds=seeds)


def _check_seeds(seeds: Any) -> None:
    if seeds is not None and (type(seeds) is not int or seeds < 1):
        raise LabError(f"seeds={seeds!r} is not allowed: give how many, 1 or more")


# --- a file ----------------------------------------------------------------------------

EXAMPLE = """
notebooks: [04_optimizers.ipynb]
parameters:
  optimizer: [sgd, adam]
  lr: {from: 1e-3, to: 1e-1, log: 5}  # or lin: 5
seeds: 3
runs:
  - {steps: 100}
  - {steps: 1000, lr: 0.01}
"""
KEYS = ("notebooks", "parameters", "seeds", "runs")


def read_grid(path: Path) -> GridSpec:
    """A grid from a YAML file such as `EXAMPLE`.

    Its notebooks are named from the file's own folder. Each of its runs is combined with
    all values of the parameters that the run leaves open, and with the seeds.

    Raises:
        FileError: it is missing, or not a grid; everything that is wrong, at once.
    """
    import yaml

    if not path.is_file():
        raise FileError(f"{path} is not there")
    try:
        found = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f"line {mark.line + 1}: {problem}" if mark else str(error).partition("\n")[0]
        raise FileError(f"{path} is not YAML: {where}") from None
    if not isinstance(found, dict):
        raise FileError(f"{path} is no grid: it needs some of {', '.join(KEYS)}")
    problems = [_unknown(key) for key in found if key not in KEYS]
    notebooks, values = found.get("notebooks", []), found.get("parameters") or {}
    runs, seeds = found.get("runs") or [], found.get("seeds")
    notebooks = [notebooks] if isinstance(notebooks, str) else notebooks
    if not (isinstance(notebooks, list) and all(isinstance(n, str) for n in notebooks)):
        problems.append("notebooks: give a list of paths")
    if not isinstance(values, dict):
        problems.append("parameters: give names with values, as in lr: [0.1, 0.01]")
    if not (isinstance(runs, list) and all(isinstance(run, dict) for run in runs)):
        problems.append("runs: give a list of names with values, as in - {lr: 0.1}")
    if isinstance(values, dict) and seeds is not None and "seed" in values:
        problems.append("give seeds or parameters.seed, not both")
    try:
        _check_seeds(seeds)
    except LabError as error:
        problems.append(str(error))
    if problems:
        raise FileError("\n".join(f"{path}: {problem}" for problem in problems))
    return GridSpec({}, values, runs, seeds, [path.parent / name for name in notebooks])


def _unknown(key: Any) -> str:
    return misnamed(f"{key!r} is not known", key, KEYS)


def replaced(file: GridSpec, options: GridSpec) -> GridSpec:
    """A file's grid with what the command line says instead."""
    seeds = options.seeds if options.seeds is not None else file.seeds
    if "seed" in options.texts:
        seeds = None
    values = {n: v for n, v in file.values.items() if n != "seed" or options.seeds is None}
    return replace(file, texts=options.texts, values=values, seeds=seeds)
