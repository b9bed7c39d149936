// Parallel coordinates, on a canvas: plotly's need WebGL, which takes seconds where there is
// no graphics card, and they name no run.

const BOX = { top: 44, bottom: 18, left: 96, right: 84, height: 380 };
const NEAR = 7; // pixels from a line or an axis that count as on it
const MOST_AXES = 10;

function setUpCoordinates() {
  const problem = !varied.length
    ? "No parallel coordinates: no parameter differs between the runs."
    : measured.length ? "" : "No parallel coordinates: no run has a number as its result.";
  const options = measured.map((c) => c.name);
  const brushes = new Map(); // by column: from and to, as positions
  let drawing = null;
  setUpChart("coordinates", problem, { value: { label: "result", options, value: firstMeasured() } },
    ({ figure, note, chosen }) => {
      const value = column(chosen.value);
      const shown = [...new Set([...varied.slice(0, MOST_AXES), value])];
      for (const c of brushes.keys()) if (!shown.includes(c)) brushes.delete(c);
      drawing ??= new Coordinates(figure, brushes);
      drawing.show(shown, state.shown);
      const lost = state.shown.length - drawing.lines.length;
      const are = lost === 1 ? "is" : "are";
      note.textContent = "Drag along an axis to keep the runs in that part of it, click it to let go. "
        + "Point at a line to see its run, click it to highlight it."
        + (lost ? ` ${plural(lost, "run")} without ${value.name} ${are} left out.` : "");
    });
}

class Coordinates {
  constructor(figure, brushes) {
    this.brushes = brushes;
    this.base = element("canvas");
    this.above = element("canvas");
    this.tip = element("div", { className: "tip", hidden: true });
    this.above.setAttribute("role", "img");
    figure.classList.add("layers");
    figure.append(this.base, this.above, this.tip);
    this.above.onpointerdown = (event) => this.press(event);
    this.above.onpointermove = (event) => this.move(event);
    this.above.onpointerup = (event) => this.release(event);
    this.above.onpointerleave = () => this.point(null);
    new ResizeObserver(() => this.axes && this.paint()).observe(figure);
  }

  show(shown, runs) {
    const value = shown.at(-1);
    this.axes = shown.map((c) => this.axis(c, runs));
    const at = (run) => this.axes.map((axis) => axis.share(axis.c.values[run]));
    const all = runs.map((run) => ({ run, at: at(run) }));
    this.lines = all.filter(({ at }) => at.every(Number.isFinite));
    const label = `Parallel coordinates of ${this.lines.length} runs, coloured by ${value.name}`;
    this.above.setAttribute("aria-label", label);
    this.paint();
  }

  axis(c, runs) {
    const made = scale(c, runs);
    const [low, high] = range(made.values.map(made.place));
    const share = (place) => (high > low ? (place - low) / (high - low) : 0.5);
    const ticks = made.ticks.map(([place, text]) => [share(place), text]);
    return { ...made, c, ticks, share: (own) => share(made.place(own)) };
  }

  // --- painting

  paint() {
    const ratio = devicePixelRatio || 1;
    this.width = this.base.parentElement.clientWidth;
    for (const canvas of [this.base, this.above]) {
      canvas.width = this.width * ratio;
      canvas.height = BOX.height * ratio;
      canvas.getContext("2d").scale(ratio, ratio);
    }
    const pen = this.base.getContext("2d");
    const inside = this.lines.filter((line) => this.fits(line));
    const alpha = Math.max(0.1, Math.min(0.9, 7 / Math.sqrt(this.lines.length + 1)));
    if (inside.length < this.lines.length) {
      for (const line of this.lines) this.stroke(pen, line, PALE, 1, 0.5);
    }
    for (const line of inside) this.stroke(pen, line, rampAt(line.at.at(-1)), 1.3, alpha);
    this.axes.forEach((axis, i) => this.frame(pen, axis, i));
    this.mark(null);
  }

  // What is highlighted, and the line that is pointed at, lie above the rest.
  mark(pointed) {
    const pen = this.above.getContext("2d");
    pen.clearRect(0, 0, this.width, BOX.height);
    for (const line of this.lines) if (state.chosen.has(line.run)) this.stroke(pen, line, INK, 2.5, 1);
    if (pointed) this.stroke(pen, pointed, INK, 2, 0.75);
  }

  stroke(pen, line, color, width, alpha) {
    pen.globalAlpha = alpha;
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.beginPath();
    line.at.forEach((share, i) => pen.lineTo(this.x(i), this.y(share)));
    pen.stroke();
    pen.globalAlpha = 1;
  }

  frame(pen, axis, i) {
    const x = this.x(i);
    const last = i === this.axes.length - 1;
    pen.fillStyle = last ? this.gradient(pen) : "#aeb6bf";
    pen.fillRect(last ? x - 2 : x - 0.5, this.y(1), last ? 5 : 1, this.y(0) - this.y(1));
    const held = this.brushes.get(axis.c);
    if (held) {
      pen.fillStyle = "rgba(0, 114, 178, 0.35)";
      pen.fillRect(x - 5, this.y(held[1]), 10, Math.max(2, this.y(held[0]) - this.y(held[1])));
    }
    pen.font = "600 13px system-ui, sans-serif";
    pen.textAlign = "center";
    const room = (this.width - BOX.left - BOX.right) / Math.max(1, this.axes.length - 1) / 7.5;
    this.write(pen, cut(axis.name, Math.max(6, Math.floor(room))), x, 18, INK);
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = last ? "left" : "right";
    for (const [share, text] of axis.ticks) {
      this.write(pen, cut(text, 14), x + (last ? 9 : -8), this.y(share), "#4a525b");
    }
  }

  write(pen, text, x, y, color) {
    pen.textBaseline = "middle";
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    pen.strokeStyle = "rgba(255, 255, 255, 0.85)";
    pen.strokeText(text, x, y);
    pen.fillStyle = color;
    pen.fillText(text, x, y);
  }

  gradient(pen) {
    const made = pen.createLinearGradient(0, this.y(0), 0, this.y(1));
    for (const [stop, color] of colorscale(RAMP)) made.addColorStop(stop, color);
    return made;
  }

  x(i) {
    const room = this.width - BOX.left - BOX.right;
    return Math.round(BOX.left + (room * i) / Math.max(1, this.axes.length - 1));
  }

  y(share) {
    return BOX.height - BOX.bottom - share * (BOX.height - BOX.top - BOX.bottom);
  }

  share(y) {
    return (BOX.height - BOX.bottom - y) / (BOX.height - BOX.top - BOX.bottom);
  }

  // --- pointing and brushing

  fits(line) {
    return this.axes.every((axis, i) => {
      const held = this.brushes.get(axis.c);
      return !held || (held[0] <= line.at[i] && line.at[i] <= held[1]);
    });
  }

  axisAt(x) {
    return this.axes.findIndex((_, i) => Math.abs(this.x(i) - x) <= NEAR);
  }

  lineAt(x, y) {
    const i = this.axes.findIndex((_, k) => this.x(k) >= x);
    if (i < 1) return null;
    const part = (x - this.x(i - 1)) / (this.x(i) - this.x(i - 1));
    const far = ({ at }) => Math.abs(this.y(at[i - 1] + part * (at[i] - at[i - 1])) - y);
    let [nearest, distance] = [null, NEAR];
    for (const line of this.lines) {
      const here = far(line);
      if (here < distance && this.fits(line)) [nearest, distance] = [line, here];
    }
    return nearest;
  }

  press(event) {
    const i = this.axisAt(event.offsetX);
    if (i < 0) return;
    this.above.setPointerCapture(event.pointerId);
    this.held = { axis: this.axes[i], from: event.offsetY };
  }

  move(event) {
    const { offsetX: x, offsetY: y } = event;
    if (!this.held) return this.point(this.axisAt(x) < 0 ? this.lineAt(x, y) : null, x, y);
    const ends = [this.share(this.held.from), this.share(y)].sort((a, b) => a - b);
    if (Math.abs(y - this.held.from) > 3) this.brushes.set(this.held.axis.c, ends);
    this.paint();
  }

  release(event) {
    const { held } = this;
    this.held = null;
    if (!held) {
      const line = this.lineAt(event.offsetX, event.offsetY);
      if (line) choose([line.run]);
      return;
    }
    if (Math.abs(event.offsetY - held.from) <= 3) this.brushes.delete(held.axis.c);
    const kept = this.lines.filter((line) => this.fits(line)).map((line) => line.run);
    state.brushed = this.brushes.size ? new Set(kept) : null;
    state.page = 0;
    draw("brushed");
  }

  point(line, x, y) {
    this.above.style.cursor = line ? "pointer" : this.axisAt(x) >= 0 ? "ns-resize" : "default";
    this.mark(line);
    this.tip.hidden = !line;
    if (!line) return;
    const { c } = this.axes.at(-1);
    this.tip.textContent = `${describe(line.run)}  ${c.name} ${show(c.values[line.run])}`;
    this.tip.style.left = `${Math.max(0, Math.min(x + 12, this.width - this.tip.offsetWidth))}px`;
    this.tip.style.top = `${y + 16}px`;
  }
}
