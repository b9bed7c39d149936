"""The output folder of a batch: what was requested, and how far each run is.

    batch.json          what was requested; batch-2.json, … what was requested later
    <run>/              one folder for each run, `status.json` among its files
    results.csv         the table, and report.html: made from the rest
    .labkit/            the notebooks as they were, and who runs what now

A run that is requested again with another content of its notebook, or another labkit, is
another run; the older one is superseded: its folder stays, and is left out of the results.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from labkit._version import __version__
from labkit.batch.job import Job, Limits
from labkit.batch.liveness import Drivers
from labkit.batch.states import STATUS, read_status
from labkit.batch.store import open_store
from labkit.core.errors import FileError, LabError

COPIES = ".labkit/notebooks"
Places = dict[tuple[str, str], str]  # paths by a notebook's name and `content_hash`


@dataclass(frozen=True)
class RunRequest:
    """One run that was requested.

    Attributes:
        id: the run's.
        notebook: its notebook's name.
        parameters: what it runs with.
        path: where the notebook was; None where that is not known.
        copy: the name of the copy that was kept, within the folder.
        options: the other fields of its Job.
        superseded: whether a newer run has taken its place.
    """

    id: str
    notebook: str
    parameters: dict[str, Any]
    path: str | None
    copy: str
    options: dict[str, Any]
    superseded: bool = False


class Folder:
    """A batch's output folder, local or anything that fsspec reaches.

    Args:
        out: a path or a URL; nothing is made before the first writing.

    Raises:
        LabError: a URL that cannot be reached.
    """

    def __init__(self, out: str | os.PathLike[str]) -> None:
        self.out = os.fspath(out)
        self.store = open_store(out)

    @property
    def resume_command(self) -> str:
        """What to type to go on with what is not done."""
        return f"labkit run --resume {shlex.quote(self.out)}"

    def where(self, *names: str) -> str:
        """The path or URL of the folder, of a run's, or of a file in it."""
        return self.store.where("/".join(names))

    def read(self, *names: str) -> bytes | None:
        """A file, such as `read(id, "results.json")`; None where it is not there."""
        return self.store.read("/".join(names))

    def read_all(self, ids: Iterable[str], name: str) -> dict[str, bytes]:
        """The file `name` of many runs, by their ids, where it is there."""
        names = {f"{run}/{name}": run for run in ids}
        return {names[found]: data for found, data in self.store.read_many(names).items()}

    def write(self, name: str, data: bytes | str) -> None:
        """Write a file of the batch's own, such as `results.csv`."""
        self.store.write(name, data.encode() if isinstance(data, str) else data)

    def files(self, id: str) -> list[str]:
        """The names of a run's files, its status aside."""
        return [name for name in self.store.names(id) if name != STATUS]

    def deliver(self, id: str, files: Mapping[str, bytes]) -> None:
        """Keep a run's files that have come as bytes.

        Raises:
            FileError: a name that leads out of the run's folder.
        """
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise FileError(f"{name!r} is no name of a file in a run's folder")
        if files:
            self.store.write_many({f"{id}/{name}": data for name, data in files.items()})

    # what was requested

    def exists(self) -> bool:
        """Whether a batch is here."""
        return self.store.read("batch.json") is not None

    def ask(self, jobs: Sequence[Job], paths: Places | None = None) -> None:
        """Add to what was requested, and keep copies of the notebooks.

        Args:
            jobs: the runs; those that are current already change nothing.
            paths: where the notebooks are, by name and `content_hash`.
        """
        while True:
            number, requests = self._requests()
            current = {run.id for run in _merge(requests) if not run.superseded}
            new = [job for job in jobs if job.id not in current]
            if not new:
                return
            for job in {content_hash(job.notebook): job for job in new}.values():
                self.store.write(_copy(content_hash(job.notebook), job.name), job.notebook)
            request = json.dumps(_request(new, paths or {}), indent=1).encode()
            if self.store.create(_batch(number + 1), request):
                return  # else another driver has just written: see what is left

    def asked(self) -> list[RunRequest]:
        """Every run that was ever requested, in that order.

        Raises:
            FileError: there is no batch here, or `batch.json` is not one's.
        """
        _, requests = self._requests()
        if not requests:
            raise FileError(f"{self.where()} holds no batch: batch.json is not there")
        return _merge(requests)

    def _requests(self) -> tuple[int, list[dict[str, Any]]]:
        found: list[dict[str, Any]] = []
        while (data := self.store.read(_batch(len(found) + 1))) is not None:
            try:
                request = json.loads(data)
                _merge([request])
            except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
                file = self.where(_batch(len(found) + 1))
                raise FileError(
                    f"{file} does not say what was requested ({type(error).__name__}: {error}): "
                    "choose another folder, or remove this one"
                ) from None
            found.append(request)
        return len(found), found

    def notebook(self, run: RunRequest) -> bytes:
        """The copy of a run's notebook.

        Raises:
            FileError: it is gone.
        """
        notebook = self.store.read(run.copy)
        if notebook is None:
            raise FileError(f"{self.where(run.copy)}, the copy of a notebook, is gone")
        return notebook

    def job(self, run: RunRequest, notebook: bytes) -> Job:
        """The job that was requested."""
        return Job(run.id, run.notebook, notebook, run.parameters, **_options_of(run.options))

    # how far it is

    def status(self, id: str) -> dict[str, Any] | None:
        """A run's status file; None where there is none that can be believed."""
        return read_status(self.read(id, STATUS), id)[0]

    def statuses(
        self, runs: Iterable[RunRequest] | None = None, *, superseded: bool = False
    ) -> list[dict[str, Any]]:
        """The status of every run, in the order of the requests.

        Beyond what the files say there are the states `queued` (nothing has begun),
        `stale` (its driver is gone) and `superseded`; `problem` says of a status file
        that it could not be believed.

        Args:
            runs: which; else all.
            superseded: with those that others have replaced.

        Raises:
            FileError: there is no batch here.
        """
        wanted = list(self.asked() if runs is None else runs)
        if not superseded:
            wanted = [run for run in wanted if not run.superseded]
        files = self.read_all((run.id for run in wanted), STATUS)
        alive = Drivers(self.store).alive
        return [self._status_of(run, files.get(run.id), alive) for run in wanted]

    def _status_of(
        self, run: RunRequest, data: bytes | None, alive: Callable[[str], bool]
    ) -> dict[str, Any]:
        request = {"id": run.id, "notebook": run.notebook, "parameters": run.parameters}
        status, problem = read_status(data, run.id)
        status = {"state": "queued", **request, **(status or {})}
        if problem:
            status["problem"] = f"{self.where(run.id, STATUS)} {problem}"
        if run.superseded:
            status["state"] = "superseded"
        elif status["state"] == "running" and not alive(status["driver"]["token"]):
            status["state"] = "stale"
        return status

    def write_status(self, id: str, status: Mapping[str, Any]) -> None:
        """Replace a run's status file."""
        self.write(f"{id}/{STATUS}", json.dumps(status, indent=1))


@contextmanager
def writing(folder: Folder) -> Iterator[None]:
    """What hinders the folder's writing as one line that names it.

    Raises:
        LabError: instead of OSError.
    """
    try:
        yield
    except OSError as error:
        place = error.filename2 or error.filename or folder.where()
        raise LabError(
            f"{place} cannot be written: {error.strerror or error}. When it can be, go on with: "
            f"{folder.resume_command}"
        ) from None


def content_hash(notebook: bytes) -> str:
    """What tells two contents of a notebook's file apart."""
    return hashlib.sha256(notebook).hexdigest()[:16]


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601, UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _batch(number: int) -> str:
    return "batch.json" if number == 1 else f"batch-{number}.json"


def _copy(content: str, name: str) -> str:
    return f"{COPIES}/{content}/{name}.ipynb"


def _options(job: Job) -> dict[str, Any]:
    return {
        "kernel": job.kernel,
        "threads": job.threads,
        "report_mode": job.report_mode,
        "limits": dataclasses.asdict(job.limits),
    }


def _options_of(options: Mapping[str, Any]) -> dict[str, Any]:
    return {**options, "limits": Limits(**options["limits"])}


def _request(jobs: Sequence[Job], paths: Places) -> dict[str, Any]:
    """What `batch.json` holds; notebooks and options once, runs refer to them by number."""
    notebooks: dict[tuple[str, str], int] = {}
    options: dict[str, int] = {}
    hashes: dict[int, str] = {}  # runs share their notebook's bytes
    runs = []
    for job in jobs:
        content = hashes.setdefault(id(job.notebook), "") or content_hash(job.notebook)
        hashes[id(job.notebook)] = content
        runs.append(
            {
                "id": job.id,
                "notebook": notebooks.setdefault((job.name, content), len(notebooks)),
                "options": options.setdefault(json.dumps(_options(job)), len(options)),
                "parameters": job.parameters,
            }
        )
    return {
        "labkit": __version__,
        "asked": timestamp(datetime.now().timestamp()),
        "notebooks": [
            {"name": name, "path": paths.get((name, content)), "hash": content}
            for name, content in notebooks
        ],
        "options": [json.loads(text) for text in options],
        "runs": runs,
    }


def _merge(requests: Iterable[Mapping[str, Any]]) -> list[RunRequest]:
    """The runs of all requests; the last one requested is the current one of its kind."""
    found: dict[str, RunRequest] = {}
    current: dict[str, str] = {}
    kinds: dict[str, str] = {}
    for request in requests:
        for run in request["runs"]:
            notebook = request["notebooks"][run["notebook"]]
            found[run["id"]] = RunRequest(
                run["id"],
                notebook["name"],
                dict(run["parameters"]),
                notebook["path"],
                _copy(notebook["hash"], notebook["name"]),
                request["options"][run["options"]],
            )
            place = notebook["path"] or notebook["name"]
            kinds[run["id"]] = json.dumps([place, run["parameters"]], sort_keys=True)
            current[kinds[run["id"]]] = run["id"]
    return [
        dataclasses.replace(run, superseded=current[kinds[run.id]] != run.id)
        for run in found.values()
    ]
