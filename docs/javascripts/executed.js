// An executed notebook is shown as tall as it is, so that the page scrolls and not a frame in it.
// Opened as a file, the browser forbids looking into the frame: it keeps the height of the style.
for (const frame of document.querySelectorAll("iframe.executed")) {
  const fit = () => {
    const page = frame.contentDocument?.documentElement;
    if (page?.scrollHeight) frame.style.height = `${page.scrollHeight}px`;
  };
  frame.addEventListener("load", () => {
    fit();
    const body = frame.contentDocument?.body;
    if (body) new ResizeObserver(fit).observe(body);
  });
  if (frame.contentDocument?.readyState === "complete") fit();
}
