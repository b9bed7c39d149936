// Between the page and the kernel: frames come in, acknowledgements go out, plotly.js comes once.

// All figures on the page, whichever copy of this module each of them runs.
const FIGURES = (globalThis[Symbol.for("labkit.live-figures")] ??= new Set());

// Connects one figure with its kernel.
// `receive(frame, buffers, sent)` gets its frames; `shown()` is the number of the one on screen.
export function connect(model, receive, shown) {
  let acked = 0;
  // A message may bring the frames of several figures, so that one repaint of the page shows them.
  const message = (content, buffers) => {
    if (content.plotly) evaluate(content.plotly, buffers[0]);
    for (const frame of content.frames ?? []) {
      for (const figure of FIGURES) {
        if (figure.id === frame.id) figure.receive(frame, buffers.slice(frame.first), content.sent);
      }
    }
  };
  const connection = {
    id: model.get("_id"),
    manager: model.widget_manager,
    receive,
    collectAck(acks) {
      const n = shown();
      if (acked !== n) acks[connection.id] = Math.max((acked = n), acks[connection.id] ?? 0);
    },
    unacknowledged: () => shown() - acked,
    // One message acknowledges what all figures of this kernel show.
    acknowledge() {
      const acks = {};
      for (const figure of FIGURES) if (figure.manager === connection.manager) figure.collectAck(acks);
      model.send({ acks });
    },
    close() {
      model.off("msg:custom", message);
      FIGURES.delete(connection);
    },
  };
  model.on("msg:custom", message);
  FIGURES.add(connection);
  return connection;
}

// plotly.js, once per page: its 4.8 MB are too large for the state of each widget (and for each saved
// notebook). The first figure on a page requests it from the kernel; all others, in any notebook,
// share what came.

const slot = (version) =>
  (globalThis[Symbol.for(`labkit.plotly@${version}`)] ??= (() => {
    let resolve;
    const library = new Promise((done) => (resolve = done));
    return { library, resolve, evaluating: false, requested: -Infinity, pause: 5000 };
  })());

export function loadPlotly(model) {
  const shared = slot(model.get("_plotly"));
  const request = () => {
    // The figure that sent the last request may be gone, or its kernel dead: then this one sends another.
    if (shared.evaluating || performance.now() - shared.requested < shared.pause) return;
    if (shared.requested > 0) shared.pause *= 2; // a busy kernel answers late: do not pile up requests
    shared.requested = performance.now();
    model.send({ want: "plotly" });
  };
  request();
  const again = setInterval(request, 1000);
  return shared.library.finally(() => clearInterval(again));
}

async function evaluate(version, zipped) {
  const shared = slot(version);
  if (shared.evaluating) return;
  shared.evaluating = true;
  const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"));
  const text = await new Response(stream).text();
  // UMD in a module of its own: no global Plotly, and no conflict with Voilà's require.js.
  const parts = ["const module={exports:{}},exports=module.exports;let define;\n", text, "\nexport default module.exports;"];
  const url = URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
  shared.resolve((await import(url)).default);
  URL.revokeObjectURL(url);
}
