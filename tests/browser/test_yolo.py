"""The notebook on a pre-trained YOLO: its panels in a real browser."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from tests.browser.pages import Notebook, Panel, eventually
from tests.browser.test_series import SETTLED

NAME = "08_pretrained_yolo"


@pytest.fixture
def notebook(ran: Callable[[str], Notebook]) -> Iterator[Notebook]:
    notebook = ran(NAME)
    yield notebook
    problems, notebook.problems = notebook.problems, []
    assert not problems, "\n".join(problems)


def bring(panel: Panel) -> None:
    """Scroll to a panel, and wait until what is drawn on the way no longer moves it."""
    for cell in panel.page.locator(".jp-Notebook .jp-Cell").all():
        cell.scroll_into_view_if_needed()
    eventually(panel.page, lambda: panel.page.evaluate(SETTLED), "all pictures are drawn")

    def stands() -> bool:
        panel.show()
        panel.page.wait_for_timeout(1000)
        box = panel.root.bounding_box()
        return bool(box) and 0 < box["y"] < 200

    eventually(panel.page, stands, "the panel stands still")


def said(panel: Panel, pattern: str) -> str:
    """Wait until one of the panel's lines matches, and return that line."""

    def find() -> str:
        lines = panel.root.locator(".widget-html").all_inner_texts()
        return next((line for line in lines if re.search(pattern, line)), "")

    return eventually(panel.page, find, pattern)


def found(panel: Panel) -> list[int]:
    """How many boxes each image's title tells of."""
    titles = panel.root.locator(".annotation-text").all_text_contents()
    counts = [re.search(r": (nothing|\d+) found", title) for title in titles]
    return [0 if m[1] == "nothing" else int(m[1]) for m in counts if m]


def test_a_dragged_amount_breaks_it_and_undo_mends_every_bit(notebook: Notebook):
    panel = notebook.panel("Undo")
    bring(panel)
    before = panel.readout("amount")
    panel.drag("amount", 60)
    amount = panel.readout("amount")
    assert amount != before
    # On a slow machine there is time to measure what the slider passes, too.
    line = said(panel, rf"noise {float(amount):g} .*mAP50 .* → .* s$")
    whole, broken = map(float, re.findall(r"0\.\d+(?= →| on)", line))
    assert broken < 0.8 * whole
    panel.press("Undo")
    line = said(panel, "Whole: all 708 tensors are bit for bit what they were")
    assert f"mAP50 {whole:.3f}" in line
    eventually(panel.page, lambda: panel.readout("amount") == "0.00", "the slider is back")
    eventually(panel.page, lambda: len(set(found(panel))) == 1, "both images show the same")


def test_every_kind_of_damage_can_be_chosen(notebook: Notebook):
    panel = notebook.panel("Undo")
    bring(panel)
    for kind, formula in (("zero channels", "w[channel] = 0"), ("prune", "|w| is smallest")):
        panel.field("damage").select_option(kind)
        said(panel, re.escape(formula))
        said(panel, "Whole: all 708 tensors")
    assert panel.root.get_by_label("channel", exact=True).count() == 0


def test_a_photograph_of_ones_own_is_uploaded_and_searched(notebook: Notebook):
    page = notebook.page
    button = page.get_by_role("button", name=re.compile("Your own")).first
    panel = Panel(page, page.locator(".jp-OutputArea").filter(has=button).first)
    bring(panel)
    picture = np.full((300, 400, 3), 90, np.uint8)
    picture[80:220, 120:280] = (240, 200, 40)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")

    def upload(name: str, content: bytes) -> None:
        with page.expect_file_chooser() as chooser:
            button.click()
        chooser.value.set_files([{"name": name, "mimeType": "image/png", "buffer": content}])

    upload("square.png", file.getvalue())
    said(panel, "square.png, 400 × 300 pixels, seen at 320 pixels")
    eventually(page, lambda: panel.field("image").input_value(), "the image is chosen")
    upload("words.png", b"no image at all")
    alert = panel.root.get_by_role("alert")
    eventually(page, alert.count, "an explanation")
    assert "words.png" in alert.inner_text()
    said(panel, "square.png, 400 × 300 pixels")
