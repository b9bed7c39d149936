"use strict";
// The page of a batch: one table and three charts over the same runs. What is filtered,
// brushed or highlighted in one of them shows in all. Values enter the page as text only.

const data = JSON.parse(document.getElementById("data").textContent);
const RUNS = [...Array(data.count).keys()];
const FEW = 12; // values that get a tick, a legend entry or a label each
const DECADES = 50; // largest over smallest from which a scale is logarithmic

const columns = data.columns;
const column = (name) => columns.find((c) => c.name === name);
const ids = column("id").values;
const states = column("state").values;
const varied = columns.filter((c) => c.varied && (c.kind === "parameter" || c.name === "notebook"));
const measured = columns.filter((c) => c.numeric && c.values.some(Number.isFinite)
  && (c.kind === "result" || c.name === "seconds"));

const state = { shown: RUNS, brushed: null, chosen: new Set(), sort: null, down: false, page: 0 };

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const button = (text, onclick) => element("button", { type: "button", textContent: text, onclick });

function show(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number" || (Number.isInteger(value) && Math.abs(value) < 1e7)) return String(value);
  return String(+value.toPrecision(4));
}

// Plotly reads a few HTML tags in its texts; these are to stay what they are.
const escape = (text) => show(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const number = (value) => (typeof value === "number" ? value : NaN);
const finite = (values) => values.map(number).filter(Number.isFinite);
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
const visible = () => state.shown.filter((run) => !state.brushed || state.brushed.has(run));

function range(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  return [low, high];
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return show(a).localeCompare(show(b), "en", { numeric: true });
}

const distinct = (values) => [...new Set(values)].sort(compare);

function isLogarithmic(values) {
  const [low, high] = range(values);
  return low > 0 && high / low >= DECADES;
}

// What tells a run from the others, for a reader who points at it.
function describe(run) {
  const values = varied.map((c) => `${c.name}=${show(c.values[run])}`);
  return values.length ? values.join(" ") : ids[run];
}

// --- what is shown, and drawing it again ---

const views = [];
let drawing = 0;

// Each view in a frame of its own, so that the page answers in between.
function draw(changed = "shown") {
  const mine = ++drawing;
  bar();
  const waiting = [...views];
  const next = () => {
    if (mine !== drawing) return;
    const view = waiting.shift();
    if (!view) return void performance.mark(`labkit-${changed}`);
    view(changed);
    requestAnimationFrame(() => setTimeout(next));
  };
  next();
}

function choose(runs) {
  const same = runs.length === state.chosen.size && runs.every((run) => state.chosen.has(run));
  state.chosen = new Set(same ? [] : runs);
  draw("chosen");
}

// The bar above: how many runs are shown, and which are highlighted.
function bar() {
  const shown = visible().length;
  const of = shown === RUNS.length ? "" : `${shown.toLocaleString("en")} of `;
  const brushed = state.brushed ? ", part of an axis below" : "";
  document.getElementById("shown").textContent = of + plural(RUNS.length, "run") + brushed;
  const box = document.getElementById("chosen");
  box.replaceChildren();
  if (!state.chosen.size) return;
  const [first] = state.chosen;
  const one = state.chosen.size === 1;
  const text = one ? describe(first) : `${plural(state.chosen.size, "run")} highlighted`;
  box.append(element("span", { textContent: text }));
  if (one && data.hrefs[first]) {
    box.append(element("a", { href: data.hrefs[first], textContent: "open notebook" }));
  }
  box.append(button("clear", () => choose([])));
}
