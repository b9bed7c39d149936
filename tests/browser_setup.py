"""Find a Chromium or Chrome for the browser tests, or install one.

`python tests/browser_setup.py` prints the one that will be used and installs one if there
is none; `find` is what tests/browser uses. Only a browser that starts counts as found:
Ubuntu's `chromium-browser` may be a stub, and Playwright's may lack system libraries.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

# A container has no user namespaces, GPU or updates, and the tests have no network.
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
PLAYWRIGHTS_OWN = (
    "from playwright.sync_api import sync_playwright\n"
    "with sync_playwright() as p: print(p.chromium.executable_path)"
)


def find() -> str | None:
    """The browser to use: LABKIT_BROWSER, one on PATH, or Playwright's own; None if none."""
    return next(filter(_starts, _candidates()), None)


def required() -> bool:
    """Whether a missing browser is a failure (in CI) rather than a skip."""
    return bool(os.environ.get("CI") or os.environ.get("LABKIT_REQUIRE_BROWSER"))


def install() -> None:
    """Install Playwright's Chromium; else Debian's, where this is root."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    # Where its host cannot be reached Playwright tries several mirrors for minutes each.
    patience = {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "10000"}
    _run([sys.executable, "-m", "playwright", "install", "chromium"], 240, patience)
    if find() is None and root and shutil.which("apt-get"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        _run(["apt-get", "update", "-qq"], 120, quiet)
        packages = ["--no-install-recommends", "chromium"]
        _run(["apt-get", "install", "-y", "-qq", *packages], 300, quiet)


def main() -> int:
    browser = find()
    if browser is None:
        print("browser: none found, installing one", flush=True)
        install()
        browser = find()
    if browser:
        print(f"browser: {browser}")
        return 0
    print("browser: none; install chromium or google-chrome, or set LABKIT_BROWSER")
    return 1 if required() else 0


def _candidates() -> Iterator[str]:
    if chosen := os.environ.get("LABKIT_BROWSER"):
        yield chosen
        return
    yield from filter(None, map(shutil.which, NAMES))
    own = subprocess.run(
        [sys.executable, "-c", PLAYWRIGHTS_OWN], capture_output=True, text=True, check=False
    )
    if own.returncode == 0:
        yield own.stdout.strip()


def _starts(browser: str) -> bool:
    try:
        command = [browser, "--version"]
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(command: list[str], limit: float, env: dict[str, str]) -> None:
    """Run for at most `limit` seconds, children included. A failure is not reported."""
    process = subprocess.Popen(command, env={**os.environ, **env}, start_new_session=True)
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        print(f"browser: gave up on `{' '.join(command)}` after {limit:.0f} s", flush=True)
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
