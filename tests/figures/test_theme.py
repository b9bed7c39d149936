from __future__ import annotations

import re

import pytest

from labkit.figures import theme

PAGES = ("#ffffff", "#111111")


def luminance(color):
    """WCAG 2.2, relative luminance."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_on_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("page", PAGES)
def test_text_reads_on_both_pages(page):
    assert contrast(theme.TEXT, page) >= 4.2


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "color", [*theme.CATEGORIES[:4], theme.POSITIVE, theme.NEGATIVE, theme.INK, *theme.depth(7)]
)
def test_lines_are_seen_on_both_pages(color, page):
    assert contrast(color, page) >= 3.0  # WCAG 2.2, 1.4.11: graphical objects


def on(color, page):
    red, green, blue, alpha = map(float, re.findall(r"[\d.]+", color))
    back = [int(page[i : i + 2], 16) for i in (1, 3, 5)]
    mixed = [
        round(alpha * c + (1 - alpha) * b) for c, b in zip((red, green, blue), back, strict=True)
    ]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


@pytest.mark.parametrize("page", PAGES)
def test_colour_scales_leave_the_page_steadily(page):
    away = [contrast(on(color, page), page) for _, color in theme.DIVERGING]
    assert away[0] > away[1] > away[2] < away[3] < away[4]
    rising = [contrast(on(color, page), page) for _, color in theme.SEQUENTIAL]
    assert rising == sorted(rising)


def test_the_template_carries_what_a_notebook_theme_may_override():
    layout = theme.layout("x")
    assert layout["template"]["layout"]["font"]["color"] == theme.TEXT
    assert "font" not in layout
    assert layout["template"]["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)"


def test_depth_begins_blue_and_ends_vermillion():
    colors = theme.depth(5)
    assert [colors[0], colors[-1]] == [theme.BLUE.lower(), theme.VERMILLION.lower()]
    assert len(set(colors)) == 5
    assert theme.depth(1) == [theme.BLUE.lower()]
