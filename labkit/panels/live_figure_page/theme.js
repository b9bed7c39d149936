// How a figure looks where its spec says nothing: colours and the bar of buttons.

// The same colours for a plain dict as for a go.Figure, which brings them in its default template.
export const COLORS = [
  "#636efa", "#EF553B", "#00cc96", "#ab63fa", "#FFA15A", "#19d3f3", "#FF6692", "#B6E880", "#FF97FF", "#FECB52",
];

// The theme is a plotly template made of JupyterLab's colours: whatever a figure says itself wins.
export function theme(el, title) {
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

export const settings = (Plotly, el) => ({
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
