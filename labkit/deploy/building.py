"""Building: every candidate's files, each made in a process of its own.

Candidates share what they can: one export, one calibration per method, one build per recipe.
What fails is the problem of those that need it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from labkit.deploy.accuracy import Truth
from labkit.deploy.candidates import Candidate
from labkit.deploy.choice import Measured
from labkit.deploy.request import Asked
from labkit.deploy.runtimes.onnx_int8 import OnnxInt8
from labkit.deploy.runtimes.process import Worker, WorkerError
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
        self._workers: list[Worker] = []
        self._over = False
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
        """Rows with files and sizes, or with problems.

        As many processes as there are cores work at once; equal recipes are built once.
        """
        first = {_recipe(one): one for one in reversed(listed)}
        # A build waits for what it starts from, so those that wait longest come last.
        ordered = sorted(first.items(), key=lambda item: "litert" in _needs(item[1]))
        pool = ThreadPoolExecutor(self.asked.threads)
        try:
            steps = self._prepare(listed, pool)
            rows = pool.map(lambda item: self._built(item[1], steps), ordered)
            built = dict(zip((recipe for recipe, _ in ordered), rows, strict=True))
        finally:  # Ctrl-C does not wait for what is being built
            pool.shutdown(wait=False, cancel_futures=True)  # what ends makes no room for the next
            self._over = True
            for worker in self._workers:
                worker.close()
            pool.shutdown()
            self._over = False
        return [dataclasses.replace(built[_recipe(one)], candidate=one) for one in listed]

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
        worker = Worker(task, place / "log.txt")
        self._workers.append(worker)
        if self._over:  # it was just about to begin
            worker.close()
        return worker

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

    def _prepare(
        self, listed: Sequence[Candidate], pool: ThreadPoolExecutor
    ) -> dict[str, Future[str]]:
        """Begin what several candidates start from; each gives its problem, or nothing."""
        needed = {need for one in listed for need in _needs(one)}
        steps: dict[str, Future[str]] = {}
        if "onnx" in needed:
            steps["onnx"] = pool.submit(self._step, "export", "export to ONNX")
        if "litert" in needed:
            steps["litert"] = pool.submit(self._step, "convert", "conversion for LiteRT")
        if "onnx" in needed:
            for name, (method, images) in self._calibrations(listed).items():
                steps[name] = pool.submit(self._observe, name, method, images, steps["onnx"])
        return steps

    def _observe(self, name: str, method: str, images: str, exported: Future[str]) -> str:
        asked = {"images": str(self._images[images]), "to": str(self.folder / f"{name}.json")}
        if problem := exported.result():
            return problem
        return self._step("observe", "calibration", name, method=method, **asked)

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

    def _built(self, candidate: Candidate, steps: Mapping[str, Future[str]]) -> Measured:
        for need in _needs(candidate):
            if problem := steps[need].result():
                return Measured(candidate, problem=problem)
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
