// Paints plotly figures as they arrive from a kernel in which a network trains.
//
// Plotly.react costs 12 to 36 ms a figure: too much for two figures at 30 frames/s beside a
// training thread. Yet between two frames only the data differs, and drawing those on a 2-D canvas
// costs under a millisecond. So plotly draws the frame (axes, legend, titles) when anything but data
// changes; while frames stream, a canvas over the plot area shows the traces and plotly's own stay
// hidden; and when the stream pauses, plotly draws once more and the canvas is hidden.

import { axes, paintable, paintTraces } from "./canvas.js";
import { merge, revive, withoutData } from "./specs.js";
import { COLORS, settings, theme } from "./theme.js";
import { connect, loadPlotly } from "./transport.js";

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
    let request = 0;
    let timer = 0;
    let width = 0;
    let top = null; // the margin that plotly left for the legend
    let config = null; // one object for good: when it changes, plotly forgets zooms and starts anew

    // -- frames in ---------------------------------------------------------------------------

    const receive = ({ n, spec }, buffers, sent) => {
      if (n < newest) return;
      newest = n;
      const now = performance.now();
      waiting = { n, sent, spec, buffers, streaming: now - arrived < STILL_MS }; // newest wins
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
    const connection = connect(model, receive, () => shown?.n ?? 0);

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
      if (connection.unacknowledged() >= ACK_EVERY) connection.acknowledge();
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
      if (connection.unacknowledged()) connection.acknowledge();
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
    const restyled = new MutationObserver(redraw);
    restyled.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
    size.observe(el);
    model.on("change:height", redraw);
    let gone = false;
    loadPlotly(model).then((library) => {
      if (gone) return;
      Plotly = library;
      model.send({ ready: view });
      schedule();
    });

    return () => {
      gone = true;
      size.disconnect();
      restyled.disconnect();
      clearTimeout(timer);
      cancelAnimationFrame(request);
      connection.close();
      model.off("change:height", redraw);
      if (Plotly) {
        Plotly.purge(gd);
        model.send({ gone: view });
      }
    };
  },
};
