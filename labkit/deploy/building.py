"""Building: the files of every candidate, each made in a process of its own.

Candidates share what they can: one export, one calibration per method, one build for all that
have the same options. What fails is the problem of those that need it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from labkit.deploy.candidates import Candidate
from labkit.deploy.choice import Measured
from labkit.deploy.request import SearchRequest
from labkit.deploy.runtimes.onnx_int8 import OnnxInt8
from labkit.deploy.runtimes.process import Worker, WorkerError
from labkit.deploy.runtimes.truth import Truth
from labkit.vision.evaluation import Samples

VALIDATION = "validation"  # the images that accuracy is measured on, and their ranges


class Building:
    """A folder of files, and the workers that make and open them.

    Args:
        request: what is searched.
        folder: for everything.
        timeout: seconds that building one candidate may take.
        report: is called with what is being done, in a few words.
    """

    def __init__(
        self,
        request: SearchRequest,
        folder: Path,
        timeout: float,
        report: Callable[[str], None],
    ) -> None:
        self.request, self.folder, self.timeout = request, folder, timeout
        self.report = report
        self._base, self._tflite = folder / "base.onnx", folder / "base.tflite"
        self._images: dict[str, Path] = {}
        self._workers: list[Worker] = []
        self._over = False
        self.add_images("given", request.calibrating)
        self.add_images(VALIDATION, request.validation)
        self.truth = Truth.of(request.validation, request.detector.names)
        self.truth.write(folder / "truth.json")
        self._weights = self._write_weights()

    def add_images(self, name: str, images: Samples) -> None:
        """Write images that workers can read, for calibration or validation."""
        self._images[name] = self.folder / f"{name}.npy"
        np.save(self._images[name], np.concatenate([one.numpy() for _, one in images.batches()]))

    def ranges(self, name: str) -> Path | None:
        """The file of calibrated ranges, if it exists: "min-max", `VALIDATION` …"""
        file = self.folder / f"{name}.json"
        return file if file.is_file() else None

    def build(self, listed: Sequence[Candidate]) -> list[Measured]:
        """Rows with files and sizes, or with problems.

        One process per thread works at once; what is the same is built once.
        """
        first = {_build_key(one): one for one in reversed(listed)}
        # A build waits for what it starts from, so those that wait longest come last.
        ordered = sorted(first.items(), key=lambda item: "litert" in _needs(item[1]))
        pool = ThreadPoolExecutor(self.request.threads)
        try:
            steps = self._prepare(listed, pool)
            rows = pool.map(lambda item: self._built(item[1], steps), ordered)
            built = dict(zip((key for key, _ in ordered), rows, strict=True))
        finally:  # Ctrl-C does not wait for what is being built
            pool.shutdown(wait=False, cancel_futures=True)  # what ends makes no room for the next
            self._over = True
            for worker in self._workers:
                worker.close()
            pool.shutdown()
            self._over = False
        return [dataclasses.replace(built[_build_key(one)], candidate=one) for one in listed]

    def worker(self, name: str, candidate: Candidate | None = None, file: str = "") -> Worker:
        """A new process for a candidate, or for a step that several need."""
        place = self.folder / slug(name)
        place.mkdir(exist_ok=True)
        task: dict[str, Any] = {
            "weights": str(self._weights),
            "base": str(self._base),
            "tflite": str(self._tflite),
            "calibration": str(self._images["given"]),
            "validation": str(self._images[VALIDATION]),
            "ranges": str(self.folder),
            "folder": str(place),
            "imgsz": self.request.imgsz,
            "accuracy": {
                "truth": str(self.folder / "truth.json"),
                "max_drop": self.request.max_drop,
            },
        }
        if candidate is not None:
            task |= {
                "runtime": candidate.runtime,
                "builder": candidate.builder,
                "build_options": dict(candidate.build_options),
                "options": dict(candidate.options),
                "file": file or str(self._weights),
            }
        worker = Worker(task, place / "log.txt")
        self._workers.append(worker)
        if self._over:  # a thread that was just about to start it, when all were ended
            worker.close()
        return worker

    def _write_weights(self) -> Path:
        """A file of the weights for other processes; those of a session are in no file yet."""
        from labkit.weights.save import save

        detector = self.request.detector
        return save(
            self.folder / "weights.safetensors",
            detector.tensors,
            architecture=detector.weights.architecture,
            yaml=detector.weights.yaml,
            task="detect",
            names={str(k): name for k, name in detector.names.items()},
            train_args={"imgsz": self.request.imgsz},
        )

    def _prepare(
        self, listed: Sequence[Candidate], pool: ThreadPoolExecutor
    ) -> dict[str, Future[str]]:
        """Start the steps that several candidates need; each gives its problem, or nothing."""
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
        files = {"images": str(self._images[images]), "to": str(self.folder / f"{name}.json")}
        if problem := exported.result():
            return problem
        return self._step("observe", "calibration", name, method=method, **files)

    def _calibrations(self, listed: Sequence[Candidate]) -> dict[str, tuple[str, str]]:
        """The method and the images of each file of ranges that is needed."""
        ranged = [one for one in listed if one.builder == "onnx-int8" and _valid(one)]
        settings = [OnnxInt8.of(dict(one.build_options)) for one in ranged]
        found: dict[str, tuple[str, str]] = {
            one.ranges: (one.calibration, one.images) for one in settings
        }
        if any(not one.is_float for one in listed):
            found |= {"min-max": ("min-max", "given"), VALIDATION: ("min-max", VALIDATION)}
        return found

    def _step(self, command: str, what: str, name: str = "", **arguments: Any) -> str:
        """One step that several candidates need; its problem, or nothing."""
        self.report(what)
        try:
            with self.worker(name or command) as worker:
                worker.ask(command, timeout=self.timeout, **arguments)
        except WorkerError as error:
            return f"{what} failed: {error}"
        return ""

    def _built(self, candidate: Candidate, steps: Mapping[str, Future[str]]) -> Measured:
        for need in _needs(candidate):
            if problem := steps[need].result():
                return Measured(candidate, problem=problem)
        self.report(f"building {candidate.name}")
        try:
            with self.worker(candidate.name, candidate) as worker:
                built = worker.ask("build", timeout=self.timeout)
        except WorkerError as error:
            return Measured(candidate, problem=str(error))
        files = tuple(Path(file) for file in built["files"])
        size = sum(file.stat().st_size for file in files)
        return Measured(candidate, files, size, seconds=built["seconds"])


def _needs(candidate: Candidate) -> list[str]:
    """The steps that a candidate starts from: `onnx`, `litert`, a file of ranges."""
    if candidate.builder in ("torch", "given"):
        return []
    if candidate.builder.startswith("litert"):
        return ["litert"]
    if candidate.builder == "onnx-int8" and _valid(candidate):
        return ["onnx", OnnxInt8.of(dict(candidate.build_options)).ranges]
    return ["onnx"]


def _valid(candidate: Candidate) -> bool:
    """Whether its options are known; for others the builder says what is wrong."""
    try:
        OnnxInt8.of(dict(candidate.build_options))
    except ValueError:
        return False
    return True


def _build_key(candidate: Candidate) -> str:
    """What a candidate's files depend on."""
    return json.dumps([candidate.runtime, candidate.builder, dict(candidate.build_options)])


def slug(name: str) -> str:
    """A name that a folder can have."""
    return "".join(c if c.isalnum() else "-" for c in name.lower())
