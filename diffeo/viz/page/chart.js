// Curves over an axis.

const DASHES = ["solid", "dash", "dashdot", "dot", "longdash", "longdashdot"];
const SYMBOLS = ["circle", "square", "diamond", "cross", "triangle-up", "star"];

function chart(section, data) {
  const box = section.querySelector(".plot");
  box.setAttribute("aria-label", section.querySelector("h2").textContent);
  const traces = (colors) => data.series.map(({ name, x, y, color }, k) => ({
    type: "scatter", name: literal(name), x, y, mode: data.points ? "markers" : x.length < 4 ? "lines+markers" : "lines",
    line: { color: colors.tone(color), width: 2.2, dash: DASHES[k % DASHES.length] },
    marker: { color: colors.tone(color), size: 7, symbol: SYMBOLS[k % SYMBOLS.length] },
    hovertemplate: `%{x:.4g}, %{y:.4g}<extra>${literal(name)}</extra>`,
  }));
  const draw = oneByOne(() => {
    const colors = theme();
    const axis = { automargin: true, gridcolor: colors.line, linecolor: colors.faint, ticks: "outside", tickcolor: colors.line, zeroline: false };
    return Plotly.react(box, traces(colors), {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", uirevision: "keep",
      font: { color: colors.ink, family: FONT, size: 12 }, margin: { l: 65, r: 15, t: 35, b: 50 },
      showlegend: data.series.length > 1, legend: { orientation: "h", x: 1, xanchor: "right", y: data.marks.length ? 1.05 : 1, yanchor: "bottom" },
      xaxis: { ...axis, title: { text: literal(data.xlabel) } },
      yaxis: { ...axis, title: { text: literal(data.ylabel), standoff: 10 }, type: data.log ? "log" : "linear", exponentformat: "power" },
      shapes: data.marks.map(({ x }) => ({
        type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color: colors.faint, width: 1, dash: "dot" },
      })),
      annotations: data.marks.map(({ x, name }) => ({
        x, y: 1, yref: "paper", text: literal(name), showarrow: false, xanchor: "left", yanchor: "bottom", font: { size: 10 },
      })),
    }, { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"] });
  });
  drawn.push(draw);
  return draw();
}
