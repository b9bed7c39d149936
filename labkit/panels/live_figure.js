// Paints plotly figures as they arrive from a kernel in which a network trains.
//
// Plotly.react costs 12 to 36 ms a figure: too much for two figures at 30 frames/s beside a
// training thread. Yet between two frames only the data differs, and drawing those on a 2-D canvas
// costs under a millisecond. So plotly draws the frame (axes, legend, titles) when anything but data
// changes; while frames stream, a canvas over the plot area shows the traces and plotly's own stay
// hidden; and when the stream pauses, plotly draws once more and the canvas goes.
//
// The canvas takes scales and defaults from plotly itself (`_fullData`, `_fullLayout`): they are not
// documented, but they are the only record of what plotly decided, and the plotly.js that runs here
// is the one installed beside this file. What the canvas cannot do exactly is left to plotly.

const STILL_MS = 250; // a pause this long ends a stream
const REFRESH_MS = 1000; // in a stream, how often plotly refreshes autoranges and hover data
const ACK_EVERY = 6; // each acknowledgement makes JupyterLab show a busy and an idle kernel, favicon and all

export default {
  render({ model, el }) {
    const gd = el.appendChild(document.createElement("div"));
    gd.className = "labkit-figure";
    const canvas = document.createElement("canvas");
    const ctx = canvas.getContext("2d");
    const view = crypto.randomUUID?.() ?? String(Math.random());
    let Plotly = null; // once loaded
    let waiting = null; // the newest frame received and not painted
    let shown = null; // the frame on screen
    let drawn = null; // what plotly last drew: {n, key, at, cost}
    let newest = 0;
    let arrived = -Infinity;
    let acked = 0;
    let request = 0;
    let timer = 0;
    let width = 0;
    let top = null; // the margin that plotly left for the legend
    let config = null; // one object for good: when it changes, plotly forgets zooms and starts anew

    // -- frames in ---------------------------------------------------------------------------

    // A message may bring the frames of several figures, so that one repaint of the page shows them.
    const message = (content, buffers) => {
      if (content.plotly) evaluate(content.plotly, buffers[0]);
      for (const frame of content.frames ?? []) {
        for (const figure of FIGURES) if (figure.id === frame.id) figure.receive(frame, buffers, content.sent);
      }
    };
    const receive = ({ n, spec, first }, buffers, sent) => {
      if (n < newest) return;
      newest = n;
      const now = performance.now();
      waiting = { n, sent, spec, buffers: buffers.slice(first), streaming: now - arrived < STILL_MS }; // newest wins
      arrived = now;
      schedule();
    };
    const schedule = () => {
      if (Plotly && !request) request = requestAnimationFrame(paint);
    };
    const redraw = () => {
      drawn = null;
      waiting ??= shown;
      if (waiting) schedule();
    };
    // Whoever acknowledges does it for all figures of its kernel.
    const ack = () => {
      const acks = {};
      for (const figure of FIGURES) if (figure.manager === self.manager) figure.settleAccount(acks);
      model.send({ acks });
    };
    const self = {
      id: model.get("_id"),
      manager: model.widget_manager,
      receive,
      settleAccount(acks) {
        if (shown && acked !== shown.n) acks[self.id] = Math.max((acked = shown.n), acks[self.id] ?? 0);
      },
    };

    // -- frames out --------------------------------------------------------------------------

    const paint = () => {
      request = 0;
      if (!waiting) return;
      const start = performance.now();
      shown = waiting;
      waiting = null;
      let kind = "fast";
      if (width) {
        shown.data ??= revive(shown.spec.data ?? [], shown.buffers);
        shown.key ??= JSON.stringify(shown.spec, withoutData);
        try {
          if (!shown.streaming || !current(start)) {
            kind = "full";
            draw();
          }
          overlay(shown.streaming && paintable(gd) && axes(gd).length > 0);
        } catch (error) {
          drawn = null; // a frame that cannot be drawn is lost, the next one may be fine
          console.error("labkit: this figure cannot be drawn", error);
        }
      }
      if (shown.n - acked >= ACK_EVERY) ack();
      clearTimeout(timer);
      timer = setTimeout(settle, STILL_MS);
      if (width) announce(kind, start);
    };

    // Whether what plotly drew still fits this frame. A refresh is for autoranges and for hovering;
    // it never takes more than a tenth of the time.
    const current = (now) => {
      if (!drawn || drawn.key !== shown.key) return false;
      if (gd._dragging || now - drawn.at < Math.max(REFRESH_MS, 10 * drawn.cost)) return paintable(gd);
      return paintable(gd) && !gd.matches(":hover") && !axes(gd).some((axis) => axis.autorange);
    };

    const draw = () => {
      const { spec, data, key, n } = shown;
      const at = performance.now();
      const height = model.get("height") ?? spec.layout?.height ?? 360;
      const title = spec.layout?.title?.text ?? spec.layout?.title ?? "";
      const layout = {
        uirevision: "labkit", // zoom and hidden traces survive new data
        ...structuredClone(revive(spec.layout ?? {}, shown.buffers)), // plotly writes into it
        width,
        height,
        template: merge({ layout: { colorway: COLORS } }, merge(spec.layout?.template ?? {}, theme(el, title))),
      };
      const fresh = !gd.on;
      Plotly.react(gd, data, layout, (config ??= settings(Plotly, el))).catch((error) => console.error(error));
      // Plotly places a legend by the margin of before: where its rows now need another, once more.
      if (top !== null && top !== gd._fullLayout._size.t) Plotly.redraw(gd);
      top = gd._fullLayout._size.t;
      if (fresh) gd.on("plotly_click", click);
      if (!canvas.isConnected) gd.querySelector(".main-svg").after(canvas); // under legend and hover
      const meta = spec.layout?.meta;
      const label = title || meta?.label || (typeof meta === "string" && meta) || "figure";
      el.setAttribute("role", "img");
      el.setAttribute("aria-label", String(label).replace(/<[^>]*>/g, " ").trim());
      drawn = { n, key, at, cost: performance.now() - at };
    };

    const overlay = (on) => {
      if (on) paintTraces(ctx, gd, shown.data);
      el.classList.toggle("labkit-live", on); // the stylesheet swaps canvas and traces
    };

    const settle = async () => {
      if (!shown || waiting || !width) return;
      if (gd._dragging) return void (timer = setTimeout(settle, STILL_MS)); // not under a moving mouse
      const start = performance.now();
      const frame = shown;
      try {
        if (drawn?.n !== frame.n) draw();
      } catch (error) {
        console.error("labkit: this figure cannot be drawn", error);
      }
      if (acked !== frame.n) ack();
      // Heatmaps are images, decoded later: without this they blink.
      await Promise.all(Array.from(gd.querySelectorAll("image"), (image) => image.decode?.().catch(() => {})));
      if (shown !== frame || waiting) return;
      overlay(false);
      requestAnimationFrame(() => announce("settle", start));
    };

    const announce = (kind, start) => {
      const detail = { n: shown.n, kind, ms: performance.now() - start, sent: shown.sent };
      setTimeout(() => {
        el.dataset.frame = detail.n;
        el.dataset.kind = kind;
        el.dispatchEvent(new CustomEvent("labkit:frame", { detail, bubbles: true }));
      });
    };

    const click = ({ points: [point] }) => {
      if (el.classList.contains("labkit-live")) return; // plotly's points are older than the picture
      const { curveNumber: curve, pointNumber, x, y, customdata } = point;
      model.send({ click: { curve, point: pointNumber, x, y, customdata: customdata ?? null } });
    };

    // -- the page around ---------------------------------------------------------------------

    const size = new ResizeObserver(([entry]) => {
      const now = Math.floor(entry.contentRect.width);
      if (now === width) return;
      width = now;
      if (width) redraw();
    });
    const dress = new MutationObserver(redraw);
    dress.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
    size.observe(el);
    model.on("change:height", redraw);
    model.on("msg:custom", message);
    FIGURES.add(self);
    let gone = false;
    load(model).then((library) => {
      if (gone) return;
      Plotly = library;
      model.send({ ready: view });
      schedule();
    });

    return () => {
      gone = true;
      size.disconnect();
      dress.disconnect();
      clearTimeout(timer);
      cancelAnimationFrame(request);
      model.off("msg:custom", message);
      FIGURES.delete(self);
      model.off("change:height", redraw);
      if (Plotly) {
        Plotly.purge(gd);
        model.send({ gone: view });
      }
    };
  },
};

// All figures on the page, whichever copy of this module each of them runs.
const FIGURES = (globalThis[Symbol.for("labkit.figures")] ??= new Set());

// -- plotly.js, once per page --------------------------------------------------------------------
// 4.8 MB are too many to travel in the state of each widget (and into each saved notebook): the first
// figure on a page asks the kernel for them, all others, in whatever notebook, share what came.

const slot = (version) =>
  (globalThis[Symbol.for(`labkit.plotly@${version}`)] ??= (() => {
    let resolve;
    const library = new Promise((done) => (resolve = done));
    return { library, resolve, evaluating: false, asked: -Infinity, patience: 5000 };
  })());

function load(model) {
  const shared = slot(model.get("_plotly"));
  const ask = () => {
    // The figure that asked may have left, or its kernel be dead: then another one asks.
    if (shared.evaluating || performance.now() - shared.asked < shared.patience) return;
    if (shared.asked > 0) shared.patience *= 2; // a busy kernel answers late: do not pile up requests
    shared.asked = performance.now();
    model.send({ want: "plotly" });
  };
  ask();
  const again = setInterval(ask, 1000);
  return shared.library.finally(() => clearInterval(again));
}

async function evaluate(version, zipped) {
  const shared = slot(version);
  if (shared.evaluating) return;
  shared.evaluating = true;
  const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"));
  const text = await new Response(stream).text();
  // UMD in a module of its own: no global Plotly, and no meeting with Voilà's require.js.
  const parts = ["const module={exports:{}},exports=module.exports;let define;\n", text, "\nexport default module.exports;"];
  const url = URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
  shared.resolve((await import(url)).default);
  URL.revokeObjectURL(url);
}

// -- specs ---------------------------------------------------------------------------------------

const TYPES = {
  i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array,
  i4: Int32Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array,
};

// {"_array": buffer index, dtype, shape} becomes a typed array, or rows of one; sharing is kept.
function revive(value, buffers, cache = new Map()) {
  if (Array.isArray(value)) return value.map((item) => revive(item, buffers, cache));
  if (value === null || typeof value !== "object") return value;
  const { _array: index, dtype, shape } = value;
  if (index === undefined) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item, buffers, cache)]));
  }
  if (!cache.has(index)) {
    const { buffer, byteOffset, byteLength } = buffers[index];
    const flat = new TYPES[dtype](buffer.slice(byteOffset, byteOffset + byteLength)); // aligned
    const [rows, columns] = shape ?? [];
    cache.set(index, shape ? Array.from({ length: rows }, (_, i) => flat.subarray(i * columns, (i + 1) * columns)) : flat);
  }
  return cache.get(index);
}

// What a frame is, apart from its numbers: two frames with equal keys differ in data only.
const DATA = new Set(["x", "y", "z", "color", "size", "text", "hovertext", "customdata", "base"]);
const withoutData = (key, value) =>
  value?._array !== undefined ? "array" : Array.isArray(value) && DATA.has(key) ? "list" : value;

function merge(under, over) {
  const out = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const both = value?.constructor === Object && out[key]?.constructor === Object;
    out[key] = both ? merge(out[key], value) : value;
  }
  return out;
}

// The same colours for a plain dict as for a go.Figure, which brings them in its default template.
const COLORS = [
  "#636efa", "#EF553B", "#00cc96", "#ab63fa", "#FFA15A", "#19d3f3", "#FF6692", "#B6E880", "#FF97FF", "#FECB52",
];

// The theme is a plotly template made of JupyterLab's colours: whatever a figure says itself wins.
function theme(el, title) {
  const style = getComputedStyle(el);
  const css = (name, fallback) => style.getPropertyValue(name).trim() || fallback;
  const text = css("--jp-ui-font-color1", "#212121");
  const soft = css("--jp-ui-font-color2", "#616161");
  const grid = css("--jp-border-color2", "#e0e0e0");
  const line = css("--jp-border-color1", "#bdbdbd");
  const none = "rgba(0,0,0,0)";
  const axis = { gridcolor: grid, zerolinecolor: line, linecolor: line, tickcolor: line, zerolinewidth: 1 };
  return {
    data: {
      bar: [{ marker: { line: { width: 0 } } }],
      scatter: [{ marker: { line: { color: css("--jp-layout-color0", "#fff") } } }],
    },
    layout: {
      font: { color: text, size: 12, family: css("--jp-ui-font-family", "system-ui, sans-serif") },
      title: { font: { size: 14 }, x: 0.02, y: 0.98, yanchor: "top", pad: { t: 6 } },
      margin: { l: 56, r: 16, t: title ? 40 : 16, b: 44 },
      paper_bgcolor: none,
      plot_bgcolor: none,
      xaxis: axis,
      yaxis: axis,
      legend: { bgcolor: none, font: { color: text } },
      hoverlabel: { bgcolor: css("--jp-layout-color1", "#fff"), bordercolor: line, font: { color: text } },
      modebar: { bgcolor: none, color: soft, activecolor: text },
      coloraxis: { colorbar: { outlinewidth: 0 } },
    },
  };
}

const settings = (Plotly, el) => ({
  displaylogo: false,
  modeBarButtons: [[
    {
      name: "toImage",
      title: "Download as a PNG",
      icon: Plotly.Icons.camera,
      click(gd) {
        // On the page the background shows through; a file must bring its own.
        const paper = getComputedStyle(el).getPropertyValue("--jp-layout-color0").trim() || "#fff";
        const { width, height } = gd._fullLayout;
        const layout = { ...gd.layout, paper_bgcolor: paper };
        Plotly.downloadImage({ data: gd.data, layout }, { format: "png", scale: 2, width, height, filename: "labkit" });
      },
    },
    "zoom2d", "pan2d", "resetScale2d",
  ]],
});

// -- the canvas painter --------------------------------------------------------------------------

const ORDER = ["heatmap", "bar", "scatter"]; // plotly's layers, bottom first
const axisOf = (gd, id) => gd._fullLayout[id.replace(/^[xy]/, "$&axis")];
const axes = (gd) => gd._fullData.filter((f) => f.visible === true).flatMap((f) => [axisOf(gd, f.xaxis), axisOf(gd, f.yaxis)]);
const isList = (value) => Array.isArray(value) || ArrayBuffer.isView(value);
const drawnBars = (gd) => gd._fullData.filter((f) => f.type === "bar" && f.visible === true);

// Whether the canvas can show exactly what plotly would.
function paintable(gd) {
  const { shapes = [], images = [] } = gd._fullLayout;
  const above = (item) => item.layer !== "below"; // the canvas would cover them
  const heat = gd._fullData.some((f) => f.type === "heatmap");
  if (images.length || (heat && shapes.some(above))) return false;
  return gd._fullData.every((f) => {
    if (f.visible !== true) return true;
    const able = PAINTABLE[f.type];
    if (!able || !f.xaxis || f.error_x?.visible || f.error_y?.visible || f.selectedpoints) return false;
    const kinds = [axisOf(gd, f.xaxis), axisOf(gd, f.yaxis)];
    return kinds.every((axis) => ["linear", "log"].includes(axis.type) && !axis.rangebreaks?.length) && able(f, gd, kinds);
  });
}

const plainMarker = ({ coloraxis, line = {}, opacity, pattern, cornerradius }) =>
  !coloraxis && !isList(line.color) && !isList(line.width) && !isList(opacity) && !pattern?.shape && !cornerradius;

const PAINTABLE = {
  scatter: (f) =>
    !f.mode.includes("text") && !f.stackgroup && f.cliponaxis !== false &&
    ["none", "tozeroy", "tonexty"].includes(f.fill ?? "none") && !f.fillpattern?.shape &&
    (!f.mode.includes("lines") || ["linear", "hv"].includes(f.line.shape)) &&
    (!f.mode.includes("markers") || (plainMarker(f.marker) && f.marker.symbol in SYMBOLS)),
  heatmap: (f, gd, kinds) =>
    !f.coloraxis && !f.xgap && !f.ygap && !f.texttemplate && !f.transpose && kinds.every((axis) => axis.type === "linear"),
  bar: (f, gd) =>
    plainMarker(f.marker) && !f.text && !f.texttemplate && f.offset === undefined &&
    (gd._fullLayout.barmode === "overlay" || drawnBars(gd).filter((g) => g.xaxis === f.xaxis && g.yaxis === f.yaxis).length < 2),
};

function paintTraces(ctx, gd, data) {
  place(ctx, axes(gd));
  const order = gd._fullData.map((f, i) => i).filter((i) => gd._fullData[i].visible === true);
  order.sort((i, j) => ORDER.indexOf(gd._fullData[i].type) - ORDER.indexOf(gd._fullData[j].type) || i - j);
  order.forEach((i, k) => {
    const f = gd._fullData[i];
    const [xa, ya] = [axisOf(gd, f.xaxis), axisOf(gd, f.yaxis)];
    const next = gd._fullData[order[k + 1]];
    const band = next?.fill === "tonexty" && next.xaxis === f.xaxis && next.yaxis === f.yaxis;
    ctx.save();
    ctx.beginPath();
    ctx.rect(xa._offset, ya._offset, xa._length, ya._length);
    ctx.clip();
    ctx.globalAlpha = f.opacity ?? 1;
    PAINT[f.type](ctx, data[i], f, xa, ya, gd, band && { t: data[order[k + 1]], f: next });
    ctx.restore();
  });
}

// Fits the canvas to the plot areas and no more: what it covers is composited at each frame.
function place(ctx, all) {
  const [xs, ys] = ["x", "y"].map((letter) => all.filter((axis) => axis._id[0] === letter));
  const [left, top] = [xs, ys].map((some) => Math.floor(Math.min(...some.map((axis) => axis._offset))));
  const [right, bottom] = [xs, ys].map((some) => Math.ceil(Math.max(...some.map((axis) => axis._offset + axis._length))));
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round((right - left) * ratio), Math.round((bottom - top) * ratio)];
  const { canvas } = ctx;
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  canvas.style.cssText = `left:${left}px;top:${top}px;width:${w / ratio}px;height:${h / ratio}px`;
  ctx.setTransform(ratio, 0, 0, ratio, -left * ratio, -top * ratio);
  ctx.clearRect(left, top, w, h);
}

// Data to CSS pixels. Far points are held at a distance where lines still point the right way.
function scale({ range, type, _offset, _length, _id }) {
  const [from, to] = range;
  const step = _length / (to - from);
  const up = _id[0] === "y";
  return (value) => {
    if (value === null || value === undefined) return NaN;
    const pixels = ((type === "log" ? Math.log10(value) : value) - from) * step;
    const clamped = Math.max(-1e6, Math.min(1e6, pixels));
    return Number.isFinite(pixels) ? _offset + (up ? _length - clamped : clamped) : NaN;
  };
}

const along = (values, origin, step, n) => values ?? Float64Array.from({ length: n }, (_, i) => (origin ?? 0) + i * (step ?? 1));

function pixels(t, f, xa, ya) {
  const n = Math.min(t.x?.length ?? Infinity, t.y?.length ?? Infinity);
  const [sx, sy] = [scale(xa), scale(ya)];
  const [x, y] = [along(t.x, f.x0, f.dx, n), along(t.y, f.y0, f.dy, n)];
  const px = new Float64Array(2 * n);
  for (let i = 0; i < n; i++) [px[2 * i], px[2 * i + 1]] = [sx(x[i]), sy(y[i])];
  return px;
}

const finite = (px) => {
  const out = [];
  for (let i = 0; i < px.length; i += 2) if (px[i] + px[i + 1] === px[i] + px[i + 1]) out.push([px[i], px[i + 1]]);
  return out;
};

const SYMBOLS = {
  circle: (ctx, x, y, r) => (ctx.moveTo(x + r, y), ctx.arc(x, y, r, 0, 2 * Math.PI)),
  square: (ctx, x, y, r) => ctx.rect(x - r, y - r, 2 * r, 2 * r),
  diamond: (ctx, x, y, r) => polygon(ctx, [[x + 1.3 * r, y], [x, y + 1.3 * r], [x - 1.3 * r, y], [x, y - 1.3 * r]]),
};

function polygon(ctx, points) {
  points.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
  ctx.closePath();
}

const DASHES = { solid: [], dot: [1, 1], dash: [3, 3], longdash: [5, 5], dashdot: [3, 1, 1, 1], longdashdot: [5, 2, 1, 2] };
const dashes = (dash, width) =>
  DASHES[dash]?.map((part) => part * Math.max(width, 3)) ?? dash.split(/[\s,]+/).map((part) => parseFloat(part));

const PAINT = {
  scatter(ctx, t, f, xa, ya, gd, band) {
    const px = pixels(t, f, xa, ya);
    if (f.fill === "tozeroy") {
      const points = finite(px);
      const zero = ya.type === "log" ? ya._offset + ya._length : scale(ya)(0);
      if (points.length) fill(ctx, [...points, [points.at(-1)[0], zero], [points[0][0], zero]], f.fillcolor);
    }
    // A fill down to this trace lies under this trace's line: plotly's order.
    if (band) fill(ctx, [...finite(px), ...finite(pixels(band.t, band.f, xa, ya)).reverse()], band.f.fillcolor);
    if (f.mode.includes("lines") && f.line.width > 0) {
      ctx.beginPath();
      let pen = false;
      for (let i = 0; i < px.length; i += 2) {
        const [x, y] = [px[i], px[i + 1]];
        if (x !== x || y !== y) pen &&= f.connectgaps;
        else if (!pen) ctx.moveTo(x, y), (pen = true);
        else {
          if (f.line.shape === "hv") ctx.lineTo(x, px[i - 1]);
          ctx.lineTo(x, y);
        }
      }
      Object.assign(ctx, { strokeStyle: f.line.color, lineWidth: f.line.width, miterLimit: 2 });
      ctx.setLineDash(dashes(f.line.dash, f.line.width));
      ctx.stroke();
      ctx.setLineDash([]);
    }
    if (f.mode.includes("markers")) markers(ctx, px, t.marker ?? {}, f.marker);
  },

  bar(ctx, t, f, xa, ya, gd) {
    const across = f.orientation === "h";
    const [pa, va] = across ? [ya, xa] : [xa, ya];
    const [sp, sv] = [scale(pa), scale(va)];
    const lengths = across ? t.x : t.y;
    const places = along(across ? t.y : t.x, across ? f.y0 : f.x0, across ? f.dy : f.dx, lengths.length);
    const { bargap, bargroupgap } = gd._fullLayout;
    const sorted = Float64Array.from(places).sort();
    const apart = sorted.slice(1).reduce((least, p, i) => (p > sorted[i] ? Math.min(least, p - sorted[i]) : least), Infinity);
    const usual = (Number.isFinite(apart) ? apart : 1) * (1 - bargap) * (1 - bargroupgap);
    const edge = f.marker.line.width;
    const color = colors(t.marker?.color, f.marker);
    const gapless = bargap === 0 && bargroupgap === 0;
    const bleed = ((edge ?? 0) / 2) % 1;
    const round = (v) => (gapless ? Math.round(v) - bleed : v); // plotly's pixel snapping
    const widen = (v, w) => (Math.abs(v - w) >= 2 ? round(v) : v > w ? Math.ceil(v) : Math.floor(v));
    Object.assign(ctx, { strokeStyle: f.marker.line.color, lineWidth: edge || 1 });
    ctx.globalAlpha *= f.marker.opacity ?? 1;
    for (let i = 0; i < lengths.length; i++) {
      const half = (isList(t.width) ? t.width[i] : f.width ?? usual) / 2;
      const base = (isList(t.base) ? t.base[i] : f.base) ?? 0;
      const floor = va.type === "log" && base <= 0 ? (across ? va._offset : va._offset + va._length) : sv(base);
      let [p0, p1, v0, v1] = [sp(places[i] - half), sp(places[i] + half), floor, sv(base + lengths[i])];
      if (p0 + p1 + v0 + v1 !== p0 + p1 + v0 + v1 || v0 === v1) continue;
      [p0, p1, v0, v1] = edge ? [round(p0), round(p1), round(v0), round(v1)] : [widen(p0, p1), widen(p1, p0), widen(v0, v1), widen(v1, v0)];
      ctx.beginPath();
      across ? ctx.rect(v0, p0, v1 - v0, p1 - p0) : ctx.rect(p0, v0, p1 - p0, v1 - v0);
      ctx.fillStyle = color(i);
      ctx.fill();
      if (edge) ctx.stroke();
    }
  },

  heatmap(ctx, t, f, xa, ya) {
    const [rows, columns] = [t.z.length, t.z[0]?.length ?? 0];
    if (!rows || !columns) return;
    const best = f.zsmooth === "best";
    // As plotly does: even cells are one pixel each in an image that is stretched over them all.
    const even = !best && (f.zsmooth || f._islinear);
    const x = (even ? stretch : cells)(edges(t.x, f.x0, f.dx, columns).map(scale(xa)), xa, best);
    const y = (even ? stretch : cells)(edges(t.y, f.y0, f.dy, rows).map(scale(ya)), ya, best);
    const [w, h] = [x.index.length, y.index.length];
    if (!w || !h) return;
    const table = ramp(f.colorscale, f.reversescale);
    const top = table.length - 1;
    const k = top / (f.zmax - f.zmin || 1);
    const shade = (z) => (z === z && z !== null ? table[Math.max(0, Math.min(top, Math.round((z - f.zmin) * k)))] : 0);
    const picture = sheet(w, h);
    const out = picture.words;
    for (let j = 0, at = 0; j < h; j++, at += w) {
      if (!best && j && y.index[j] === y.index[j - 1]) {
        out.copyWithin(at, at - w, at); // same row of cells
        continue;
      }
      const [r0, r1, v] = [t.z[y.index[j]], t.z[Math.min(y.index[j] + 1, rows - 1)], y.part[j]];
      for (let i = 0; i < w; i++) {
        const [c, u] = [x.index[i], x.part[i]];
        if (!best) out[at + i] = shade(r0[c]);
        else {
          const d = c + 1 < columns ? c + 1 : c;
          out[at + i] = shade((r0[c] * (1 - u) + r0[d] * u) * (1 - v) + (r1[c] * (1 - u) + r1[d] * u) * v);
        }
      }
    }
    picture.ctx.putImageData(picture.image, 0, 0);
    ctx.imageSmoothingEnabled = f.zsmooth === "fast";
    ctx.drawImage(picture.ctx.canvas, 0, 0, w, h, x.start, y.start, x.length, y.length);
  },
};

function fill(ctx, points, color) {
  ctx.beginPath();
  polygon(ctx, points);
  ctx.fillStyle = color;
  ctx.fill();
}

function markers(ctx, px, given, f) {
  const color = colors(given.color, f);
  const symbol = SYMBOLS[f.symbol];
  const edge = f.line?.width;
  const radius = !isList(given.size)
    ? () => f.size / 2
    : (i) => Math.max((f.sizemode === "area" ? Math.sqrt(given.size[i] / f.sizeref) : given.size[i] / f.sizeref) / 2, f.sizemin ?? 0);
  ctx.globalAlpha *= f.opacity ?? 1;
  if (edge) Object.assign(ctx, { strokeStyle: f.line.color, lineWidth: edge });
  for (let i = 0; i < px.length; i += 2) {
    if (px[i] + px[i + 1] !== px[i] + px[i + 1]) continue;
    ctx.beginPath();
    symbol(ctx, px[i], px[i + 1], radius(i / 2));
    ctx.fillStyle = color(i / 2);
    ctx.fill();
    if (edge) ctx.stroke();
  }
}

// One colour, a list of colours, or numbers on a colour scale.
function colors(given, f) {
  if (!isList(given)) return () => f.color;
  if (typeof given[0] === "string") return (i) => given[i];
  const table = ramp(f.colorscale, f.reversescale);
  const bytes = new Uint8Array(table.buffer);
  const top = table.length - 1;
  return (i) => {
    const at = 4 * Math.max(0, Math.min(top, Math.round(((given[i] - f.cmin) / (f.cmax - f.cmin || 1)) * top)));
    return `rgba(${bytes[at]},${bytes[at + 1]},${bytes[at + 2]},${bytes[at + 3] / 255})`;
  };
}

// A colour scale as 1024 RGBA words, made by the browser's own gradient.
const ramps = new WeakMap();
function ramp(colorscale, reverse) {
  if (!ramps.has(colorscale)) {
    const n = 1024;
    const ctx = Object.assign(document.createElement("canvas"), { width: n, height: 1 }).getContext("2d");
    const gradient = ctx.createLinearGradient(0.5, 0, n - 0.5, 0);
    for (const [at, color] of colorscale) gradient.addColorStop(reverse ? 1 - at : at, color);
    ctx.fillStyle = gradient;
    ctx.fillRect(0, 0, n, 1);
    ramps.set(colorscale, new Uint32Array(ctx.getImageData(0, 0, n, 1).data.buffer));
  }
  return ramps.get(colorscale);
}

// Where the n cells of a heatmap begin and end, given their centres or their n + 1 edges.
function edges(values, origin, step, n) {
  const at = along(values, origin, step, n);
  if (at.length > n) return Array.from(at);
  if (n === 1) return [at[0] - (step ?? 1) / 2, at[0] + (step ?? 1) / 2];
  const inner = Array.from({ length: n - 1 }, (_, i) => (at[i] + at[i + 1]) / 2);
  return [at[0] - (inner[0] - at[0]), ...inner, at[n - 1] + (at[n - 1] - inner[n - 2])];
}

// One pixel for each cell.
function stretch(exact) {
  const n = exact.length - 1;
  const index = Int32Array.from({ length: n }, (_, i) => (exact[n] > exact[0] ? i : n - 1 - i));
  const start = Math.min(exact[0], exact[n]);
  return { start, length: Math.round(Math.abs(exact[n] - exact[0])), index, part: new Float32Array(n) };
}

// One pixel for each of the screen: its cell and, smoothed, how far it is to the next one.
function cells(exact, axis, smooth) {
  const n = exact.length - 1;
  const corner = Math.min(exact[0], exact[n]);
  const px = exact.map((p) => Math.round(corner) + Math.round(p - corner));
  const [low, high] = [Math.min(px[0], px[n]), Math.max(px[0], px[n])];
  const start = Math.max(low, Math.floor(axis._offset));
  const length = Math.max(0, Math.min(high, Math.ceil(axis._offset + axis._length)) - start);
  const [index, part] = [new Int32Array(length), new Float32Array(length)];
  const rising = px[n] > px[0];
  for (let i = 0, cell = rising ? 0 : n - 1; i < length; i++) {
    const p = start + i;
    if (rising) while (cell < n - 1 && p >= px[cell + 1]) cell++;
    else while (cell > 0 && p >= px[cell]) cell--;
    index[i] = cell;
    if (smooth) {
      const place = Math.max(0, Math.min(n - 1, cell + (p - px[cell]) / (px[cell + 1] - px[cell]) - 0.5));
      index[i] = Math.floor(place);
      part[i] = place - index[i];
    }
  }
  return { start, length, index, part };
}

// One scratch image for all heatmaps of the same size.
const sheets = new Map();
function sheet(w, h) {
  const name = `${w}x${h}`;
  if (!sheets.has(name)) {
    if (sheets.size > 8) sheets.clear();
    const ctx = Object.assign(document.createElement("canvas"), { width: w, height: h }).getContext("2d");
    const image = ctx.createImageData(w, h);
    sheets.set(name, { ctx, image, words: new Uint32Array(image.data.buffer) });
  }
  return sheets.get(name);
}
