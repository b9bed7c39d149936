"""The report's page as a file: what it says, what it holds, and what cannot get out of it."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import urllib.parse
from pathlib import Path
from typing import Any

import fsspec
import pytest

from labkit.batch.report import FAILED, POINTS, report, to_html
from labkit.batch.results import Record
from labkit.core.errors import FileError
from tests.batch import synthetic
from tests.page import Page

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\"'><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "\u2028\u2029\x00 &lt;b&gt; ${1} $x$ %{y}",
]


def record(parameters: dict, results: dict | None = None, **more: Any) -> Record:
    told = {"id": "a", "notebook": "n", "state": "done", "seconds": 1.5, "attempt": 1}
    curves = more.pop("curves", {})
    return Record({**told, "parameters": parameters, **more}, results or {}, curves, True)


def data_of(html: str) -> dict[str, Any]:
    """What the page's scripts work with."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    return json.loads(text)


def values_of(html: str) -> dict[str, list[Any]]:
    return {column["name"]: column["values"] for column in data_of(html)["columns"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.batch(tmp_path_factory.mktemp("report") / "a & b", 300)


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    path = report(folder)
    assert path == str(folder / "report.html")
    return Path(path).read_text(encoding="utf-8")


# --- what it says ----------------------------------------------------------------------


def test_the_head_of_the_page(html: str, folder: Path):
    statuses = [json.loads(path.read_text()) for path in folder.glob("*/status.json")]
    page = Page(html)
    assert page.title == "a & b · labkit"
    text = " ".join(page.text.split())
    for state in {status["state"] for status in statuses}:
        assert f"{sum(s['state'] == state for s in statuses)} {state}" in text
    assert "started 2026-03-14 09:26 UTC · took 3 min" in text
    total = sum(status["seconds"] for status in statuses)
    assert f"{total // 60:.0f} min {total % 60:.0f} s of runs · labkit 0.4.0" in text
    assert "In all runs: steps 500" in text
    assert "interactive" not in text


def test_failures_come_first_with_reason_and_last_lines(html: str, folder: Path):
    statuses = [json.loads(path.read_text()) for path in folder.glob("*/status.json")]
    failed = [status["id"] for status in statuses if status["state"] == "failed"]
    assert len(failed) > 8
    head = html.partition('id="filter"')[0]
    assert "cell [7]: AssertionError: the loss exploded" in head
    assert "3 assert history.summary()[&#39;val_loss&#39;] &lt; 100" in head
    assert f"{len(failed)} failed</span>" in head
    assert f"all {len(failed)} in the table" in head
    assert sum(f">{run}</a>" in head for run in failed) == 8, "a page of links"


def test_links_are_relative_and_lead_somewhere(html: str, folder: Path):
    head = html.partition("<script")[0]
    links = [*re.findall(r'<a href="([^"]*)"', head), *data_of(html)["hrefs"]]
    assert len(links) > 300
    for link in links:
        assert link.startswith("./")
        assert (folder / urllib.parse.unquote(link)).is_file()


def test_a_run_without_a_page_has_no_link(tmp_path: Path):
    folder = synthetic.batch(tmp_path / "runs", 2)
    next(folder.glob("*/*.html")).unlink()
    hrefs = data_of(Path(report(folder)).read_text())["hrefs"]
    assert sorted(href is None for href in hrefs) == [False, True]


def test_the_table_holds_every_run_as_its_files_say(html: str, folder: Path):
    values = values_of(html)
    for index, run in enumerate(values["id"]):
        status = json.loads((folder / run / "status.json").read_text())
        results = json.loads((folder / run / "results.json").read_text())
        told = {**status["parameters"], **(results if status["state"] == "done" else {})}
        assert {name: values[name][index] for name in told} == told
        assert values["failure"][index] == (status["failure"] or {}).get("reason")


def test_curves_are_those_of_the_files(html: str, folder: Path):
    data = data_of(html)
    ids = values_of(html)["id"]
    assert list(data["curves"]["lines"]) == ["history.train_loss", "history.val_loss"]
    lines = data["curves"]["lines"]["history.val_loss"]
    assert [run for run, _, _ in lines] == list(range(300)), "failed ones too"
    for run, place, y in lines:
        kept = json.loads((folder / ids[run] / "curves.json").read_text())["history.val_loss"]
        points = dict(zip(kept["x"], kept["y"], strict=True))
        for step, value in zip(data["curves"]["xs"][place], y, strict=True):
            expected = points[step]
            assert value is None if expected is None else value == pytest.approx(expected, rel=1e-5)


def test_reported_lists_are_curves():
    lists = {"losses": [3.0, 2.0, "nan"], "two": [1, 2], "texts": ["a", "b", "c"], "n": [[1]] * 3}
    data = data_of(to_html([record({}, lists)], "runs"))
    assert data["curves"]["lines"] == {"losses": [[0, 0, [3, 2, None]]]}
    assert data["curves"]["xs"] == [[0, 1, 2]]


def test_curves_that_are_none_are_left_out():
    curves = {
        "short": {"x": [1], "y": [1, 2]},
        "text": {"x": [0, 1], "y": ["a", 1]},
        "nothing": {"x": [0, 1], "y": [None, None]},
        "empty": {"x": [], "y": []},
        "no": {"x": 1},
        "list": [1, 2],
        "good": {"x": [0, 1], "y": [2, 1]},
    }
    data = data_of(to_html([record({}, curves=curves)], "runs"))
    assert list(data["curves"]["lines"]) == ["good"]


def test_many_curves_stay_small():
    curves = {"loss": {"x": list(range(200)), "y": [1 / (k + 1) for k in range(200)]}}
    records = [record({"k": k}, curves=curves) for k in range(4000)]
    lines = data_of(to_html(records, "runs"))["curves"]["lines"]["loss"]
    assert sum(len(y) for _, _, y in lines) <= POINTS
    assert {y[0] for _, _, y in lines} == {1}
    assert {y[-1] for _, _, y in lines} == {0.005}, "the end of a curve is lost"


# --- odd batches -----------------------------------------------------------------------


@pytest.mark.parametrize("state", ["queued", "running", *FAILED])
def test_a_batch_without_a_result(state: str):
    failure = {"reason": f"it was {state}", "lines": ["one", "two"]}
    records = [record({"lr": lr}, state=state, failure=failure, id=f"r{lr}") for lr in (1, 2)]
    html = to_html(records, "runs")
    assert ("What went wrong" in html) == (f"it was {state}</code>" in html) == (state in FAILED)
    assert values_of(html)["state"] == [state] * 2
    assert Page(html).title == "runs · labkit"


def test_a_run_that_has_only_been_asked_for():
    told = {"id": "a", "notebook": "n", "state": "queued", "parameters": {"lr": 0.1}}
    html = to_html([Record(told)], "runs")
    assert data_of(html)["hrefs"] == [None]
    assert values_of(html)["seconds"] == [None]


def test_numbers_that_json_lacks():
    results = {"nan": math.nan, "inf": -math.inf, "big": 2**63, "list": [math.nan] * 400}
    values = values_of(to_html([record({}, results)], "runs"))
    assert values["nan"] == ["nan"]
    assert values["inf"] == ["-inf"]
    assert values["big"] == ["9223372036854775808"], "JavaScript would round it"
    assert len(values["list"][0]) < 300


def test_many_reasons_are_cut_short():
    records = [record({}, state="failed", failure={"reason": f"no. {k}."}) for k in range(50)]
    html = to_html(records, "runs")
    assert html.count("<article>") == 20
    assert "30 more reasons are in the table" in html


def test_what_is_no_batch(tmp_path: Path):
    with pytest.raises(FileError, match="holds no batch"):
        report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_folder(folder: Path):
    memory = fsspec.filesystem("memory")
    try:
        memory.put(str(folder), "/labkit-report", recursive=True)
        assert report("memory://labkit-report") == "memory://labkit-report/report.html"
        assert Page(memory.cat("/labkit-report/report.html").decode()).title.startswith("labkit-re")
    finally:
        memory.rm("/labkit-report", recursive=True)


# --- what cannot get out of it ---------------------------------------------------------


def test_the_page_loads_nothing_and_runs_only_its_own_scripts(html: str):
    page = Page(html)
    assert page.sources == []
    assert len(page.scripts) == 3
    assert len(re.findall(r"plotly\.js v\d", "".join(page.scripts))) == 1
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    policy = policy.replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy.replace("style-src 'unsafe-inline'", "")
    scripts = re.findall(r"<script>(.*?)</script>", html, re.S)
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert len(scripts) == 2


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_a_hostile_value_stays_a_value(hostile: str):
    failure = {"reason": hostile, "lines": [hostile]}
    curves = {hostile: {"x": [0, 1], "y": [1, 2]}}
    results = {hostile: hostile, "list": [hostile], "dict": {hostile: 1}}
    records = [
        record({"text": hostile, "n": 1}, results, id=hostile, notebook=hostile, labkit=hostile),
        record({"text": hostile, "n": 2}, state="failed", failure=failure, curves=curves),
        record({"text": hostile, "n": 2}, state=hostile),
    ]
    html = to_html(records, hostile)
    plain = Page(to_html([record({"text": "a"})], "runs"))
    page = Page(html)
    assert len(page.scripts) == len(plain.scripts) == 3
    assert page.sources == []
    assert hostile.replace("\x00", "\ufffd") in page.title.replace("\x00", "\ufffd")
    values = values_of(html)
    assert values["text"] == [hostile] * 3
    assert values[hostile][0] == hostile
    assert values["failure"][1] == hostile
    assert list(data_of(html)["curves"]["lines"]) == [hostile]
    embedded = html.partition('id="data">')[2].partition("</script>")[0]
    assert not set("<>&\u2028\u2029") & set(embedded)
    (quoted,) = (value for value in data_of(html)["hrefs"][:1])
    assert re.fullmatch(r"\./[\w.%~-]*/[\w.%~-]*\.html", quoted), "a link that leads elsewhere"
