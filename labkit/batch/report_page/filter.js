// The filter: `lr<0.1 optimizer=adam state!=done word "two words"`, all of which must hold.

const OPERATORS = {
  "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "<": (a, b) => a < b, ">": (a, b) => a > b,
};

const TERM = /^("(?:[^"\\]|\\.)*"|[^<>=!~"]+)(<=|>=|!=|=|<|>|~)(.*)$/s;

function terms(text) {
  const tests = [];
  for (const [term] of text.matchAll(/(?:[^\s"]|"(?:[^"\\]|\\.)*"?)+/g)) {
    const [, name, operator, given] = TERM.exec(term) || [];
    if (!name) {
      const word = unquoted(term).toLowerCase();
      tests.push((run) => columns.some((c) => show(c.values[run]).toLowerCase().includes(word)));
      continue;
    }
    const plain = unquoted(name);
    const found = column(plain) || columns.find((c) => c.name.toLowerCase() === plain.toLowerCase());
    if (!found) {
      throw new Error(`There is no column ${plain}; there are ${columns.map((c) => c.name).join(", ")}.`);
    }
    tests.push(test(found, operator, unquoted(given)));
  }
  return tests;
}

function unquoted(text) {
  try { return text.startsWith('"') ? String(JSON.parse(text)) : text; }
  catch { return text.replaceAll('"', ""); }
}

function test(found, operator, given) {
  const wanted = given.toLowerCase();
  const value = given.trim() === "" ? NaN : Number(given);
  const equal = (own) => own === value || [show(own), String(own)].some((t) => t.toLowerCase() === wanted);
  if (operator === "=") return (run) => equal(found.values[run]);
  if (operator === "!=") return (run) => !equal(found.values[run]);
  if (operator === "~") return (run) => show(found.values[run]).toLowerCase().includes(wanted);
  if (Number.isNaN(value)) throw new Error(`Write a number after ${found.name}${operator}`);
  return (run) => OPERATORS[operator](number(found.values[run]), value);
}

function filter(text) {
  const slip = document.getElementById("slip");
  slip.textContent = "";
  try {
    const tests = terms(text);
    state.shown = RUNS.filter((run) => tests.every((holds) => holds(run)));
    state.page = 0;
    draw();
  } catch (problem) {
    slip.textContent = problem.message;
  }
}

function setUpFilter() {
  const box = document.getElementById("filter");
  const example = varied.slice(0, 2).map((c) => {
    const values = distinct(c.values.filter((v) => v !== null));
    const middle = c.numeric ? values[values.length >> 1] : values[0];
    return `${c.name}${c.numeric && values.length > 2 ? "<" : "="}${show(middle)}`;
  });
  box.placeholder = `filter, such as ${[...example, "state!=done"].join(" ")}`;
  let timer = 0;
  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => filter(box.value), 150);
  });
  for (const link of document.querySelectorAll("[data-filter]")) {
    link.addEventListener("click", () => {
      box.value = link.dataset.filter;
      filter(box.value);
      document.getElementById("runs").scrollIntoView({ behavior: "smooth", block: "start" });
    });
  }
}
