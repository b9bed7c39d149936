// The table and the coordinates at once; the rest when plotly, which comes last, is there.

setUpFilter();
setUpTable();
setUpCoordinates();
draw("table");
addEventListener("DOMContentLoaded", () => {
  setUpHeatmap();
  setUpCurves();
  draw("page");
});
