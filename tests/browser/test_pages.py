"""Everything else that is seen: the first notebook, sizes, themes, the page of a batch run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.pages import Figure, Notebook, eventually

# Words that lie on each other, and what sticks out of its box.
OVERLAPS = """
(root) => {
  const kinds = ".xtitle, .ytitle, .y2title, .legendtext, .annotation-text";
  const words = [...root.querySelectorAll(
    ".xtitle, .ytitle, .y2title, .legendtext, .annotation-text, .nsewdrag[data-subplot=xy]")];
  const boxes = words.map((w) => [w.textContent || "the plot", w.getBoundingClientRect()]);
  const found = [];
  boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
    if (p.width && q.width && p.left + 1 < q.right && q.left + 1 < p.right
        && p.top + 1 < q.bottom && q.top + 1 < p.bottom) found.push(`${a} lies on ${b}`);
  }));
  return found;
}
"""
SCROLLS = """
(root) => [...root.querySelectorAll(".jp-OutputArea-output, .widget-html, .jupyter-widgets")]
  .filter((e) => e.scrollWidth > e.clientWidth + 2
    && ["auto", "scroll"].includes(getComputedStyle(e).overflowX)
    && e.clientWidth && getComputedStyle(e).display !== "inline")
  .map((e) => `${e.className}: ${e.scrollWidth} in ${e.clientWidth}`)
"""


def test_the_first_notebook_shows_the_machine_and_still_figures(start_here: Notebook):
    page = start_here.page
    table = page.locator("table").filter(has_text="Python")
    table.first.scroll_into_view_if_needed()
    expect(table.first).to_be_visible()
    still = page.locator(".js-plotly-plot:not(.labkit-figure)")
    still.last.scroll_into_view_if_needed()
    expect(still.last.locator(".main-svg").first).to_be_visible()
    assert still.last.locator(".scatterlayer path").count() >= 8


@pytest.mark.parametrize("size", [(1440, 900), (1100, 800), (800, 800), (1440, 800)])
def test_nothing_overlaps_or_scrolls(converging: Notebook, size: tuple[int, int]):
    page = converging.page
    page.set_viewport_size({"width": size[0], "height": size[1]})
    panel = converging.panel("Train")
    panel.show()
    for _ in range(2):
        panel.press("Step")
    panel.figure("Loss curves").wait_until_still()
    eventually(page, lambda: not panel.root.evaluate(OVERLAPS), "words beside each other")
    assert panel.root.evaluate(SCROLLS) == []
    assert panel.root.evaluate("(e) => e.scrollWidth <= e.clientWidth + 1"), "the panel is cut off"


def test_the_dark_theme_reaches_the_figures(converging: Notebook):
    panel = converging.panel("Train")
    panel.show()
    loss = panel.figure("Loss curves")
    loss.wait_until_still()
    color = "(el) => getComputedStyle(el.querySelector('.xtitle')).fill"
    light = loss.root.evaluate(color)
    theme(converging, "JupyterLab Dark")
    try:
        eventually(converging.page, lambda: loss.root.evaluate(color) != light, "light words")
        red = int(loss.root.evaluate(color).removeprefix("rgb(").split(",")[0])
        assert red > 170, "dark words on a dark page"
    finally:
        theme(converging, "JupyterLab Light")
    eventually(converging.page, lambda: loss.root.evaluate(color) == light, "dark words")


def theme(notebook: Notebook, name: str) -> None:
    """Choose a theme in the settings menu."""
    notebook.menu("Settings")
    for label in ("Theme", name):
        notebook.page.locator(".lm-Menu-itemLabel").get_by_text(label, exact=True).click()


def test_the_page_of_a_run_works_offline(browser: Browser, home: dict[str, str], tmp_path: Path):
    start = "from labkit.cli import main; main()"
    source = Path(__file__).parents[2] / "notebooks" / "00_start_here.ipynb"
    subprocess.run(
        [
            sys.executable,
            "-c",
            start,
            "run",
            str(source),
            "-p",
            "steps=200",
            "--out",
            str(tmp_path),
        ],
        env=home,
        check=True,
        timeout=180,
    )
    (html,) = tmp_path.rglob("*.html")
    page = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True).new_page()
    notebook = Notebook(page)
    page.goto(html.as_uri())
    figures = page.locator(".js-plotly-plot")
    figures.first.wait_for()
    assert figures.count() >= 2
    last = Figure(page, figures.last.locator("xpath=.."))
    last.root.scroll_into_view_if_needed()
    area = last.root.locator(".nsewdrag").first.bounding_box()
    assert area
    point = figures.last.evaluate(
        "(gd) => { const t = gd._fullData[0], x = gd._fullLayout.xaxis, y = gd._fullLayout.yaxis;"
        "const i = t.x.length >> 1; return [x.d2p(t.x[i]) / x._length, y.d2p(t.y[i]) / y._length] }"
    )
    assert "step" in last.hover(*point)
    page.context.close()
    assert not notebook.problems, "\n".join(notebook.problems)
