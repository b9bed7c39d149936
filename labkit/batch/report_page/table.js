// The table: sorted by a click on a column, a page of rows at a time.

const ROWS = 25;

function setUpTable() {
  const body = element("tbody");
  const order = shownColumns();
  const heads = new Map(order.map((c) => [c, head(c, () => sortBy(c))]));
  const back = button("previous", () => turn(-1));
  const on = button("next", () => turn(1));
  const where = element("span");
  const pages = element("div", { className: "pages" }, back, on, where);
  const names = element("thead", {}, element("tr", {}, ...heads.values()));
  const scroll = element("div", { className: "scroll" }, element("table", {}, names, body));
  document.getElementById("runs").append(scroll, pages);

  function sortBy(c) {
    state.down = state.sort === c && !state.down;
    state.sort = c;
    state.page = 0;
    fill();
  }

  function turn(by) {
    state.page += by;
    fill();
  }

  function fill() {
    const runs = sorted();
    const last = Math.max(0, Math.ceil(runs.length / ROWS) - 1);
    state.page = Math.min(Math.max(state.page, 0), last);
    const first = state.page * ROWS;
    body.replaceChildren(...runs.slice(first, first + ROWS).map((run) => row(run, order)));
    for (const [c, cell] of heads) {
      const sort = state.down ? "descending" : "ascending";
      cell.setAttribute("aria-sort", c === state.sort ? sort : "none");
    }
    back.disabled = state.page === 0;
    on.disabled = state.page === last;
    const to = Math.min(first + ROWS, runs.length);
    where.textContent = runs.length ? `${first + 1} to ${to} of ${runs.length}` : "No run fits.";
    pages.hidden = runs.length > 0 && last === 0;
  }

  views.push((changed) => {
    if (changed === "chosen" && state.chosen.size) {
      const place = sorted().findIndex((run) => state.chosen.has(run));
      if (place >= 0) state.page = Math.floor(place / ROWS);
    }
    fill();
  });
}

// What says the same in every row is above the table already, or of no use in it.
function shownColumns() {
  const isShown = (c) => varied.includes(c) || c.kind === "result" || c.name === "seconds"
    || (c.name === "attempt" && c.varied);
  return [column("id"), column("state"), ...columns.filter(isShown)];
}

function head(c, onclick) {
  const made = element("th", { scope: "col", className: c.numeric ? "number" : "" });
  made.append(button(c === column("id") ? "run" : c.name, onclick));
  made.dataset.kind = c.kind;
  return made;
}

// What is missing, or is no number among numbers, comes last whichever way.
function sorted() {
  const runs = visible();
  const { sort } = state;
  if (!sort) return runs;
  const value = (run) => sort.values[run];
  const absent = (run) => value(run) === null || (sort.numeric && !Number.isFinite(value(run)));
  const order = (a, b) => (state.down ? -1 : 1) * compare(value(a), value(b));
  const present = runs.filter((run) => !absent(run)).sort((a, b) => order(a, b) || a - b);
  return [...present, ...runs.filter(absent)];
}

function row(run, order) {
  const made = element("tr", { tabIndex: 0, className: state.chosen.has(run) ? "chosen" : "" });
  made.append(...order.map((c) => cell(c, run)));
  made.onclick = () => choose([run]);
  made.onkeydown = (event) => {
    if (event.key === "Enter" && event.target === made) choose([run]);
  };
  return made;
}

function cell(c, run) {
  const text = show(c.values[run]);
  const made = element("td", { className: c.numeric ? "number" : "", title: text });
  if (c === column("id")) made.append(link(run));
  else if (c === column("state")) {
    made.append(element("span", { className: "state", textContent: text }));
    made.firstChild.dataset.state = text;
    made.title = show(column("failure").values[run] ?? text);
  } else made.textContent = text;
  return made;
}

// A name that ends with its hash is shown by its hash: the columns show the rest.
function link(run) {
  const textContent = /-([0-9a-f]{10})$/.exec(ids[run])?.[1] ?? ids[run];
  const href = data.hrefs[run];
  if (!href) return element("span", { textContent });
  return element("a", { href, textContent, onclick: (event) => event.stopPropagation() });
}
