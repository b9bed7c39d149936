"""Building: every candidate's files, each made in a process of its own.

Candidates share what they can: one export, one calibration per method, one build per recipe.
What fails is the problem of those that need it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
        self._base, self._tflite = folder / "base.onnx", folder / "base.tflite"
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
            "tflite": str(self._tflite),
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
        needed = {need for one in listed for need in _needs(one)}
        with ThreadPoolExecutor(self.asked.threads) as pool:
            steps: dict[str, Future[str]] = {}
            if "litert" in needed:
                steps["litert"] = pool.submit(self._step, "convert", "conversion for LiteRT")
            problems = {}
            if "onnx" in needed and (problem := self._step("export", "export to ONNX")):
                problems["onnx"] = problem
            if "onnx" in needed and not problems:
                for name, (method, images) in self._calibrations(listed).items():
                    asked = {
                        "method": method,
                        "images": str(self._images[images]),
                        "to": str(self.folder / f"{name}.json"),
                    }
                    steps[name] = pool.submit(self._step, "observe", "calibration", name, **asked)
        found = {name: step.result() for name, step in steps.items()}
        return problems | {name: problem for name, problem in found.items() if problem}

    def _calibrations(self, listed: Sequence[Candidate]) -> dict[str, tuple[str, str]]:
        """The method and the images of each file of ranges that is needed."""
        ranged = [one for one in listed if one.builder == "onnx-int8" and _valid(one)]
        recipes = [OnnxInt8.of(dict(one.recipe)) for one in ranged]
        found: dict[str, tuple[str, str]] = {
            one.ranges: (one.calibration, one.images) for one in recipes
        }
        if any(not one.is_float for one in listed):
            found |= {"min-max": ("min-max", "given"), SEEN: ("min-max", SEEN)}
        return found

    def _step(self, deed: str, what: str, name: str = "", **asked: Any) -> str:
        """One thing that several candidates need; what went wrong, if anything did."""
        self.tell(what)
        try:
            with self.worker(name or deed) as worker:
                worker.ask(deed, timeout=self.timeout, **asked)
        except WorkerError as error:
            return f"{what} failed: {error}"
        return ""

    def _all_built(self, listed: Sequence[Candidate], problems: dict[str, str]) -> list[Measured]:
        """Build as many at once as there are cores; equal recipes are built once."""
        first = {_recipe(one): one for one in reversed(listed)}
        with ThreadPoolExecutor(self.asked.threads) as pool:
            rows = pool.map(lambda one: self._built(one, problems), first.values())
            built = dict(zip(first, rows, strict=True))
        return [dataclasses.replace(built[_recipe(one)], candidate=one) for one in listed]

    def _built(self, candidate: Candidate, problems: dict[str, str]) -> Measured:
        for need in _needs(candidate):
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


def _needs(candidate: Candidate) -> list[str]:
    """What a candidate starts from: `onnx`, `litert`, a file of ranges."""
    if candidate.builder in ("torch", "given"):
        return []
    if candidate.builder.startswith("litert"):
        return ["litert"]
    if candidate.builder == "onnx-int8" and _valid(candidate):
        return ["onnx", OnnxInt8.of(dict(candidate.recipe)).ranges]
    return ["onnx"]


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
