// What the charts share: their choices, their notes, and values as positions.

const RAMP = data.theme.ramp;
const INK = "#24292f";
const PALE = "#dfe3e8";
const GREY = "#8c959f";
const CONFIG = {
  responsive: true,
  displaylogo: false,
  modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
};

const colorscale = (colors) => colors.map((color, i) => [i / (colors.length - 1), color]);
const rampAt = (share) => RAMP[Math.round(Math.min(Math.max(share, 0), 1) * (RAMP.length - 1))];
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const firstMeasured = () => (measured.find((c) => c.varied && c.kind === "result") ?? measured[0])?.name;

function layout(height, more) {
  const theme = data.theme.layout;
  const template = { layout: { ...theme, font: { ...theme.font, color: "#3d454d" } } };
  return { template, height, margin: { l: 64, r: 20, t: 24, b: 48 }, hovermode: "closest", ...more };
}

// A chart's section: its choices, the figure, a note; or one line that says why there is none.
// `paint({ figure, note, chosen, changed })` draws it, as often as something has changed.
function setUpChart(id, problem, choices, paint) {
  const section = document.getElementById(id);
  if (problem) {
    section.className = "empty";
    section.replaceChildren(element("p", { className: "why", textContent: problem }));
    return;
  }
  const picks = element("div", { className: "choices" });
  const figure = element("div", { className: "figure" });
  const note = element("p", { className: "note" });
  const chosen = {};
  for (const [key, { label, options, value }] of Object.entries(choices)) {
    const select = element("select");
    select.append(...options.map((o) => element("option", { value: o, textContent: o })));
    select.name = key;
    select.value = chosen[key] = value;
    select.onchange = () => {
      chosen[key] = select.value;
      paint({ figure, note, chosen, changed: "choice" });
    };
    if (options.length > 1) picks.append(element("label", {}, label, select));
  }
  section.append(picks, figure, note);
  views.push((changed) => paint({ figure, note, chosen, changed }));
}

// A column as positions on an axis: numbers (as logarithms where they span decades), or
// categories in their order. `place(value)` is NaN for a value that has no place.
function scale(c, runs) {
  const present = runs.map((run) => c.values[run]);
  const numbers = finite(present);
  const few = distinct(present);
  const whole = c.kind !== "parameter" || numbers.length === present.length;
  if (c.numeric && (whole || few.length > FEW)) return numeric(c, numbers);
  const places = new Map(few.map((value, index) => [value, index]));
  const kept = few.filter((_, i) => i % Math.ceil(few.length / 30) === 0);
  return {
    name: c.name,
    place: (value) => places.get(value) ?? NaN,
    values: few,
    categories: true,
    ticks: kept.map((value) => [places.get(value), show(value)]),
  };
}

function numeric(c, numbers) {
  const log = isLogarithmic(numbers);
  const place = (value) => (log ? Math.log10(number(value)) : number(value));
  const values = distinct(numbers);
  // Values that were chosen get a tick each; those that came out may lie too close together.
  const each = values.length <= (c.kind === "parameter" ? FEW : 2);
  const marked = each ? values : log ? decades(range(numbers)) : round(range(numbers));
  return {
    name: c.name,
    place,
    values,
    categories: false,
    ticks: marked.map((value) => [place(value), show(value)]),
  };
}

// Powers of ten within a range; its ends where there are fewer than two.
function decades([low, high]) {
  const powers = [];
  for (let k = Math.ceil(Math.log10(low)); k <= Math.log10(high); k += 1) powers.push(10 ** k);
  return powers.length > 1 ? powers : [low, high];
}

// About six round numbers within a range.
function round([low, high]) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k += 1) found.push(+(k * step).toPrecision(12));
  return found;
}
