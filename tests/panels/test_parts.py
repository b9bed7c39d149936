from __future__ import annotations

import ipywidgets as widgets

from labkit.panels import parts


def test_a_button_is_as_wide_as_its_words():
    button = parts.button("Go", "play", "begin", style="primary")
    assert (button.description, button.icon, button.tooltip) == ("Go", "play", "begin")
    assert (button.button_style, button.layout.width) == ("primary", "auto")


def test_a_menu_may_be_filled_later():
    assert parts.menu("view", None, None).options == ()
    menu = parts.menu("view", [("one", 1), ("two", 2)], 2, "which", label="50px", width="90px")
    assert (menu.value, menu.label, menu.tooltip) == (2, "two", "which")
    assert (menu.style.description_width, menu.layout.width) == ("50px", "90px")


def test_a_slider_has_its_limits():
    slider = parts.slider("x", 0.5, (-1.0, 2.0), 0.25, "where", label="40px")
    assert (slider.value, slider.min, slider.max, slider.step) == (0.5, -1.0, 2.0, 0.25)


def test_a_line_counts_when_it_is_left():
    assert parts.line("values", "1, 2", "numbers", label="40px").continuous_update is False


def test_controls_stand_beside_pictures():
    one, two, picture = widgets.HTML(), widgets.HTML(), widgets.HTML()
    box = parts.beside([one, two], [picture], width=300)
    controls, pictures = box.children
    assert (controls.children, pictures.children) == ((one, two), (picture,))
    assert box.layout.flex_flow == "row wrap"
    assert (controls.layout.min_width, controls.layout.max_width) == ("300px", "360px")


def test_a_column_of_controls_of_its_own_is_taken_as_it_is():
    editor = widgets.VBox()
    assert parts.beside(editor, []).children[0] is editor


def test_pictures_below_share_the_width():
    control, words, left, right = (widgets.HTML() for _ in range(4))
    box = parts.above([control], [words], [left, right])
    assert box.children[:2] == (control, words)
    halves = box.children[2]
    assert [half.children for half in halves.children] == [(left,), (right,)]
    assert len({half.layout.flex for half in halves.children}) == 1
