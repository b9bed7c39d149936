"""An executed notebook as one HTML page: live figures, set formulas, no network."""

from __future__ import annotations

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


def to_html(notebook: nbformat.NotebookNode, title: str = "Notebook") -> str:
    """A page of a notebook whose plotly figures are live, with no network.

    nbconvert has no renderer for plotly's MIME type and would drop the figures; here each
    becomes a `<div>`, and plotly.js is put into the page once. Formulas become MathML,
    which browsers set by themselves; one that cannot be converted stays as TeX.
    """
    exporter = _exporter()(raw_template=PAGE)
    body, _ = exporter.from_notebook_node(
        nbformat.from_dict(notebook), {"metadata": {"name": title}}
    )
    return str(body)


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
def _exporter() -> Any:
    """The exporter's class; nbconvert takes a while to import."""
    import plotly.io
    from jinja2 import pass_context
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
    from nbconvert.preprocessors import Preprocessor

    class LiveFigures(Preprocessor):  # type: ignore[misc]
        """Plotly's MIME bundles as HTML; code that its notebook folds away is left out."""

        first = True

        def preprocess_cell(self, cell: Any, resources: Any, index: int) -> tuple[Any, Any]:
            if cell["metadata"].get("jupyter", {}).get("source_hidden"):
                cell["metadata"]["transient"] = {"remove_source": True}
            for output in cell.get("outputs", []):
                figure = output.get("data", {}).pop("application/vnd.plotly.v1+json", None)
                if figure is not None:
                    output["data"]["text/html"] = plotly.io.to_html(
                        {"data": figure["data"], "layout": figure["layout"]},
                        config={**figure.get("config", {}), "responsive": True},
                        include_plotlyjs=self.first,
                        full_html=False,
                        validate=False,
                    )
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

    return OfflinePage
