from __future__ import annotations

import pytest

from labkit.panels.findings_box import NONE, FindingsBox, PresetSelector
from labkit.recipe.recipe import Recipe
from labkit.training.findings import Finding
from labkit.workshop.presets import PRESETS

LOW = Finding("lr_too_low", "It <hardly> moves.", "Try more.", {}, {"lr": 0.5})
ODD = Finding("odd", "Something.", "Think.", {}, {})


def test_it_takes_no_room_while_all_is_well():
    box = FindingsBox(print)
    box.show([])
    assert box.children == ()


@pytest.mark.parametrize(("found", "buttons"), [([LOW], 1), ([ODD], 0), ([ODD, LOW], 1)])
def test_findings_are_words_and_the_first_remedy_a_button(found, buttons):
    applied: list[Finding] = []
    box = FindingsBox(applied.append)
    box.show(found)
    assert box.children == (box.words, box.button)[: 1 + buttons]
    assert box.words.value.count("role='alert'") == len(found)
    assert "<hardly>" not in box.words.value
    box.button.click()
    assert applied == [LOW] * buttons
    box.show([])
    assert box.children == ()
    box.button.click()
    assert applied == [LOW] * buttons, "an old remedy is applied"


def test_the_button_says_what_it_would_change():
    box = FindingsBox(print)
    box.show([LOW])
    assert box.button.tooltip == "lr=0.5"


def test_a_chosen_preset_shows_its_question_and_at_the_end_where_to_look():
    chosen = []
    selector = PresetSelector([PRESETS["frozen"]], chosen.append, Recipe())
    assert (selector.chosen, selector.menu.value) == (None, NONE)
    selector.menu.value = "frozen"
    assert chosen == [PRESETS["frozen"]]
    selector.tell(ended=False)
    question = selector.words.value
    selector.tell(ended=True)
    assert selector.words.value.startswith(question)
    assert len(selector.words.value) > len(question)
    selector.clear()
    selector.tell(ended=True)
    assert (selector.chosen, selector.words.value, len(chosen)) == (None, "", 1)


def test_the_recipe_in_force_is_chosen_already_and_no_presets_take_no_room():
    assert PresetSelector([PRESETS["frozen"]], print, PRESETS["frozen"].recipe).chosen is not None
    assert PresetSelector([], print, Recipe()).children == ()
