"""Pages of notebooks: everything is inside, formulas are set, the notebook stays as it was."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from labkit.batch.page import mathml, to_html
from tests.page import Page

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def figure_cell(number: int):
    bundle = {
        "data": [{"type": "scatter", "y": [number, 2]}],
        "layout": {"title": {"text": f"figure {number}"}},
    }
    data = {"application/vnd.plotly.v1+json": bundle, "text/plain": "Figure()"}
    return new_code_cell("figure", outputs=[new_output("display_data", data)], execution_count=1)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_page_is_complete_without_a_network(count):
    cells = [new_markdown_cell("Say $x^2$."), *map(figure_cell, range(count))]
    page = Page(to_html(new_notebook(cells=cells), "a title"))
    assert page.title == "a title"
    assert page.sources == [], "the page waits for something from elsewhere"
    assert page.figures == count
    whole = "".join(page.scripts)
    assert len(re.findall(r"plotly\.js v\d", whole)) == (1 if count else 0)
    assert whole.count("Plotly.newPlot(") >= count
    for number in range(count):
        assert f"figure {number}" in whole
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in to_html(new_notebook(cells=cells))


def test_making_a_page_leaves_the_notebook_as_it_was():
    given = new_notebook(cells=[figure_cell(0)])
    before = json.dumps(given)
    to_html(given)
    assert json.dumps(given) == before


def test_code_that_is_folded_away_is_not_on_the_page():
    cells = [figure_cell(0), new_code_cell("the_answer = 42", execution_count=2)]
    cells[1].metadata["jupyter"] = {"source_hidden": True}
    hidden = Page(to_html(new_notebook(cells=cells))).text
    assert "the_answer" not in hidden
    assert "figure" in hidden
    cells[1].metadata["jupyter"]["source_hidden"] = False
    assert "the_answer" in Page(to_html(new_notebook(cells=cells))).text


# --- formulas --------------------------------------------------------------------------


def formulas(path: Path) -> list[str]:
    """All formulas of a notebook's text, code in it left out."""
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    text = re.sub(r"`[^`]*`", "", text)
    return [block or inline for block, inline in re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", text, re.S)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_formula_of_the_series_is_set(path):
    for formula in formulas(path):
        root = ElementTree.fromstring(mathml(formula))
        assert root.tag.endswith("math"), formula
        written = "".join(root.itertext())
        assert "\\" not in written, f"{formula} is set as {written}"


def test_a_formula_on_a_line_of_its_own_is_larger():
    cells = [new_markdown_cell("In a line $a_1$, and\n\n$$\\frac{a}{b}$$")]
    page = to_html(new_notebook(cells=cells))
    assert 'display="inline"' in page
    assert 'display="block"' in page
    assert "<mfrac>" in page


def test_code_and_prices_are_no_formulas():
    page = to_html(new_notebook(cells=[new_markdown_cell("`$x$` costs \\$5 or 6 dollars")]))
    assert "<math" not in page


@pytest.mark.parametrize("tex", ["\\frac{", "x^", "}", "", "<b>"])
def test_what_cannot_be_set_is_shown_as_it_is(tex):
    page = to_html(new_notebook(cells=[new_markdown_cell(f"before $${tex}$$ after")]))
    assert "before" in page
    assert "after" in page
    assert "<b>" not in mathml(tex)
