"""A batch's report in a browser without a network: opened, sorted, filtered, pointed at."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect

from labkit.batch.report import report, to_html
from labkit.batch.results import Record
from tests.batch import synthetic
from tests.browser.pages import Notebook, eventually

DRAWN = "performance.getEntriesByName('labkit-page')[0]?.startTime"
RUNS = 300
SECONDS = 10  # in which a report must open; the machine may be shared
OVERLAPS = """
() => {
  const boxes = [...document.querySelectorAll("h1, h2, p, nav, select, .state, .figure, th button")]
    .filter((e) => e.getClientRects().length);
  const wide = document.documentElement.scrollWidth > innerWidth + 1 ? ["the page scrolls"] : [];
  return wide.concat(boxes.filter((e) => e.getBoundingClientRect().right > innerWidth + 1
    && !e.closest(".scroll")).map((e) => e.tagName + " " + e.className));
}
"""


def read(page: Path, name: str) -> list[dict[str, Any]]:
    """A file of every run of a batch, by the path of its report."""
    return [json.loads(path.read_text()) for path in sorted(page.parent.glob(f"*/{name}"))]


class Report:
    """A report that is open in a browser."""

    def __init__(self, browser: Browser, path: Path, width: int = 1280) -> None:
        size = {"width": width, "height": 900}
        self.page = browser.new_context(viewport=size, offline=True).new_page()
        self.watch = Notebook(self.page)
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        began = time.monotonic()
        self.page.goto(path.as_uri())
        self.drawn = eventually(self.page, lambda: self.page.evaluate(DRAWN), "the charts")
        self.seconds = time.monotonic() - began
        self.url = self.page.url

    def cells(self, column: str) -> list[str]:
        """The texts of a column, of the rows that are shown."""
        heads = self.page.locator("th button").all_inner_texts()
        return self.page.locator(f"tbody td:nth-child({heads.index(column) + 1})").all_inner_texts()

    def filter(self, text: str, shown: str) -> None:
        self.page.fill("#filter", text)
        expect(self.page.locator("#shown")).to_have_text(shown)

    def sort(self, column: str) -> list[str]:
        self.page.locator("th button", has_text=re.compile(f"^{column}$")).click()
        return self.cells(column)

    def figure(self, name: str) -> Locator:
        return self.page.locator(f"#{name} .figure")

    def note(self, name: str) -> str:
        return self.page.locator(f"#{name} .note").inner_text()

    def chosen(self) -> str:
        return self.page.locator("#chosen span").inner_text()

    def close(self) -> None:
        self.page.context.close()
        assert self.watch.problems == []
        assert self.requests == [self.url], "something was fetched"


@pytest.fixture(scope="session")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    known: dict[int, Path] = {}

    def make(runs: int) -> Path:
        if runs not in known:
            folder = tmp_path_factory.mktemp("report") / f"runs{runs}"
            known[runs] = Path(report(synthetic.batch(folder, runs)))
        return known[runs]

    return make


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Report]]:
    """Open a report; when the test is over, nothing must have gone wrong in it."""
    reports: list[Report] = []

    def open_report(path: Path, width: int = 1280) -> Report:
        reports.append(Report(browser, path, width))
        return reports[-1]

    yield open_report
    for one in reports:
        one.close()


@pytest.fixture(scope="module")
def kept_open(browser: Browser, batches) -> Iterator[Report]:
    one = Report(browser, batches(RUNS))
    yield one
    one.close()


@pytest.fixture
def page(kept_open: Report) -> Report:
    """A report as it is at first; opening one for each test would take long."""
    kept_open.filter("", f"{RUNS} runs")
    for button in kept_open.page.locator("#chosen button").all():
        button.click()
    kept_open.page.evaluate("scrollTo(0, 0)")  # else the bar may lie on what is looked at
    return kept_open


@pytest.mark.parametrize("runs", [3, 1000])
def test_a_report_opens(runs: int, batches, opened):
    page = opened(batches(runs))
    print(f"{runs} runs: {page.seconds:.2f} s, {batches(runs).stat().st_size / 1e6:.1f} MB")
    assert page.seconds < SECONDS
    expect(page.page.locator("#shown")).to_have_text(f"{runs:,} runs")
    assert len(page.cells("run")) == min(runs, 25)
    assert page.figure("coordinates").locator("canvas").count() == 2
    assert page.figure("curves").locator(".scatterlayer .lines path").count() >= runs
    assert page.note("curves").startswith(f"{runs:,} curves")
    if runs > 3:
        assert page.figure("heatmap").locator(".heatmaplayer image").count() == 1
    else:
        assert "No heat map" in page.page.inner_text("#heatmap")


@pytest.mark.parametrize("width", [1280, 800, 420])
def test_nothing_sticks_out(width: int, batches, opened):
    page = opened(batches(168), width)
    assert page.page.evaluate(OVERLAPS) == []


def test_sorting(page: Report, batches):
    results = read(batches(RUNS), "results.json")
    states = [status["state"] for status in read(batches(RUNS), "status.json")]
    both = list(zip(results, states, strict=True))
    accuracies = [result["val_accuracy"] for result, state in both if state == "done"]
    best = sorted(accuracies, reverse=True)[:25]
    page.sort("val_accuracy")
    assert [float(text) for text in page.sort("val_accuracy")] == best
    assert page.sort("optimizer") == ["adam"] * 25
    assert page.sort("optimizer") == ["sgd"] * 25
    head = page.page.locator("th", has_text="optimizer")
    assert head.get_attribute("aria-sort") == "descending"
    page.sort("val_loss")
    missing = sum(state != "done" or r["val_loss"] == "nan" for r, state in both)
    for _ in range(RUNS // 25 - 1):
        page.page.get_by_role("button", name="next").click()
    assert page.page.locator(".pages span").inner_text() == f"{RUNS - 24} to {RUNS} of {RUNS}"
    assert missing > 25
    assert set(page.cells("val_loss")) == {"nan", "–"}, "what is missing comes last"


def test_filtering(page: Report, batches):
    runs = read(batches(RUNS), "status.json")

    def count(holds: Callable[[dict], bool]) -> str:
        return f"{sum(holds(run['parameters'] | run) for run in runs)} of {RUNS} runs"

    page.filter("lr<0.01", count(lambda run: run["lr"] < 0.01))
    page.filter("lr<=0.01 optimizer=adam", count(lambda r: r["lr"] <= 0.01 and "adam" in r["id"]))
    page.filter("optimizer!=ADAM", count(lambda run: run["optimizer"] != "adam"))
    page.filter("optimizer~m", count(lambda run: "m" in run["optimizer"]))
    page.filter('state="timed out"', count(lambda run: run["state"] == "timed out"))
    page.filter("seed>9", count(lambda run: run["seed"] > 9))
    assert set(page.cells("seed")) == {"10"}
    page.filter("exploded", count(lambda run: "exploded" in str(run["failure"])))
    page.filter("", f"{RUNS} runs")
    slip = page.page.locator("#slip")
    for text, said in (("lrr<1", "There is no column lrr; there are id, "), ("lr<x", "a number")):
        page.page.fill("#filter", text)
        expect(slip).to_contain_text(said)
    page.filter("nothing like this", f"0 of {RUNS} runs")
    expect(page.page.locator(".pages")).to_contain_text("No run fits.")
    page.filter("optimizer=sgd", f"75 of {RUNS} runs")
    expect(slip).to_be_empty()
    ticks = page.figure("heatmap").locator(".xtick")
    eventually(page.page, lambda: ticks.all_text_contents() == ["sgd"], "one column")
    eventually(page.page, lambda: page.note("curves").startswith("75 curves"), "fewer curves")


def test_a_failure_leads_to_its_runs(page: Report, batches):
    failed = [run for run in read(batches(RUNS), "status.json") if run["state"] == "failed"]
    page.page.get_by_role("button", name=f"all {len(failed)} in the table").click()
    expect(page.page.locator("#shown")).to_have_text(f"{len(failed)} of {RUNS} runs")
    assert set(page.cells("state")) == {"failed"}


def test_a_run_is_highlighted_everywhere(page: Report, batches):
    ours = "document.querySelector('#curves .figure').data.at(-1).x.length"
    painted = (
        "() => { const c = document.querySelectorAll('#coordinates canvas')[1];"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(Boolean) }"
    )
    outlines = page.figure("heatmap").locator(".shapelayer path")
    assert (page.page.evaluate(ours), page.page.evaluate(painted)) == (0, False)
    page.page.locator("tbody tr").nth(3).locator("td").nth(2).click()
    told = [f"{name}={page.cells(name)[3]}" for name in ("optimizer", "lr", "seed")]
    assert page.chosen() == " ".join(told)
    expect(page.page.locator("tbody tr.chosen")).to_have_count(1)
    eventually(page.page, lambda: page.page.evaluate(ours) > 50, "its curve above the others")
    assert page.page.evaluate(painted), "no line above the others"
    expect(outlines).to_have_count(1)
    href = page.page.locator("#chosen a").get_attribute("href")
    assert href.startswith(f"./04_optimizers-{'-'.join(told)}-".replace("=", "%3D"))
    page.page.get_by_role("button", name="clear").click()
    expect(page.page.locator("tbody tr.chosen")).to_have_count(0)
    eventually(page.page, lambda: page.page.evaluate(ours) == 0, "no curve above the others")


def test_a_cell_of_the_heat_map_is_its_runs(page: Report, batches):
    grid = page.figure("heatmap").locator(".nsewdrag")
    grid.scroll_into_view_if_needed()
    box = grid.bounding_box()
    page.page.mouse.move(box["x"] + box["width"] / 8, box["y"] + box["height"] * 13 / 14)
    tip = page.figure("heatmap").locator(".hoverlayer text")
    expect(tip).to_contain_text("optimizer adam, lr 0.0003")
    runs = read(batches(RUNS), "status.json")
    own = {r["id"] for r in runs if "adam" in r["id"] and r["parameters"]["lr"] == 0.0003}
    done = [r["id"] for r in runs if r["id"] in own and r["state"] == "done"]
    folder = batches(RUNS).parent
    results = [json.loads((folder / run / "results.json").read_text()) for run in done]
    mean = sum(result["val_accuracy"] for result in results) / len(results)
    expect(tip).to_contain_text(f"mean of {len(done)} runs")
    expect(tip).to_contain_text(f"val_accuracy {mean:.4g}")
    page.page.mouse.down()
    page.page.mouse.up()
    expect(page.page.locator("#chosen span")).to_have_text(f"{len(own)} runs highlighted")


def test_a_curve_names_its_run(batches, opened):
    page = opened(batches(3))
    figure = page.figure("curves")
    figure.scroll_into_view_if_needed()
    place = figure.evaluate(
        "(gd) => { const t = gd.data[0], x = gd._fullLayout.xaxis, y = gd._fullLayout.yaxis;"
        "return [x.d2p(t.x[60]) + x._offset, y.d2p(t.y[60]) + y._offset] }"
    )
    box = figure.bounding_box()
    page.page.mouse.move(box["x"] + place[0], box["y"] + place[1])
    name = figure.locator(".hoverlayer text").first.text_content()
    assert "lr=0.0003" in name or "optimizer=" in name
    page.page.mouse.down()
    page.page.mouse.up()
    expect(page.page.locator("#chosen span")).to_have_text(name.partition("step")[0].strip())


def test_part_of_an_axis_keeps_its_runs(page: Report, batches):
    runs = read(batches(RUNS), "status.json")
    kept = sum("sgd" in run["id"] and run["state"] == "done" for run in runs)
    figure = page.figure("coordinates")
    figure.scroll_into_view_if_needed()
    box = figure.bounding_box()
    mouse = page.page.mouse
    mouse.move(box["x"] + 96, box["y"] + 30)
    mouse.down()
    mouse.move(box["x"] + 96, box["y"] + 60, steps=3)
    mouse.up()
    expect(page.page.locator("#shown")).to_have_text(
        f"{kept} of {RUNS} runs, part of an axis below"
    )
    assert set(page.cells("optimizer")) == {"sgd"}
    mouse.click(box["x"] + 96, box["y"] + 200)
    expect(page.page.locator("#shown")).to_have_text(f"{RUNS} runs")
    mouse.move(box["x"] + 130, box["y"] + 44)
    tip = figure.locator(".tip")
    expect(tip).to_contain_text("optimizer=sgd")
    mouse.down()
    mouse.up()
    assert page.chosen().startswith("optimizer=sgd")


def test_other_curves_colours_and_results(page: Report, batches):
    colours = page.page.locator("#curves select[name=color]")
    legend = page.figure("curves").locator(".legendtext")
    assert legend.all_text_contents() == [*sorted(synthetic.RATES), "failed or diverged"]
    colours.select_option("lr")
    expect(legend).to_have_count(8)
    colours.select_option("val_loss")
    expect(page.figure("curves").locator(".colorbar")).to_have_count(1)
    page.page.locator("#curves select[name=name]").select_option("history.train_loss")
    expect(page.figure("curves").locator(".ytitle")).to_have_text("history.train_loss")
    page.page.locator("#heatmap select[name=x]").select_option("seed")
    expect(page.figure("heatmap").locator(".xtitle")).to_have_text("seed")
    page.page.locator("#coordinates select").select_option("seconds")
    label = page.figure("coordinates").locator("canvas").last
    expect(label).to_have_attribute(
        "aria-label", f"Parallel coordinates of {RUNS} runs, coloured by seconds"
    )


def record(number: int, **status: Any) -> Record:
    told = {"id": f"run{number}", "notebook": "n", "state": "done", "parameters": {}}
    return Record({**told, **status}, status.pop("results", {}))


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], ["No run fits.", "No parallel", "No heat map", "No curves"]),
        ([record(1)], ["No parallel coordinates: no parameter differs", "No curves"]),
        (
            [record(k, state="queued", parameters={"lr": k}) for k in (1, 2)],
            ["no run has a number"],
        ),
        (
            [
                record(k, state="failed", parameters={"lr": k}, failure={"reason": "it broke"})
                for k in (1, 2)
            ],
            ["it broke", "no run has a number", "No curves: no run reported"],
        ),
        (
            [record(k, parameters={"lr": k}, results={"loss": k / 7}) for k in (1, 2, 3)],
            ["lr", "0.1429", "it needs two parameters that differ"],
        ),
        (
            [
                record(
                    1, notebook="a", parameters={"lr": 0.1}, results={"loss": 1, "l": [3, 2, 1]}
                ),
                record(2, notebook="b", parameters={"hidden": [8, 8]}, results={"loss": 2}),
                record(3, notebook="b", parameters={"hidden": []}, results={"loss": "nan"}),
            ],
            ["[8, 8]", "nan", "1 run without loss is left out", "1 curve."],
        ),
    ],
    ids=["none", "one", "queued", "failed", "one parameter", "two notebooks"],
)
def test_odd_batches(records: list[Record], said: list[str], tmp_path: Path, opened):
    path = tmp_path / "report.html"
    path.write_text(to_html(records, "odd"), encoding="utf-8")
    text = opened(path).page.inner_text("body")
    for part in said:
        assert part in text


def test_hostile_values_are_inert(tmp_path: Path, opened):
    hostile = "</script><img src=x onerror=\"document.title='pwned'\"><b>bold</b>"
    link = '<a href="javascript:alert(1)">link</a>'
    curves = {hostile: {"x": [0, 1, 2], "y": [1, 2, 3]}}
    records = [
        Record(
            {
                "id": f"{hostile}{k}",
                "notebook": hostile,
                "state": state,
                "parameters": {"text": f"{hostile}{k % 2}", "link": f"{link}{k % 3}"},
                "failure": {"reason": hostile, "lines": [hostile]},
            },
            {hostile: float(k)},
            curves,
            True,
        )
        for k, state in enumerate(["done", "failed", "done", "done"])
    ]
    path = tmp_path / "report.html"
    path.write_text(to_html(records, hostile), encoding="utf-8")
    page = opened(path)
    for row in range(2):
        page.page.locator("tbody tr").nth(row).locator("td").nth(2).click()
        assert hostile in page.chosen()
    page.page.locator("#heatmap .figure").scroll_into_view_if_needed()
    for name in ("heatmap", "curves"):
        page.figure(name).locator(".nsewdrag").first.hover()
        page.page.wait_for_timeout(200)
    assert page.page.locator("img, td b, [onerror], a[href*=javascript]").count() == 0
    assert page.page.locator(".figure a, .figure b").count() == 0
    assert page.page.title() == f"{hostile} · labkit"
    assert hostile in page.page.inner_text("#curves .note, #curves select")
