// The heat map: the mean of a result over all runs with the same two values.

function setUpHeatmap() {
  const names = varied.map((c) => c.name);
  const options = measured.map((c) => c.name);
  const problem = !measured.length
    ? "No heat map: no run has a number as its result."
    : varied.length > 1 ? "" : "No heat map: it needs two parameters that differ between the runs.";
  setUpChart("heatmap", problem, {
    x: { label: "across", options: names, value: names[0] },
    y: { label: "up", options: names, value: names[1] },
    value: { label: "mean", options, value: firstMeasured() },
  }, paintHeatmap);
}

function paintHeatmap({ figure, note, chosen, changed }) {
  const [x, y, value] = [column(chosen.x), column(chosen.y), column(chosen.value)];
  if (changed !== "chosen") figure.map = tally(x, y, value, visible());
  const { across, up, cells } = figure.map;
  const shapes = outlines(figure.map, x, y);
  if (changed === "chosen") return void Plotly.relayout(figure, { shapes });
  const flat = cells.flat().filter(Boolean);
  const means = flat.filter((cell) => cell.count).map((cell) => cell.mean);
  const log = isLogarithmic(means);
  const place = (cell) => (cell?.count ? (log ? Math.log10(cell.mean) : cell.mean) : null);
  const trace = {
    type: "heatmap",
    z: cells.map((row) => row.map(place)),
    text: cells.map((row) => row.map((cell) => (cell?.count ? show(+cell.mean.toPrecision(3)) : ""))),
    texttemplate: across.length <= FEW && up.length <= 2 * FEW ? "%{text}" : "",
    hovertext: cells.map((row) => row.map((cell) => (cell ? hoverText(cell, x, y, value) : ""))),
    hoverinfo: "text",
    hoverongaps: false,
    xgap: 2,
    ygap: 2,
    colorscale: data.theme.heat,
    colorbar: { thickness: 12, outlinewidth: 0, ...(log && decadeTicks(means)) },
  };
  Plotly.react(figure, [trace], layout(Math.min(720, Math.max(240, 110 + 34 * up.length)), {
    margin: { l: 20, r: 20, t: 16, b: 20 },
    xaxis: category(x, across),
    yaxis: category(y, up),
    shapes,
  }), CONFIG);
  note.textContent = summary(x, y, flat);
  if (figure.clicks) return;
  figure.clicks = true;
  figure.on("plotly_click", ({ points: [point] }) => choose(figure.map.cells[point.y][point.x]?.runs ?? []));
}

function tally(x, y, value, runs) {
  const across = distinct(runs.map((run) => x.values[run]));
  const up = distinct(runs.map((run) => y.values[run]));
  const [left, rise] = [across, up].map((values) => new Map(values.map((own, i) => [own, i])));
  const cells = up.map(() => across.map(() => null));
  for (const run of runs) {
    const [i, j] = [left.get(x.values[run]), rise.get(y.values[run])];
    const cell = (cells[j][i] ??= { runs: [], count: 0, mean: 0, low: Infinity, high: -Infinity });
    cell.runs.push(run);
    const own = number(value.values[run]);
    if (!Number.isFinite(own)) continue;
    cell.count += 1;
    cell.mean += (own - cell.mean) / cell.count;
    [cell.low, cell.high] = [Math.min(cell.low, own), Math.max(cell.high, own)];
  }
  return { across, up, cells };
}

function hoverText(cell, x, y, value) {
  const [run] = cell.runs;
  const lost = cell.runs.length - cell.count;
  const lines = [`${escape(x.name)} ${escape(x.values[run])}, ${escape(y.name)} ${escape(y.values[run])}`];
  lines.push(cell.count ? `${escape(value.name)} <b>${show(cell.mean)}</b>` : `no ${escape(value.name)}`);
  if (cell.count > 1) lines.push(`mean of ${cell.count} runs, ${show(cell.low)} to ${show(cell.high)}`);
  if (lost) lines.push(`${plural(lost, "run")} without a number`);
  return lines.join("<br>");
}

function summary(x, y, cells) {
  const [low, high] = range(cells.map((cell) => cell.count));
  const rest = varied.filter((c) => c !== x && c !== y).map((c) => c.name);
  const lost = cells.reduce((sum, cell) => sum + cell.runs.length - cell.count, 0);
  if (!cells.length) return "No run fits.";
  const over = rest.length ? `: the mean over ${rest.join(", ")}` : "";
  const without = `${plural(lost, "run")} without a number ${lost === 1 ? "does" : "do"} not count.`;
  return `${low === high ? "" : `${low} to `}${plural(high, "run")} in a cell${over}. `
    + `${lost ? `${without} ` : ""}Click a cell to highlight its runs.`;
}

function decadeTicks(values) {
  const ticks = decades(range(values));
  return { tickvals: ticks.map(Math.log10), ticktext: ticks.map(show) };
}

function category(c, values) {
  const kept = values.map((_, i) => i).filter((i) => i % Math.ceil(values.length / 40) === 0);
  return {
    title: { text: escape(c.name), standoff: 12 },
    tickvals: kept,
    ticktext: kept.map((i) => escape(cut(show(values[i]), 24))),
    range: [-0.5, values.length - 0.5],
    showgrid: false,
    zeroline: false,
    ticks: "",
    automargin: true,
  };
}

// A frame around every cell that holds a highlighted run.
function outlines({ across, up }, x, y) {
  const corners = [...state.chosen].map((run) => [across.indexOf(x.values[run]), up.indexOf(y.values[run])]);
  const there = corners.filter(([i, j]) => i >= 0 && j >= 0);
  const unique = new Map(there.map((corner) => [String(corner), corner]));
  return [...unique.values()].map(([i, j]) => ({
    type: "rect", x0: i - 0.48, x1: i + 0.48, y0: j - 0.48, y1: j + 0.48, line: { color: INK, width: 2.5 },
  }));
}
