"""Live training and sliders, in a real JupyterLab in a real Chromium.

Method, live: `TrainPanel` on the spiral (8-8 tanh network, batch 10, SGD, as TensorFlow
Playground's) trains in turn without painting and with it, several rounds; steps are
counted in the kernel, frames by the page's own `labkit:frame` events, of the loss curve
and of the decision boundary together. Bare speed is the same session with no painter.

Method, Playground: a copy built from its source is opened in the same browser, with the
same network and batch, right after; its steps are its epochs times batches per epoch.
It is not part of this repository: name the folder of a build in the environment variable
`PLAYGROUND` to have it measured.

Method, slider: a knob of `NeuronPanel` is moved by the keyboard, and the clock stops at
the frame that shows it. The peer is the same pair of figures in plotly's FigureWidget,
stopped at plotly's own `plotly_afterplot`.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from benchmarks.browser import chromium, free_port, notebook, run_all, server
from benchmarks.measure import Row, percentile

ROUNDS, SECONDS = 4, 5.0

TRAIN = """
import json, threading, time
import labkit
recipe = labkit.Recipe(task="spiral", hidden=(8, 8), activation="tanh", batch_size=10,
                       optimizer="sgd", lr=0.03, steps=100_000)
panel = labkit.TrainPanel(recipe)
panel
"""
DRIVE = f"""
def phase(start):
    start()
    time.sleep(1.0)
    begin, steps = time.time(), panel.session.steps_done
    time.sleep({SECONDS})
    end, done = time.time(), panel.session.steps_done
    panel.buttons["Pause"].click()
    panel.session.rewind()
    time.sleep(0.5)
    return {{"begin": begin, "end": end, "speed": (done - steps) / (end - begin)}}

def drive():
    panel.session.step(20)
    rounds = []
    for _ in range({ROUNDS}):
        bare = phase(panel.session.play)
        live = phase(panel.buttons["Train"].click)
        rounds.append({{"bare": bare, "live": live}})
    with open("live.json", "w") as file:
        json.dump(rounds, file)

threading.Timer(3.0, drive).start()
"""
KNOBS = """
import labkit
knobs = labkit.NeuronPanel()
knobs
"""
PEER = """
import ipywidgets, plotly.graph_objects as go
from labkit.figures import neuron_line, neuron_surface
neuron = labkit.Neuron()
points, surface = neuron.points(), neuron.surface()
line = go.FigureWidget(neuron_line(*points, 0.0, 0.0, 1.0))
chart = go.FigureWidget(neuron_surface(*surface, 0.0, 0.0, knobs.path))
slider = ipywidgets.FloatSlider(0, min=-3, max=3, step=0.05, description="peer")
def turn(change):
    weight = change["new"]
    spec = neuron_line.spec(*points, weight, 0.0, 1.0)
    with line.batch_update():
        line.data[0].y, line.data[2].y = spec["data"][0]["y"], spec["data"][2]["y"]
    with chart.batch_update():
        chart.data[2].x = [weight]
slider.observe(turn, "value")
ipywidgets.VBox([slider, line, chart])
"""
COUNT = """
window.frames_ = [];
document.addEventListener('labkit:frame', e => frames_.push(Date.now()));
"""
PRESS = """async ([label, peer]) => {
  const handle = [...document.querySelectorAll('.widget-slider')]
    .find(s => s.querySelector('label').textContent.trim() === label)
    .querySelector('.noUi-handle');
  const waits = [];
  const plots = [...document.querySelectorAll('.js-plotly-plot')].slice(-2);
  for (let i = 0; i < 60; i++) {
    await new Promise(r => setTimeout(r, 120));
    waits.push(await new Promise(done => {
      const began = performance.now();
      const finish = () => requestAnimationFrame(() => done(performance.now() - began));
      if (peer) plots[0].once('plotly_afterplot', finish);
      else document.addEventListener('labkit:frame', finish, {once: true});
      const key = i % 20 < 10 ? 'ArrowRight' : 'ArrowLeft';
      handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
      setTimeout(() => done(2000), 2000);
    }));
  }
  return waits;
}"""


def lab(folder: Path) -> Any:
    """`labkit lab` on a folder."""
    code = "from labkit.cli import main; main()"
    options = ["lab", str(folder), "--no-browser", "--port", str(free_port())]
    return server([sys.executable, "-c", code, *options])


def measure_live(page: Page, url: str, folder: Path) -> list[dict[str, Any]]:
    """Speeds of each round, with the frames that were painted in its live phase."""
    page.add_init_script(COUNT)
    notebook(folder / "live.ipynb", [TRAIN, DRIVE])
    run_all(page, url, "live.ipynb")
    page.wait_for_selector(".labkit-figure >> nth=1", timeout=60_000)
    page.evaluate("document.querySelector('.labkit-figure').scrollIntoView()")
    result = folder / "live.json"
    for _ in range(1200):
        if result.exists():
            break
        page.wait_for_timeout(200)
    rounds: list[dict[str, Any]] = json.loads(result.read_text())
    frames = page.evaluate("frames_")
    for item in rounds:
        begin, end = 1e3 * item["live"]["begin"], 1e3 * item["live"]["end"]
        painted = [t for t in frames if begin <= t <= end]
        # Two figures a repaint: a frame is both of them.
        item["frames"] = len(painted) / 2 / (end - begin) * 1e3
    return rounds


def measure_sliders(page: Page, url: str, folder: Path) -> tuple[list[float], list[float]]:
    """Milliseconds from a key to the picture: labkit's, and FigureWidget's."""
    notebook(folder / "sliders.ipynb", [KNOBS, PEER])
    run_all(page, url, "sliders.ipynb")
    page.wait_for_function(
        "document.querySelectorAll('.js-plotly-plot').length >= 4", timeout=60_000
    )
    page.wait_for_timeout(2000)
    ours: list[float] = page.evaluate(PRESS, ["weight", False])
    peer: list[float] = page.evaluate(PRESS, ["peer", True])
    return ours, peer


def measure_playground(folder: Path) -> tuple[float, float]:
    """Steps and frames per second of a built TensorFlow Playground."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        with chromium() as page:
            page.goto(
                f"http://127.0.0.1:{site.server_port}/#activation=tanh&batchSize=10"
                "&dataset=spiral&learningRate=0.03&networkShape=8,8&percTrainData=50&seed=0.5"
            )
            page.click("#play-pause-button")
            page.wait_for_timeout(2000)
            epochs = "+document.querySelector('#iter-number').textContent.replace(/,/g, '')"
            began, before = time.perf_counter(), page.evaluate(epochs)
            page.wait_for_timeout(8000)
            rate = (page.evaluate(epochs) - before) / (time.perf_counter() - began)
        site.shutdown()
    return 25 * rate, rate  # 250 points in batches of 10; one epoch a frame


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def rows() -> list[Row]:
    """Frames, speed kept, speed beside Playground, slider latency."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with lab(folder) as url, chromium() as page:
            rounds = measure_live(page, url, folder)
        with lab(folder) as url, chromium() as page:
            ours, peer = measure_sliders(page, url, folder)
    bare = statistics.median(item["bare"]["speed"] for item in rounds)
    live = statistics.median(item["live"]["speed"] for item in rounds)
    kept = statistics.median(item["live"]["speed"] / item["bare"]["speed"] for item in rounds)
    frames = statistics.median(item["frames"] for item in rounds)
    p95, peer95 = percentile(ours, 0.95), percentile(peer, 0.95)
    found = [
        Row(
            "live training / the same session unpainted",
            f"{live:,.0f} steps/s",
            f"{bare:,.0f} steps/s",
            kept,
            "at least 0.80",
            kept >= 0.8,
        ),
        Row(
            "frames painted per second while it trains",
            f"{frames:.1f}",
            "",
            None,
            "at least 20",
            frames >= 20,
        ),
        Row(
            "slider to picture, 95th percentile / FigureWidget",
            f"{p95:.0f} ms",
            f"{peer95:.0f} ms",
            p95 / peer95,
            "at most 200 ms",
            p95 <= 200,
        ),
    ]
    if build := os.environ.get("PLAYGROUND"):
        steps, fps = measure_playground(Path(build))
        found.append(
            Row(
                "live steps per second / TensorFlow Playground",
                f"{live:,.0f} steps/s",
                f"{steps:,.0f} steps/s, {fps:.0f} frames/s",
                live / steps,
                "more than 1, and 1,200 steps/s",
                live > steps and live >= 1200,
            )
        )
    return found
