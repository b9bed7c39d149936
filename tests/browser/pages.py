"""What a person sees and does in JupyterLab, as methods: a notebook, a panel, a figure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

PATIENCE = 60  # seconds; the machine may be shared
STATUS = re.compile(r"step [\d,]+ of|^\s*(ready|preparing|failed)\b")
PROMPTS = "[...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')]"

# Dialogs and toasts that come up at any time, however short they stay.
WATCH = """
new MutationObserver((changes) => {
  const kinds = ".jp-Dialog, .Toastify__toast, dialog[open]";
  for (const node of changes.flatMap((change) => [...change.addedNodes])) {
    const found = node.matches?.(kinds) ? node : node.querySelector?.(kinds);
    if (found) console.error("a dialog opened: " + found.textContent);
  }
}).observe(document, { childList: true, subtree: true });
"""
NUMBERS = """
const numbers = (v) => v && typeof v === "object"
  ? Array.isArray(v) || ArrayBuffer.isView(v) ? Array.from(v, numbers) : undefined
  : v;
"""


def eventually(page: Page, check: Callable[[], Any], what: str) -> Any:
    """Wait until `check` gives something true, and return it."""
    for _ in range(PATIENCE * 10):
        if found := check():
            return found
        page.wait_for_timeout(100)
    raise AssertionError(f"never came true: {what}")


class Notebook:
    """A notebook open in JupyterLab."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.set_default_timeout(PATIENCE * 1000)
        page.add_init_script(WATCH)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text} {message.location}")

    def _failed(self, request: Any) -> None:
        if "ERR_ABORTED" not in str(request.failure):  # what leaving a page cuts off
            self.problems.append(f"request failed: {request.url} {request.failure}")

    def _answered(self, response: Any) -> None:
        if response.status >= 400:
            self.problems.append(f"answer {response.status}: {response.url}")

    def open(self, url: str) -> None:
        """Go to a notebook and wait for its kernel, as a person does who reads first."""
        self.page.goto(url)
        self.wait_for_kernel()

    def wait_for_kernel(self) -> None:
        self.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text(
            "Python 3 (ipykernel) | Idle", timeout=PATIENCE * 1000
        )

    def menu(self, *names: str) -> None:
        for name in names:
            self.page.get_by_role("menuitem", name=re.compile(rf"^\W*{name}\b")).first.click()

    def run_all(self) -> None:
        """Run all cells and wait until the last one has run."""
        self.menu("Run", "Run All Cells")
        self.page.wait_for_function(
            f"{PROMPTS}.every((p) => /\\[\\d+\\]/.test(p.textContent))",
            timeout=4 * PATIENCE * 1000,  # the longest takes half a minute where nothing else runs
        )
        assert self.page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0

    def panel(self, button: str, nth: int = 0) -> Panel:
        """The nth panel that has such a button."""
        has = self.page.get_by_role("button", name=named(button))
        return Panel(self.page, self.page.locator(".jp-OutputArea").filter(has=has).nth(nth))


def named(button: str) -> re.Pattern[str]:
    """A button's name: its icon counts as a character of it."""
    return re.compile(rf"^\W*{re.escape(button)}$")


class Panel:
    """One of labkit's panels in a cell's output."""

    def __init__(self, page: Page, root: Locator) -> None:
        self.page = page
        self.root = root

    def show(self) -> None:
        self.root.evaluate("(el) => el.scrollIntoView({ block: 'start' })")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=named(name))

    def press(self, name: str) -> None:
        self.button(name).click()

    def field(self, label: str) -> Locator:
        return self.root.get_by_label(label, exact=True)

    def unfold(self, title: str) -> None:
        self.root.get_by_text(title, exact=True).click()

    def enter(self, label: str, text: str) -> None:
        self.field(label).fill(text)
        self.field(label).press("Enter")

    def slider(self, label: str) -> Locator:
        return self.row(label).get_by_role("slider")

    def row(self, label: str) -> Locator:
        words = self.page.get_by_text(label, exact=True)
        return self.root.locator(".widget-inline-hbox").filter(has=words)

    def readout(self, label: str) -> str:
        return self.row(label).locator(".widget-readout").inner_text().strip()

    def drag(self, label: str, pixels: float) -> None:
        """Take a slider's handle with the mouse and move it."""
        box = self.slider(label).bounding_box()
        assert box
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + pixels, y, steps=6)
        self.page.mouse.up()

    @property
    def status(self) -> str:
        return self.root.locator(".widget-html").filter(has_text=STATUS).first.inner_text()

    @property
    def state(self) -> str:
        return self.status.split()[0]

    @property
    def step(self) -> int:
        found = re.search(r"step ([\d,]+)", self.status)
        assert found, self.status
        return int(found[1].replace(",", ""))

    @property
    def accuracy(self) -> float:
        found = re.search(r"accuracy ([\d.]+)%", self.status)
        assert found, self.status
        return float(found[1])

    def until(self, check: Callable[[Panel], Any], what: str) -> None:
        try:
            eventually(self.page, lambda: check(self), what)
        except AssertionError as error:
            shown = self.root.get_by_role("alert").all_inner_texts()
            said = f"{error}; the status is {self.status!r}, and shown is {shown}"
            raise AssertionError(said) from None

    def until_state(self, state: str) -> None:
        self.until(lambda panel: panel.state == state, f"state {state}")

    def alert(self) -> str:
        """The message that is shown; waits for one."""
        alert = self.root.get_by_role("alert").first
        alert.wait_for()
        return alert.inner_text()

    def figure(self, label: str) -> Figure:
        """A live figure, by what a screen reader calls it."""
        return Figure(self.page, self.root.get_by_role("img", name=label).first)


class Figure:
    """A plotly figure, live or still."""

    def __init__(self, page: Page, root: Locator) -> None:
        self.page = page
        self.root = root

    def wait_until_still(self) -> None:
        self.root.wait_for()
        eventually(
            self.page,
            lambda: self.root.evaluate("(el) => el.dataset.kind") == "settle",
            "plotly has drawn",
        )

    def data(self, key: str) -> list[Any]:
        """`key` of every trace, as plain lists."""
        return self.root.evaluate(
            "(el, key) => {"
            + NUMBERS
            + "return el.querySelector('.js-plotly-plot').data.map((t) => numbers(t[key]))}",
            key,
        )

    def words(self) -> list[str]:
        """All words of the figure."""
        return self.root.locator("text").all_text_contents()

    def curve(self, name: str, key: str = "y") -> list[float]:
        """The numbers of the first trace of that name, once the figure stands still."""
        self.wait_until_still()
        return self.data(key)[self.data("name").index(name)]

    def picture(self) -> bytes:
        return self.root.screenshot()

    def hover(self, x: float = 0.5, y: float = 0.5) -> str:
        """Point at the plot area and read what comes up."""
        area = self.root.locator(".plotly .nsewdrag").first
        box = area.bounding_box()
        assert box
        self.page.mouse.move(box["x"] + x * box["width"] - 3, box["y"] + y * box["height"] - 3)
        self.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        label = self.root.locator(".hoverlayer .hovertext").first
        label.wait_for()
        return str(label.text_content())
