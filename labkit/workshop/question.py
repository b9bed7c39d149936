"""Predict first: a question before the run, with its answer after a choice."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit.core.errors import LabError, misnamed

if TYPE_CHECKING:
    import ipywidgets

# Colours of the notebook's theme, with some for pages that have none.
_BAR = "border-left:3px solid var(--jp-brand-color1,#1976d2);padding:2px 0 2px 14px;margin:4px 0;"
_TEXT = (
    "max-width:58em;line-height:1.5;"
    "font-family:var(--jp-content-font-family,system-ui,sans-serif);"
    "font-size:var(--jp-content-font-size1,14px)"
)
_RIGHT = "var(--jp-success-color1,#2e7d32)"
_WRONG = "var(--jp-warn-color0,#b35900)"
_STYLE = """<style>
.labkit-question {
  border-left: 3px solid var(--jp-brand-color1,#1976d2); padding: 0 0 0 14px; margin: 4px 0;
}
.labkit-question .jupyter-button {
  height: auto; min-height: 30px; width: auto; max-width: 40em; margin: 0; padding: 4px 14px;
  white-space: normal; text-align: left; line-height: 1.4; border-radius: 15px;
  border: 1px solid var(--jp-border-color1,#bdbdbd); overflow-wrap: anywhere;
}
.labkit-question .jupyter-button:focus-visible {
  outline: 2px solid var(--jp-brand-color1,#1976d2); outline-offset: 2px;
}
.labkit-question .labkit-right { border-color: var(--jp-success-color1,#2e7d32); }
.labkit-question .labkit-wrong { border-color: var(--jp-warn-color0,#b35900); }
</style>"""


class Question:
    """A question with choices: choose one, and it shows whether that is right, and why.

    Another choice may be tried. Headless, it shows question, answer and reason.

    Args:
        text: the question, as plain text.
        choices: the possible answers, two or more, all different.
        answer: the right choice.
        why: what makes it right, as plain text.
        interactive: False runs headless: nobody is there to choose.

    Attributes:
        chosen: the last choice, or None.

    Raises:
        LabError: fewer than two choices, one of them twice, or an answer that is none of them.
    """

    def __init__(
        self,
        text: str,
        *,
        choices: Sequence[str],
        answer: str,
        why: str,
        interactive: bool = True,
    ) -> None:
        if isinstance(choices, str) or len(choices) < 2:
            raise LabError(f"choices={choices!r}: give two or more, such as ['up', 'down']")
        if len(set(choices)) < len(choices):
            raise LabError(f"choices={list(choices)!r} holds one of them twice")
        self.text, self.choices, self.answer, self.why = text, tuple(choices), answer, why
        self._check("answer", answer)
        self.interactive = interactive
        self.chosen: str | None = None
        if interactive:
            self._build()

    @property
    def correct(self) -> bool | None:
        """Whether the last choice was right; None before the first."""
        return None if self.chosen is None else self.chosen == self.answer

    def choose(self, choice: str) -> None:
        """Answer the question, as a click on a choice does.

        Raises:
            LabError: it is none of the choices.
        """
        self._check("choice", choice)
        self.chosen = choice
        if self.interactive:
            self._show_verdict()

    def _check(self, what: str, choice: str) -> None:
        if choice not in self.choices:
            problem = f"{what}={choice!r} is not among the choices"
            options = f"Choose from {', '.join(map(repr, self.choices))}."
            raise LabError(misnamed(problem, choice, self.choices, options=options))

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if self.interactive:
            display(self.widget)
        else:
            display({"text/html": self._repr_html_(), "text/plain": repr(self)}, raw=True)

    def __repr__(self) -> str:
        choices = "\n".join(f"  - {choice}" for choice in self.choices)
        return f"{self.text}\n{choices}\nAnswer: {self.answer}. {self.why}"

    def _repr_html_(self) -> str:
        escape = html.escape
        choices = "".join(f"<li>{escape(choice)}</li>" for choice in self.choices)
        return (
            f"<div style='{_BAR}{_TEXT}'><b>{escape(self.text)}</b>"
            f"<ul style='margin:4px 0'>{choices}</ul>"
            f"<b style='color:{_RIGHT}'>Answer: {escape(self.answer)}.</b> {escape(self.why)}</div>"
        )

    def _build(self) -> None:
        import ipywidgets as widgets

        self.buttons = {
            choice: widgets.Button(description=choice, tooltip=f"answer: {choice}")
            for choice in self.choices
        }
        for choice, button in self.buttons.items():
            button.on_click(lambda _button, choice=choice: self.choose(choice))
        self.result = widgets.HTML(layout=widgets.Layout(margin="0"))
        row = widgets.Layout(flex_flow="row wrap", grid_gap="8px", margin="4px 0")
        self.widget: ipywidgets.Widget = widgets.VBox(
            [
                widgets.HTML(f"{_STYLE}<div style='{_TEXT}'><b>{html.escape(self.text)}</b></div>"),
                widgets.HBox(list(self.buttons.values()), layout=row),
                self.result,
            ]
        )
        self.widget.add_class("labkit-question")
        self._show_verdict()

    def _show_verdict(self) -> None:
        """Mark the choice, and show whether it was right; the line exists from the start,
        so that screen readers announce what is written into it later.
        """
        for choice, button in self.buttons.items():
            right = choice == self.answer
            for name in ("labkit-right", "labkit-wrong"):
                button.remove_class(name)
            button.icon = ""
            if choice == self.chosen:
                button.add_class("labkit-right" if right else "labkit-wrong")
                button.icon = "check" if right else "times"
        self.result.value = f"<div role='status' style='{_TEXT}'>{self._verdict()}</div>"

    def _verdict(self) -> str:
        choice, answer, why = (html.escape(t) for t in (self.chosen or "", self.answer, self.why))
        if self.chosen is None:
            return "<span style='opacity:.75'>Choose one; you may change your mind.</span>"
        if self.correct:
            return f"<b style='color:{_RIGHT}'>Right: {choice}.</b> {why}"
        return f"You said: {choice}. <b style='color:{_WRONG}'>The answer is: {answer}.</b> {why}"
