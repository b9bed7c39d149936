from __future__ import annotations

from html.parser import HTMLParser

import pytest

from labkit.core.table import Table, show

ROWS = [{"name": "a", "value": 0.123456}, {"name": "<b>", "more": True}]


class Cells(HTMLParser):
    """The rows of a table, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.rows[-1][-1] += data


def test_columns_are_all_names_in_the_order_they_appear():
    table = Table(iter(ROWS))
    assert table.columns == ["name", "value", "more"]
    assert len(table) == 2


def test_text_is_aligned_and_has_no_blanks_at_the_end():
    assert repr(Table(ROWS)).split("\n") == [
        "name  value   more",
        "a     0.1235",
        "<b>           yes",
    ]


def test_a_page_shows_the_same_cells_and_no_markup_of_theirs():
    reader = Cells()
    reader.feed(Table(ROWS)._repr_html_())
    assert reader.rows == [
        ["name", "value", "more"],
        ["a", "0.1235", ""],
        ["<b>", "", "yes"],
    ]


def test_rows_are_copies():
    row = {"name": "a"}
    table = Table([row])
    row["name"] = "b"
    assert table.rows == [{"name": "a"}]


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "yes"), (False, "no"), (3, "3"), (0.00012345, "0.0001234"), (1e9, "1e+09"), ("x", "x")],
)
def test_values_as_a_reader_wants_them(value, text):
    assert show(value) == text


def test_no_rows():
    assert (len(Table([])), repr(Table([]))) == (0, "")
