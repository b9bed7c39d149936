"""The parts of an HTML page that tests look at."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """A page's scripts, title, figures and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.scripts: list[str] = []
        self.figures = 0
        self.title = self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self._inside = tag
        if tag == "script":
            self.scripts.append("")
            self.sources += [given["src"]] if "src" in given else []
        if tag in ("link", "img", "iframe") and (source := given.get("href") or given.get("src")):
            self.sources.append(source)
        self.figures += "plotly-graph-div" in given.get("class", "").split()

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "title":
            self.title += data
        elif self._inside != "style":
            self.text += data
