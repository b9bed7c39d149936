"""Building: every candidate's files, each made in a process of its own.

Candidates share what they can: one export, one calibration per method, one build per recipe.
What fails is the problem of those that need it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from labkit.quantize.deploy.accuracy import Truth
from labkit.quantize.deploy.asked import Asked
from labkit.quantize.deploy.candidates import Candidate
from labkit.quantize.deploy.choice import Measured
from labkit.quantize.runtimes.onnx_int8 import OnnxInt8
from labkit.quantize.runtimes.process import Worker, WorkerError
from labkit.vision.evaluation import Samples

SEEN = "validation"  # ranges on the images that accuracy is measured on


class Building:
    """A folder of files, and the workers that make and open them.

    Args:
        asked: what the search is about.
        folder: for everything.
        timeout: seconds that building one candidate may take.
        tell: told what is being done.
    """

    def __init__(
        self, asked: Asked, folder: Path, timeout: float, tell: Callable[[str], None]
    ) -> None:
        self.asked, self.folder, self.timeout, self.tell = asked, folder, timeout, tell
        self._base = folder / "base.onnx"
        self._images: dict[str, Path] = {}
        self.add_images("given", asked.calibrating)
        self.add_images(SEEN, asked.validation)
        self.truth = Truth.of(asked.validation, asked.detector.names)
        self.truth.write(folder / "truth.json")
        self._weights = self._write_weights()

    def add_images(self, name: str, known: Samples) -> None:
        """Images that workers can read, for calibration or validation."""
        images = np.concatenate([images.numpy() for _, images in known.batches()])
        self._images[name] = self.folder / f"{name}.npy"
        np.save(self._images[name], images)

    def ranges(self, name: str) -> Path | None:
        """Calibrated ranges, where there are some: "min-max", `SEEN` …"""
        file = self.folder / f"{name}.json"
        return file if file.is_file() else None

    def build(self, listed: Sequence[Candidate]) -> list[Measured]:
        """Rows with files and sizes, or with problems."""
        return self._all_built(listed, self._prepare(listed))

    def worker(self, name: str, candidate: Candidate | None = None, file: str = "") -> Worker:
        """A new process for a candidate, or for what several need."""
        place = self.folder / slug(name)
        place.mkdir(exist_ok=True)
        task: dict[str, Any] = {
            "weights": str(self._weights),
            "base": str(self._base),
            "calibration": str(self._images["given"]),
            "validation": str(self._images[SEEN]),
            "ranges": str(self.folder),
            "folder": str(place),
            "imgsz": self.asked.imgsz,
            "accuracy": {
                "truth": str(self.folder / "truth.json"),
                "max_drop": self.asked.max_drop,
            },
        }
        if candidate is not None:
            task |= {
                "runtime": candidate.runtime,
                "builder": candidate.builder,
                "recipe": dict(candidate.recipe),
                "options": dict(candidate.options),
                "file": file or str(self._weights),
            }
        return Worker(task, place / "log.txt")

    def _write_weights(self) -> Path:
        """A file of the weights for other processes: those of a session are written first."""
        from labkit.weights.save import save

        known = self.asked.detector.weights
        path = self.folder / "weights.safetensors"
        return save(
            path,
            self.asked.detector.tensors,
            architecture=known.architecture,
            yaml=known.yaml,
            task="detect",
            names={str(k): name for k, name in self.asked.detector.names.items()},
            train_args={"imgsz": self.asked.imgsz},
        )

    def _prepare(self, listed: Sequence[Candidate]) -> dict[str, str]:
        """What several candidates start from; what fails is a problem of those that need it."""
        problems: dict[str, str] = {}
        if all(one.builder == "torch" for one in listed):
            return problems
        self.tell("exporting")
        try:
            with self.worker("export") as worker:
                worker.ask("export", timeout=self.timeout)
        except WorkerError as error:
            problems["onnx"] = f"the export to ONNX failed: {error}"
            return problems
        ranged = [one for one in listed if one.builder == "onnx-int8"]
        recipes = [OnnxInt8.of(dict(one.recipe)) for one in ranged if _valid(one)]
        jobs: dict[str, tuple[str, str]] = {
            one.ranges: (one.calibration, one.images) for one in recipes
        }
        if any(not one.is_float for one in listed):
            jobs |= {"min-max": ("min-max", "given"), SEEN: ("min-max", SEEN)}
        self.tell("calibrating")
        with ThreadPoolExecutor(self.asked.threads) as pool:
            found = list(pool.map(lambda job: self._observe(job[0], *job[1]), jobs.items()))
        for name, problem in zip(jobs, found, strict=True):
            if problem:
                problems[name] = f"calibration failed: {problem}"
        return problems

    def _observe(self, name: str, method: str, images: str) -> str:
        """Write `name.json`; what went wrong, if anything did."""
        asked = {"method": method, "images": str(self._images[images])}
        try:
            with self.worker(name) as worker:
                to = str(self.folder / f"{name}.json")
                worker.ask("observe", timeout=self.timeout, to=to, **asked)
        except WorkerError as error:
            return str(error)
        return ""

    def _all_built(self, listed: Sequence[Candidate], problems: dict[str, str]) -> list[Measured]:
        """Build as many at once as there are cores; equal recipes are built once."""
        first = {_recipe(one): one for one in reversed(listed)}
        with ThreadPoolExecutor(self.asked.threads) as pool:
            rows = pool.map(lambda one: self._built(one, problems), first.values())
            built = dict(zip(first, rows, strict=True))
        return [dataclasses.replace(built[_recipe(one)], candidate=one) for one in listed]

    def _built(self, candidate: Candidate, problems: dict[str, str]) -> Measured:
        needs = [] if candidate.builder in ("torch", "litert") else ["onnx"]
        if candidate.builder == "onnx-int8" and _valid(candidate):
            needs.append(OnnxInt8.of(dict(candidate.recipe)).ranges)
        for need in needs:
            if need in problems:
                return Measured(candidate, problem=problems[need])
        self.tell(f"building {candidate.name}")
        try:
            with self.worker(candidate.name, candidate) as worker:
                built = worker.ask("build", timeout=self.timeout)
        except WorkerError as error:
            return Measured(candidate, problem=str(error))
        files = tuple(Path(file) for file in built["files"])
        size = sum(file.stat().st_size for file in files)
        return Measured(candidate, files, size, seconds=built["seconds"])


def _valid(candidate: Candidate) -> bool:
    """Whether a recipe is understood; the builder says what is wrong with one that is not."""
    try:
        OnnxInt8.of(dict(candidate.recipe))
    except ValueError:
        return False
    return True


def _recipe(candidate: Candidate) -> str:
    """What a candidate's files depend on."""
    return json.dumps([candidate.runtime, candidate.builder, dict(candidate.recipe)])


def slug(name: str) -> str:
    """A name that a folder can have."""
    return "".join(c if c.isalnum() else "-" for c in name.lower())
