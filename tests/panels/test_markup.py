from __future__ import annotations

import pytest

from labkit.core.errors import LabError
from labkit.panels.markup import alert, problem, sentences, write


@pytest.mark.parametrize("text", ["<b> & co", ""])
def test_an_alert_is_words_and_no_html(text):
    shown = alert(text)
    assert ("role='alert'" in shown) is bool(text)
    assert "<b>" not in shown


def test_lines_stay_lines():
    assert "one<br>two" in alert("one\ntwo")
    assert "a &lt; b<br>c" in sentences(["a < b", "c"])


def test_errors_in_words():
    assert problem(LabError("give one")) == "give one"
    assert problem(ZeroDivisionError("division by zero")) == "ZeroDivisionError: division by zero"


def test_the_same_words_are_not_sent_again():
    class Widget:
        sent = 0

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "value":
                type(self).sent += 1

    one = Widget()
    one.value = ""
    for words in ("a", "a", "b"):
        write(one, words)
    assert (one.value, Widget.sent) == ("b", 3)
