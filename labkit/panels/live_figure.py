"""A plotly figure that repaints smoothly while a network trains in the same kernel."""

from __future__ import annotations

import base64
import functools
import gzip
import importlib.metadata
import importlib.resources
import math
import re
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

WINDOW = 12
"""Frames that may travel unacknowledged. The page acknowledges every sixth."""

STALL_S = 2.0
"""A view that has acknowledged nothing for this long is sent one frame more."""

PAGE = Path(__file__).with_name("live_figure_page")
"""The JavaScript of the page: ES modules, which an editor and a test can load one by one."""

PARTS = ("specs", "theme", "canvas", "transport", "view")
"""Its files, each of which imports only from those before it."""

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./\w+\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)

Packed = tuple[dict, list[bytes]]
_figures: weakref.WeakValueDictionary[str, LiveFigure] = weakref.WeakValueDictionary()


def page_module() -> str:
    """The page's side of a figure as one ES module, which is what anywidget takes.

    All parts share one scope in it, so their imports and exports go: no build step is needed.
    """
    parts = ((PAGE / f"{part}.js").read_text(encoding="utf-8") for part in PARTS)
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", part)) for part in parts)


class LiveFigure(anywidget.AnyWidget):
    """One plotly figure on the page, fed with plain specs from any thread.

    A spec is a dict ``{"data": [...], "layout": {...}}`` with numpy arrays inside, or a
    ``go.Figure``. While specs that differ only in their data stream in, a canvas paints them; when
    they pause for a quarter of a second, the picture is plotly's own, with hover and download.

    At most `WINDOW` frames travel unacknowledged, so the picture lags by that much and no more;
    frames shown meanwhile replace each other, and the last one always arrives. ``height`` is in CSS
    pixels; without it the layout's own height counts, or 360. The width is that of the page.
    """

    _esm = page_module()
    _id = traitlets.Unicode().tag(sync=True)
    _css = """
    .labkit-figure canvas { display: none; position: absolute; pointer-events: none; }
    /* A layer of its own: what lies below is not rastered again at each frame. */
    .labkit-figure canvas { will-change: transform; }
    .labkit-live .labkit-figure canvas { display: block; }
    .labkit-live .labkit-figure .cartesianlayer :is(.plot, .overplot) { display: none; }
    """
    _plotly = traitlets.Unicode(importlib.metadata.version("plotly")).tag(sync=True)
    height = traitlets.Int(None, allow_none=True, min=40).tag(sync=True)

    def __init__(self, spec: Any = None, *, height: int | None = None) -> None:
        self._changed = threading.Condition()  # comm messages come on another thread than show()
        self._attached = False
        self._sent = self._acked = 0  # frames are numbered as they go out
        self._active = 0.0  # when the last frame went out or the last acknowledgement came in
        self._packed: Packed | None = None  # the newest spec
        self._unsent = False  # whether it has still to go out
        self._on_click: list[Callable[[dict], object]] = []
        super().__init__(height=height, _id=uuid.uuid4().hex)
        _figures[self._id] = self
        self.on_msg(self._receive)
        if spec is not None:
            self.show(spec)

    @property
    def attached(self) -> bool:
        """Whether some page shows this figure, as far as is known: a closed tab says nothing."""
        return self._attached

    def show(self, spec: Any) -> None:
        """Make ``spec`` the current picture. Never blocks; the arrays may be reused afterwards."""
        show_together({self: spec})

    def wait(self, timeout: float | None = 1.0) -> bool:
        """Block until the page can take another frame: True, or False after ``timeout`` seconds.

        True at once where no page shows the figure.
        """
        with self._changed:
            return self._changed.wait_for(self._open, timeout)

    def on_click(self, callback: Callable[[dict], object]) -> None:
        """Call ``callback`` with ``{"curve", "point", "x", "y", "customdata"}`` of a clicked point.

        It runs on the thread that handles comm messages. A heatmap's ``point`` is [row, column].
        """
        self._on_click.append(callback)

    def close(self) -> None:
        with self._changed:
            self._attached = False
            self._changed.notify_all()
        super().close()

    def _open(self) -> bool:
        return not self._attached or self._sent - self._acked < WINDOW

    def _take(self) -> tuple[int, Packed] | None:
        """A number and the newest spec to send, if it was not sent yet and the page can take it."""
        with self._changed:
            now = time.monotonic()
            ready = self._open() or now - self._active > STALL_S
            if not (self._attached and self._unsent and self._packed and ready):
                return None
            self._sent, self._active, self._unsent = self._sent + 1, now, False
            return self._sent, self._packed

    def _acknowledge(self, n: int) -> None:
        with self._changed:
            self._active = time.monotonic()
            self._acked = max(self._acked, min(n, self._sent))
            self._attached = True
            self._changed.notify_all()
        _send([self])

    def _start(self, gone: bool) -> None:
        """A view came or went: nothing is on its way to it, and what is shown goes out again.

        Where a view went, another may be left: then it will acknowledge the frame sent here.
        """
        with self._changed:
            self._acked = self._sent
            self._attached = self._unsent = True
        _send([self])
        with self._changed:
            self._attached = not gone
            self._changed.notify_all()

    def _receive(self, _widget: Any, content: dict, _buffers: list) -> None:
        match content:
            case {"want": "plotly"}:
                self.send({"plotly": self._plotly}, [plotly_js()])
            case {"acks": acks}:  # one message speaks for all figures on the page
                for key, n in acks.items():
                    if figure := _figures.get(key):
                        figure._acknowledge(n)
            case {"ready": _}:
                self._start(gone=False)
            case {"gone": _}:
                self._start(gone=True)
            case {"click": point}:
                for callback in list(self._on_click):
                    callback(point)


def show_together(specs: Mapping[LiveFigure, Any]) -> None:
    """Show several figures at once: one message, one repaint of the page. Never blocks."""
    packed = {figure: pack(spec) for figure, spec in specs.items()}
    for figure, (spec, buffers) in packed.items():
        with figure._changed:
            figure._packed, figure._unsent = (spec, buffers), True
    _send(packed)


def _send(figures: Iterable[LiveFigure]) -> None:
    taken = [(figure, *frame) for figure in figures if (frame := figure._take())]
    if not taken:
        return
    frames: list[dict[str, Any]] = []
    buffers: list[bytes] = []
    for figure, n, (spec, own) in taken:
        frames.append({"id": figure._id, "n": n, "spec": spec, "first": len(buffers)})
        buffers += own
    taken[0][0].send({"frames": frames, "sent": time.time() * 1e3}, buffers)


@functools.cache
def plotly_js() -> bytes:
    """The installed plotly.js, gzipped: 1.4 MB instead of 4.8."""
    path = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
    return gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)


def pack(spec: Any) -> Packed:
    """A spec as JSON-able dicts in which ``{"_array", "dtype", "shape"}`` names a binary buffer.

    An array that occurs several times travels once. Raises TypeError for what JSON cannot carry.
    """
    if hasattr(spec, "to_plotly_json"):
        spec = spec.to_plotly_json()
    if not isinstance(spec, Mapping):
        raise TypeError(
            f'a spec is {{"data": [...], "layout": {{...}}}} or a go.Figure, not {spec!r:.80}'
        )
    buffers: list[bytes] = []
    seen: dict[int, tuple[Any, Any]] = {}  # keeps each array alive, so that its id stays its own

    def array(a: np.ndarray) -> Any:
        if a.ndim == 0 or a.ndim > 2 or a.dtype.kind not in "biuf":
            return value(a.tolist())
        if a.dtype.kind == "b":
            a = a.view(np.uint8)
        elif a.dtype == np.float16:
            a = a.astype(np.float32)
        elif a.dtype.itemsize > 4 and a.dtype.kind in "iu":  # plotly.js knows no 64-bit integers
            fits = a.size == 0 or (a.min() >= -(2**31) and a.max() < 2**31)
            a = a.astype(np.int32 if fits else np.float64)
        elif a.dtype.itemsize > 8:
            a = a.astype(np.float64)
        a = a.astype(a.dtype.newbyteorder("<"), copy=False)
        buffers.append(a.tobytes())
        packed = {"_array": len(buffers) - 1, "dtype": a.dtype.str[1:]}
        return {**packed, "shape": a.shape} if a.ndim == 2 else packed

    def value(o: Any) -> Any:
        if o is None or isinstance(o, (str, bool, int)):
            return o
        if isinstance(o, float):
            return o if math.isfinite(o) else None  # JSON has no NaN
        if isinstance(o, Mapping):
            if "bdata" in o and "dtype" in o:  # how plotly itself writes arrays
                flat = np.frombuffer(base64.b64decode(o["bdata"]), o["dtype"])
                shape = o.get("shape")
                if isinstance(shape, str):
                    shape = [int(n) for n in shape.split(",")]
                return array(flat.reshape(shape or -1))
            return {k: value(v) for k, v in o.items()}
        if isinstance(o, (list, tuple)):
            return [value(v) for v in o]
        if isinstance(o, np.generic):
            return value(o.item())
        if hasattr(o, "__array__"):  # numpy, torch, pandas
            if id(o) not in seen:
                seen[id(o)] = o, array(np.asarray(o))
            return seen[id(o)][1]
        raise TypeError(
            f"a figure cannot hold {type(o).__name__}: use numbers, strings, lists or numpy arrays"
        )

    return value(spec), buffers
