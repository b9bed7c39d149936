// The curves of all runs in one figure.

const LINES = 1000; // drawn at once

function setUpCurves() {
  const names = Object.keys(data.curves.lines);
  const dimensions = [...varied, ...measured.filter((c) => c.varied)];
  const colors = ["nothing", ...dimensions.map((c) => c.name)];
  const first = names.find((name) => name.endsWith("val_loss")) ?? names[0];
  const none = "No curves: no run reported a history, or a list of three numbers or more.";
  setUpChart("curves", names.length ? "" : none, {
    name: { label: "curve", options: names, value: first },
    color: { label: "coloured by", options: colors, value: colors[1] ?? "nothing" },
    y: { label: "scale", options: ["automatic", "linear", "logarithmic"], value: "automatic" },
  }, paintCurves);
}

function paintCurves({ figure, note, chosen, changed }) {
  if (changed === "chosen") return highlight(figure);
  const wanted = new Set(visible());
  const all = data.curves.lines[chosen.name].filter(([run]) => wanted.has(run));
  const every = Math.ceil(all.length / LINES);
  const drawn = all.filter((_, i) => i % every === 0);
  const ended = drawn.filter(([run, , y]) => states[run] !== "done" || y.at(-1) === null);
  const { groups, bar } = grouped(drawn, column(chosen.color));
  figure.lines = new Map(all.map((line) => [line[0], line]));
  figure.faint = drawn.length > 200 ? 0.4 : drawn.length > 40 ? 0.65 : 0.9;
  const traces = groups.map((group) => ({
    ...overlaid(group.lines),
    name: escape(group.label),
    showlegend: group.label !== "",
    opacity: figure.faint,
    line: { color: group.color, width: 1.5 },
  }));
  figure.bundles = traces.map((_, i) => i);
  traces.push({ ...ends(ended), name: "failed or diverged", showlegend: ended.length > 0 });
  if (bar) traces.push(bar);
  traces.push({ ...overlaid([]), showlegend: false, line: { color: INK, width: 3 } });
  const title = chosen.color === "nothing" || bar ? "" : `${escape(chosen.color)}  `;
  const values = finite(drawn.flatMap(([, , y]) => y));
  Plotly.react(figure, traces, layout(460, {
    xaxis: { title: { text: "step" } },
    yaxis: { ...vertical(chosen.y, values), title: { text: escape(chosen.name) } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", title: { text: title } },
    showlegend: true,
  }), CONFIG);
  const of = every > 1 ? ` of ${all.length.toLocaleString("en")}: filter the runs to see the others` : "";
  note.textContent = `${plural(drawn.length, "curve")}${of}. `
    + (ended.length ? `${ended.length} failed or diverged, at ×. ` : "")
    + "Point at one to see its run, click it to highlight it.";
  if (state.chosen.size) highlight(figure);
  if (figure.clicks) return;
  figure.clicks = true;
  figure.on("plotly_click", ({ points: [point] }) => {
    if (point.customdata !== undefined) choose([point.customdata]);
  });
}

function vertical(wanted, values) {
  const log = wanted === "logarithmic" || (wanted === "automatic" && isLogarithmic(values));
  const [low, high] = range(values.filter((value) => value > 0));
  const plain = { automargin: true, tickformat: "~g", exponentformat: "power" };
  return log ? { ...plain, type: "log", dtick: high / low > 100 ? 1 : "D2" } : plain;
}

// Many lines as one trace with gaps between them: a trace for each would take seconds.
function overlaid(lines) {
  const [x, y, customdata, text] = [[], [], [], []];
  for (const [run, place, values] of lines) {
    const label = escape(describe(run)) + (states[run] === "done" ? "" : `<br>${escape(states[run])}`);
    data.curves.xs[place].forEach((step, i) => {
      x.push(step);
      y.push(values[i]);
      customdata.push(run);
      text.push(label);
    });
    x.push(null);
    y.push(null);
    customdata.push(run);
    text.push("");
  }
  const hovertemplate = "%{text}<br>step %{x}: %{y:.4~g}<extra></extra>";
  return { type: "scatter", mode: "lines", x, y, customdata, text, hovertemplate };
}

// Where the curves of runs that came to no good end: their last finite point.
function ends(lines) {
  const found = lines.map(([run, place, y]) => {
    const last = y.findLastIndex((value) => value !== null);
    return { run, x: data.curves.xs[place][last], y: y[last] };
  });
  const state = (run) => (states[run] === "done" ? "diverged" : states[run]);
  return {
    type: "scatter",
    mode: "markers",
    x: found.map((end) => end.x),
    y: found.map((end) => end.y),
    customdata: found.map((end) => end.run),
    text: found.map((end) => `${escape(describe(end.run))}<br>${escape(state(end.run))}`),
    hovertemplate: "%{text}<extra></extra>",
    marker: { symbol: "x-thin", size: 7, line: { width: 1.8, color: data.theme.warning } },
  };
}

// The lines by the value of a column: a colour for each of a few values, else a colour bar.
function grouped(lines, c) {
  if (!c) return { groups: [{ label: "", color: data.theme.categories[0], lines }] };
  const axis = scale(c, lines.map(([run]) => run));
  const missing = { label: `no ${c.name}`, color: GREY, lines: [] };
  const [low, high] = range(axis.values.map(axis.place));
  const share = (place) => (high > low ? (place - low) / (high - low) : 0.5);
  const few = axis.categories || axis.values.length <= FEW;
  const groups = few ? axis.values.map((value, i) => ({
    label: show(value),
    color: axis.categories ? data.theme.categories[i] ?? GREY : rampAt(share(axis.place(value))),
    lines: [],
  })) : RAMP.map((color) => ({ label: "", color, lines: [] }));
  const numbers = new Map(axis.values.map((value, i) => [value, i]));
  for (const line of lines) {
    const value = c.values[line[0]];
    const group = few ? numbers.get(value) : Math.round(share(axis.place(value)) * (RAMP.length - 1));
    (groups[group] ?? missing).lines.push(line);
  }
  const filled = [...groups, missing].filter((group) => group.lines.length);
  return { groups: filled, bar: few ? null : colorbar(c, axis, low, high) };
}

// A trace that shows nothing but its colour bar.
function colorbar(c, axis, low, high) {
  const [tickvals, ticktext] = [0, 1].map((i) => axis.ticks.map((tick) => tick[i]));
  const bar = { thickness: 12, outlinewidth: 0, title: { text: escape(c.name) }, tickvals, ticktext };
  const shades = { cmin: low, cmax: high, colorscale: colorscale(RAMP), colorbar: bar };
  const marker = { color: [low], showscale: true, ...shades };
  const nowhere = { x: [null], y: [null], showlegend: false, hoverinfo: "skip" };
  return { type: "scatter", mode: "markers", ...nowhere, marker };
}

// The highlighted runs above the others, which step back.
function highlight(figure) {
  const mine = [...state.chosen].map((run) => figure.lines.get(run)).filter(Boolean);
  const { x, y, customdata, text } = overlaid(mine);
  const last = figure.data.length - 1;
  Plotly.restyle(figure, { opacity: mine.length ? figure.faint / 2 : figure.faint }, figure.bundles);
  Plotly.restyle(figure, { x: [x], y: [y], customdata: [customdata], text: [text] }, [last]);
}
