from __future__ import annotations

import html
import re
import subprocess
import sys

import pytest

import labkit
from labkit.core.errors import LabError
from labkit.workshop.question import Question

ASKED = {
    "text": "Is 2 < 3 & 3 > 2?",
    "choices": ["yes", "no, 2 > 3", "who knows"],
    "answer": "yes",
    "why": "Because <two> comes first.",
}


def words(text: str) -> str:
    return html.unescape(re.sub("<style>.*?</style>|<[^>]*>", "", text, flags=re.DOTALL))


def marks(question: Question) -> dict[str, tuple[str, ...]]:
    return {c: b._dom_classes for c, b in question.buttons.items() if b._dom_classes}


def test_nothing_is_chosen_or_given_away_at_first():
    question = Question(**ASKED)
    assert (question.chosen, question.correct) == (None, None)
    assert [button.description for button in question.buttons.values()] == ASKED["choices"]
    assert marks(question) == {}
    assert ASKED["why"] not in words(question.result.value)
    assert "yes" not in words(question.result.value)


def test_a_right_choice_is_called_right_and_explained():
    question = Question(**ASKED)
    question.buttons["yes"].click()
    assert (question.chosen, question.correct) == ("yes", True)
    assert words(question.result.value) == "Right: yes. Because <two> comes first."
    assert marks(question) == {"yes": ("labkit-right",)}


def test_a_wrong_choice_names_the_right_one_and_another_may_be_tried():
    question = Question(**ASKED)
    question.buttons["no, 2 > 3"].click()
    assert (question.chosen, question.correct) == ("no, 2 > 3", False)
    assert words(question.result.value) == (
        "You said: no, 2 > 3. The answer is: yes. Because <two> comes first."
    )
    assert marks(question) == {"no, 2 > 3": ("labkit-wrong",)}
    question.choose("yes")
    assert question.correct is True
    assert marks(question) == {"yes": ("labkit-right",)}


def test_texts_are_texts_and_no_markup():
    question = Question(**{**ASKED, "text": "<script>alert(1)</script>?"}, interactive=False)
    assert "<script>" not in question._repr_html_()
    assert "<script>alert(1)</script>?" in words(question._repr_html_())


def test_without_a_person_it_shows_question_choices_answer_and_reason(monkeypatch):
    shown: list[dict[str, str]] = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    question = Question(**ASKED, interactive=False)
    question._ipython_display_()
    assert not hasattr(question, "widget")
    assert set(shown[0]) == {"text/html", "text/plain"}
    for text in (words(shown[0]["text/html"]), shown[0]["text/plain"]):
        for part in (ASKED["text"], *ASKED["choices"], "Answer: yes.", ASKED["why"]):
            assert part in text
    question.choose("who knows")
    assert question.correct is False


def test_with_a_person_it_shows_its_widget(monkeypatch):
    shown: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: shown.extend(objects))
    question = Question(**ASKED)
    question._ipython_display_()
    assert shown == [question.widget]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"answer": "Yes"}, ["answer='Yes'", "did you mean 'yes'", "'who knows'"]),
        ({"choices": ["yes"]}, ["two or more"]),
        ({"choices": "yes"}, ["two or more"]),
        ({"choices": ["yes", "no", "yes"]}, ["twice"]),
    ],
    ids=str,
)
def test_a_question_that_cannot_be_asked_is_refused(change, parts):
    with pytest.raises(LabError) as refused:
        Question(**{**ASKED, **change})
    for part in parts:
        assert part in str(refused.value)


def test_an_answer_that_is_no_choice_is_refused_and_forgotten():
    question = Question(**ASKED)
    with pytest.raises(LabError, match="choice='maybe' is not among the choices"):
        question.choose("maybe")
    assert question.chosen is None


def test_without_a_person_no_widget_library_is_loaded():
    code = (
        "import sys, labkit\n"
        "q = labkit.Question('a?', choices=['b', 'c'], answer='b', why='d', interactive=False)\n"
        "q._repr_html_(); print('ipywidgets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert labkit.Question is Question
