"""LiveFigure without a browser: the page is a list of messages and answers as a real one does."""

import base64
import gzip
import json
import re
import shutil
import subprocess
import threading

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from labkit.panels import live_figure
from labkit.panels.live_figure import LiveFigure, pack, show_together


class Page:
    """What the browser would see of a figure, and what it would answer.

    A frame's first y tells which spec it carries.
    """

    def __init__(self, monkeypatch):
        self.messages = []
        monkeypatch.setattr(
            LiveFigure,
            "send",
            lambda f, content, buffers=None: self.messages.append((content, buffers)),
        )

    def _frames(self, figure):
        for content, buffers in self.messages:
            for frame in content.get("frames", []):
                if frame["id"] == figure._id:
                    yield (
                        frame["n"],
                        unpack(frame["spec"], buffers[frame["first"] :])["data"][0]["y"],
                    )

    def numbers(self, figure):
        return [n for n, _ in self._frames(figure)]

    def frames(self, figure):
        return [y[0] for _, y in self._frames(figure)]

    def answer(self, figure, **content):
        figure._handle_custom_msg(content, [])

    def ready(self, figure):
        self.answer(figure, ready="view")

    def ack(self, figure, n):
        self.answer(figure, acks={figure._id: n})


@pytest.fixture
def page(monkeypatch):
    monkeypatch.setattr(live_figure, "WINDOW", 6)  # the narrowest: every number below is small
    return Page(monkeypatch)


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(live_figure.time, "monotonic", lambda: now[0])
    return now


def line(y):
    return {
        "data": [{"type": "scatter", "y": np.asarray(y)}],
        "layout": {"title": {"text": "loss"}},
    }


def unpack(packed, buffers):
    """The oracle: what the browser makes of a packed spec."""
    if isinstance(packed, list):
        return [unpack(v, buffers) for v in packed]
    if isinstance(packed, dict) and "_array" in packed:
        flat = np.frombuffer(buffers[packed["_array"]], "<" + packed["dtype"])
        return flat.reshape(packed.get("shape", -1))
    if isinstance(packed, dict):
        return {k: unpack(v, buffers) for k, v in packed.items()}
    return packed


# -- frames and acknowledgements -------------------------------------------------------------------


def test_without_a_view_nothing_is_sent_and_nothing_waits(page):
    figure = LiveFigure(line([1.0]))
    for _ in range(50):
        figure.show(line([2.0]))
    assert page.messages == []
    assert figure.wait(0)
    assert not figure.attached


def test_a_new_view_gets_the_newest_spec_and_only_that(page):
    figure = LiveFigure(line([1.0]))
    figure.show(line([2.0, 3.0]))
    page.ready(figure)
    assert figure.attached
    assert page.frames(figure) == [2]
    assert page.numbers(figure) == [1]
    content, buffers = page.messages[0]
    assert unpack(content["frames"][0]["spec"], buffers)["data"][0]["y"].tolist() == [2.0, 3.0]
    assert content["sent"] > 0


def test_a_view_of_an_empty_figure_gets_nothing(page):
    page.ready(LiveFigure())
    assert page.messages == []


def test_a_reloaded_page_gets_the_last_spec_again_though_it_was_acknowledged(page):
    figure = LiveFigure(line([1.0]))
    page.ready(figure)
    page.ack(figure, 1)
    page.ready(figure)
    assert page.frames(figure) == [1, 1]


def test_no_more_than_the_window_travels_unacknowledged(page):
    figure = LiveFigure()
    page.ready(figure)
    for i in range(20):
        figure.show(line([i]))
    assert page.frames(figure) == [0, 1, 2, 3, 4, 5]
    assert page.numbers(figure) == [1, 2, 3, 4, 5, 6]
    assert not figure.wait(0)


def test_an_acknowledgement_lets_the_newest_frame_out_and_drops_those_between(page):
    figure = LiveFigure()
    page.ready(figure)
    for i in range(20):
        figure.show(line([i]))
    page.ack(figure, 3)
    assert page.frames(figure)[6:] == [19]
    page.ack(figure, 6)
    assert page.frames(figure)[6:] == [19], "an acknowledgement repeated a frame"


def test_wait_ends_when_another_thread_acknowledges(page):
    figure = LiveFigure()
    page.ready(figure)
    for i in range(6):
        figure.show(line([i]))
    assert not figure.wait(0.01)
    thread = threading.Timer(0.05, page.ack, (figure, 6))
    thread.start()
    assert figure.wait(5)
    thread.join()


@pytest.mark.parametrize("word", [{"ready": "other"}, {"gone": "view"}])
def test_wait_ends_when_a_view_comes_or_goes(page, word):
    figure = LiveFigure()
    page.ready(figure)
    for i in range(9):
        figure.show(line([i]))
    assert not figure.wait(0)
    page.answer(figure, **word)
    assert figure.wait(0)
    assert page.frames(figure)[-1] == 8


def test_closing_ends_a_wait(page):
    figure = LiveFigure()
    page.ready(figure)
    for i in range(6):
        figure.show(line([i]))
    thread = threading.Timer(0.05, figure.close)
    thread.start()
    assert figure.wait(5)
    thread.join()


def test_a_late_or_foreign_acknowledgement_does_not_widen_the_window(page):
    figure = LiveFigure()
    page.ready(figure)
    page.ack(figure, 1000)
    page.answer(figure, acks={"a figure of an earlier kernel": 3})
    for i in range(20):
        figure.show(line([i]))
    page.ack(figure, 1)
    page.ack(figure, 0)
    assert page.frames(figure) == [0, 1, 2, 3, 4, 5, 19]


def test_when_the_last_view_goes_nothing_more_is_sent(page):
    figure = LiveFigure(line([0]))
    page.ready(figure)
    page.answer(figure, gone="view")
    assert not figure.attached
    sent = len(page.messages)
    figure.show(line([1]))
    assert len(page.messages) == sent


def test_when_one_of_two_views_goes_the_other_speaks_up(page):
    figure = LiveFigure(line([0]))
    page.ready(figure)
    page.answer(figure, gone="view")
    assert page.frames(figure) == [0, 0], "nobody was asked"
    page.ack(figure, 2)
    assert figure.attached


def test_a_silent_page_is_asked_with_one_frame_at_a_time_and_recovers(page, clock):
    figure = LiveFigure()
    page.ready(figure)
    for i in range(10):
        figure.show(line([i]))
    clock[0] += live_figure.STALL_S + 0.1
    for i in range(10, 20):
        figure.show(line([i]))
    assert page.frames(figure) == [0, 1, 2, 3, 4, 5, 10]
    assert not figure.wait(0)
    page.ack(figure, 7)  # for all before it as well
    assert figure.wait(0)
    assert page.frames(figure)[-1] == 19


def test_several_figures_share_one_message_and_one_acknowledgement(page):
    a, b, hidden = LiveFigure(), LiveFigure(), LiveFigure()
    page.ready(a)
    page.ready(b)
    for i in range(6):
        show_together({a: line([i]), b: line([i, -1.0]), hidden: line([0])})
    assert len(page.messages) == 6
    content, buffers = page.messages[0]
    assert [f["id"] for f in content["frames"]] == [a._id, b._id]
    second = content["frames"][1]
    assert unpack(second["spec"], buffers[second["first"] :])["data"][0]["y"].tolist() == [0, -1]
    assert not a.wait(0)
    assert not b.wait(0)
    page.answer(a, acks={a._id: 6, b._id: 6})
    assert a.wait(0)
    assert b.wait(0)


def test_a_spec_that_cannot_be_packed_changes_no_figure(page):
    a, b = LiveFigure(line([1])), LiveFigure()
    with pytest.raises(TypeError):
        show_together({a: line([2]), b: {"data": [object()]}})
    page.ready(a)
    assert page.frames(a) == [1]


def test_many_threads_lose_no_last_frame(page):
    figure = LiveFigure()
    page.ready(figure)
    threads = [
        threading.Thread(target=lambda: [figure.show(line([i])) for i in range(50)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    page.ack(figure, 6)
    assert page.numbers(figure) == [1, 2, 3, 4, 5, 6, 7]
    assert page.frames(figure)[-1] == 49


def test_arrays_may_be_reused_after_show(page):
    figure, y = LiveFigure(), np.array([1.0, 2.0])
    figure.show(line(y))
    y[:] = 9
    page.ready(figure)
    content, buffers = page.messages[0]
    assert unpack(content["frames"][0]["spec"], buffers)["data"][0]["y"].tolist() == [1.0, 2.0]


def test_clicks_reach_every_callback(page):
    figure, clicks = LiveFigure(), []
    figure.on_click(clicks.append)
    figure.on_click(lambda click: clicks.append(click["point"]))
    point = {"curve": 0, "point": 3, "x": 1.5, "y": 2, "customdata": None}
    page.answer(figure, click=point)
    assert clicks == [point, 3]


def test_plotly_js_travels_on_demand_zipped_and_not_in_the_state(page):
    figure = LiveFigure()
    assert len(json.dumps(figure.get_state(), default=str)) < 100_000
    page.answer(figure, want="plotly")
    content, (zipped,) = page.messages[0]
    assert content == {"plotly": figure._plotly}
    assert b"plotly.js v" in gzip.decompress(zipped)[:200]
    assert len(zipped) < 2e6


# -- the page's module -----------------------------------------------------------------------------


@pytest.fixture
def node():
    """Node, or the one that Playwright brings."""
    driver = pytest.importorskip("playwright._impl._driver")
    return shutil.which("node") or driver.compute_driver_executable()[0]


def test_its_parts_make_one_module_that_needs_no_other():
    module = live_figure.page_module()
    assert not re.findall(r"^import .*", module, re.MULTILINE)
    assert re.findall(r"^export \w+", module, re.MULTILINE) == ["export default"]
    assert set(live_figure.PARTS) == {path.stem for path in live_figure.PAGE.iterdir()}
    names = re.findall(r"^(?:const|let|(?:async )?function) (\w+)", module, re.MULTILINE)
    assert len(names) == len(set(names)), "two parts use one name at the top"


def test_the_parts_import_only_from_those_before_them():
    for i, part in enumerate(live_figure.PARTS):
        text = (live_figure.PAGE / f"{part}.js").read_text(encoding="utf-8")
        assert set(re.findall(r'from "\./(\w+)\.js"', text)) <= set(live_figure.PARTS[:i])


def test_it_is_valid_javascript(node, tmp_path):
    (tmp_path / "live_figure.mjs").write_text(live_figure.page_module(), encoding="utf-8")
    checked = subprocess.run(
        [node, "--check", tmp_path / "live_figure.mjs"], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stderr


REVIVE = """
import { readFileSync } from "node:fs";
import { revive, withoutData } from "./specs.mjs";
const { spec, buffers } = JSON.parse(readFileSync(0));
const bytes = (text) => Uint8Array.from(Buffer.from(text, "base64"));
const views = buffers.map((text) => new DataView(bytes(text).buffer));
const plain = (key, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
console.log(JSON.stringify([revive(spec, views), JSON.stringify(spec, withoutData)], plain));
"""


def in_the_page(node, folder, spec):
    """A spec as the page's own code reads it from the wire, and the key of its frame."""
    shutil.copy(live_figure.PAGE / "specs.js", folder / "specs.mjs")
    (folder / "revive.mjs").write_text(REVIVE, encoding="utf-8")
    packed, buffers = pack(spec)
    wire = json.dumps({"spec": packed, "buffers": [base64.b64encode(b).decode() for b in buffers]})
    ran = subprocess.run(
        [node, folder / "revive.mjs"], input=wire, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_page_reads_what_was_packed(node, tmp_path):
    z = np.arange(6, dtype=">f8").reshape(2, 3)
    spec = {
        "data": [
            {"type": "heatmap", "z": z, "x": np.array([0, 2**40])},
            {"type": "scatter", "y": [1.5, None], "x": np.array([1, 2], np.int64), "name": "π"},
            {"type": "bar", "y": np.array([True, False]), "x": z[:, 0]},
        ],
        "layout": {"height": 200},
    }
    (back, _) = in_the_page(node, tmp_path, spec)
    assert back == {
        "data": [
            {"type": "heatmap", "z": [[0, 1, 2], [3, 4, 5]], "x": [0, 2**40]},
            {"type": "scatter", "y": [1.5, None], "x": [1, 2], "name": "π"},
            {"type": "bar", "y": [1, 0], "x": [0, 3]},
        ],
        "layout": {"height": 200},
    }


def test_frames_that_differ_only_in_numbers_have_one_key(node, tmp_path):
    def key(y, title="loss", name="a"):
        spec = {"data": [{"y": y, "name": name}], "layout": {"title": {"text": title}}}
        return in_the_page(node, tmp_path, spec)[1]

    assert key(np.array([1.0])) == key(np.array([2.0, 3.0]))
    assert key([1.0]) == key([2.0, 3.0])
    assert len({key([1.0]), key([1.0], title="accuracy"), key([1.0], name="b")}) == 3


# -- packing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        ("f4", "f4"), ("f8", "f8"), ("f2", "f4"), (">f8", "f8"), ("?", "u1"),
        ("i1", "i1"), ("i2", "i2"), ("i4", "i4"), ("i8", "i4"),
        ("u1", "u1"), ("u2", "u2"), ("u4", "u4"), ("u8", "i4"),
    ],
)  # fmt: skip
def test_every_numeric_dtype_becomes_one_the_browser_has(given, dtype):
    a = np.array([0, 1, 1, 0, 1], given)
    packed, buffers = pack({"data": [{"y": a}]})
    assert packed["data"][0]["y"]["dtype"] == dtype
    np.testing.assert_array_equal(unpack(packed, buffers)["data"][0]["y"], a)
    json.dumps(packed, allow_nan=False)


@pytest.mark.parametrize("big", [2**40, -(2**31) - 1, 2**31])
def test_integers_too_long_for_32_bits_become_floats(big):
    packed, buffers = pack({"x": np.array([1, big])})
    assert unpack(packed, buffers)["x"].tolist() == [1.0, float(big)]


def test_gaps_stay_gaps():
    packed, buffers = pack(
        {"y": np.array([1, np.nan, np.inf]), "l": [1.0, float("nan"), None, float("-inf")]}
    )
    y = unpack(packed, buffers)["y"]
    assert np.isnan(y[1])
    assert np.isinf(y[2])
    assert packed["l"] == [1.0, None, None, None]


def test_two_dimensions_non_contiguous_and_empty_arrays():
    z = np.arange(12.0).reshape(3, 4)
    packed, buffers = pack(
        {"z": z.T[::2], "y": np.arange(10)[::-3], "e": np.array([]), "ze": np.zeros((0, 5))}
    )
    back = unpack(packed, buffers)
    np.testing.assert_array_equal(back["z"], z.T[::2])
    assert back["y"].tolist() == [9, 6, 3, 0]
    assert back["e"].size == 0
    assert back["ze"].shape == (0, 5)


def test_nested_values_keep_their_place():
    spec = {
        "data": (
            {
                "marker": {"color": ["#fff", "red"], "size": np.float32(6)},
                "visible": True,
                "name": None,
            },
        ),
        "layout": {
            "xaxis": {"range": (0, np.int64(5))},
            "text": np.array(["a", "b"]),
            "n": np.array(3),
        },
    }
    packed, buffers = pack(spec)
    assert buffers == []
    assert packed == {
        "data": [
            {"marker": {"color": ["#fff", "red"], "size": 6.0}, "visible": True, "name": None}
        ],
        "layout": {"xaxis": {"range": [0, 5]}, "text": ["a", "b"], "n": 3},
    }
    json.dumps(packed)


def test_an_array_used_twice_travels_once():
    x = np.arange(1000.0)
    packed, buffers = pack({"data": [{"x": x, "y": x + i} for i in range(8)]})
    assert len(buffers) == 9
    assert {trace["x"]["_array"] for trace in packed["data"]} == {0}


def test_equal_temporaries_are_not_taken_for_each_other():
    class Lazy:  # a new array at each conversion: ids may be used again
        def __init__(self, n):
            self.n = n

        def __array__(self, dtype=None, copy=None):
            return np.full(3, self.n)

    packed, buffers = pack({"data": [{"y": Lazy(i)} for i in range(20)]})
    assert [trace["y"][0] for trace in unpack(packed, buffers)["data"]] == list(range(20))


def test_tensors_are_arrays():
    packed, buffers = pack({"y": torch.arange(3.0)})
    assert unpack(packed, buffers)["y"].tolist() == [0, 1, 2]


def test_a_plotly_figure_packs_like_its_dict():
    z = np.arange(6.0).reshape(2, 3)
    figure = go.Figure(go.Heatmap(z=z, x=np.array([1, 2, 3])), layout={"title": "z"})
    packed, buffers = pack(figure)
    back = unpack(packed, buffers)
    np.testing.assert_array_equal(back["data"][0]["z"], z)
    assert back["data"][0]["x"].tolist() == [1, 2, 3]
    assert back["layout"]["title"]["text"] == "z"
    assert "bdata" not in json.dumps(packed)


@pytest.mark.parametrize(
    "bad", [{"data": [object()]}, {"y": np.array([1j])}, {"y": {1, 2}}, [1, 2], None, "figure"]
)
def test_what_json_cannot_carry_is_refused_with_advice(bad):
    with pytest.raises(TypeError, match=r"numpy arrays|go\.Figure"):
        pack(bad)
