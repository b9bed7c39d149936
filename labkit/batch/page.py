"""An executed notebook as one HTML page: live figures, set formulas, no network."""

from __future__ import annotations

import threading
import uuid
from functools import cache
from typing import Any

import nbformat

# nbconvert's page waits for scripts from the network, which a workshop may not have.
PAGE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js_requirejs -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
"""
TAGS = {  # of cells, as nbconvert's documentation and Jupyter Book name them
    "enabled": True,
    "remove_cell_tags": {"remove-cell"},
    "remove_input_tags": {"remove-input"},
    "remove_all_outputs_tags": {"remove-output"},
}
# Stands for plotly.js, whose megabytes would be copied at every level of the templates.
PLACE = f"<script>{uuid.uuid4()}</script>"
_lock = threading.Lock()  # there is one exporter, which notes what a page has already


def to_html(notebook: nbformat.NotebookNode, title: str = "Notebook") -> str:
    """A page of a notebook whose plotly figures are live, with no network.

    nbconvert has no renderer for plotly's MIME type and would drop the figures; here each
    becomes a `<div>`, and plotly.js is put into the page once. Formulas become MathML,
    which browsers set by themselves; one that cannot be converted stays as TeX.
    """
    with _lock:
        body, _ = _exporter().from_notebook_node(notebook, {"metadata": {"name": title}})
    return str(body).replace(PLACE, _plotly_script(), 1) if PLACE in body else str(body)


def compile_templates() -> None:
    """Make a first page: nbconvert compiles its templates then, which takes a while."""
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    empty: dict[str, Any] = {"data": [], "layout": {}}
    figure = new_output("display_data", {"application/vnd.plotly.v1+json": empty})
    shown = [new_output("stream", text="1"), figure]
    cells = [new_markdown_cell("# $x$"), new_code_cell("x = 1", outputs=shown)]
    to_html(new_notebook(cells=cells))


def mathml(tex: str, display: str = "inline") -> str:
    """A formula as MathML; as escaped TeX between dollars where it cannot be converted."""
    import html

    from latex2mathml.converter import convert

    try:
        return str(convert(tex.strip(), display=display))
    except Exception:  # whatever a formula may hold, the page is made
        dollars = "$$" if display == "block" else "$"
        return f"{dollars}{html.escape(tex)}{dollars}"


@cache
def _plotly_script() -> str:
    from plotly.offline import get_plotlyjs

    return (
        "<script>window.PlotlyConfig = {MathJaxConfig: 'local'};</script>\n"
        f"<script>{get_plotlyjs()}</script>"
    )


@cache
def _exporter() -> Any:
    """The exporter, with its template compiled; nbconvert takes a while to import."""
    import plotly.io
    from jinja2 import pass_context
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
    from nbconvert.preprocessors import Preprocessor
    from traitlets.config import Config

    class LiveFigures(Preprocessor):  # type: ignore[misc]
        """Plotly's MIME bundles as HTML; code that its notebook folds away is left out."""

        def preprocess(self, notebook: Any, resources: Any) -> tuple[Any, Any]:
            self.first = True
            return tuple(super().preprocess(notebook, resources))

        def preprocess_cell(self, cell: Any, resources: Any, index: int) -> tuple[Any, Any]:
            if cell["metadata"].get("jupyter", {}).get("source_hidden"):
                cell["metadata"]["transient"] = {"remove_source": True}
            for output in cell.get("outputs", []):
                figure = output.get("data", {}).pop("application/vnd.plotly.v1+json", None)
                if figure is not None:
                    page = plotly.io.to_html(
                        {"data": figure.get("data", []), "layout": figure.get("layout", {})},
                        config={**figure.get("config", {}), "responsive": True},
                        include_plotlyjs=False,
                        full_html=False,
                        validate=False,
                    )
                    output["data"]["text/html"] = PLACE + page if self.first else page
                    self.first = False
            return cell, resources

    class Formulas(IPythonRenderer):  # type: ignore[misc]
        """Markdown's formulas as MathML."""

        def block_math(self, body: str) -> str:
            return mathml(body, "block")

        def inline_math(self, body: str) -> str:
            return mathml(body)

    class OfflinePage(HTMLExporter):  # type: ignore[misc]
        """An exporter with both."""

        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.register_preprocessor(LiveFigures, enabled=True)

        @pass_context
        def markdown2html(self, context: Any, source: str) -> str:
            attachments = context.get("cell", {}).get("attachments", {})
            renderer = Formulas(escape=False, attachments=attachments)
            return str(MarkdownWithMath(renderer=renderer).render(source))

    return OfflinePage(raw_template=PAGE, config=Config(TagRemovePreprocessor=TAGS))
