// Paints traces on a 2-D canvas, as plotly would paint them.
//
// Scales and defaults come from plotly itself (`_fullData`, `_fullLayout`): they are not documented,
// but they are the only record of what plotly decided, and the plotly.js that runs here is the one
// installed with labkit. What the canvas cannot paint exactly is left to plotly: see `paintable`.

const ORDER = ["heatmap", "bar", "scatter"]; // plotly's layers, bottom first
const axisOf = (gd, id) => gd._fullLayout[id.replace(/^[xy]/, "$&axis")];
export const axes = (gd) => gd._fullData.filter((f) => f.visible === true).flatMap((f) => [axisOf(gd, f.xaxis), axisOf(gd, f.yaxis)]);
const isList = (value) => Array.isArray(value) || ArrayBuffer.isView(value);
const drawnBars = (gd) => gd._fullData.filter((f) => f.type === "bar" && f.visible === true);

// Whether the canvas can show exactly what plotly would.
export function paintable(gd) {
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

export function paintTraces(ctx, gd, data) {
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
