// Layers that move, with a slider, switches, and a menu of what colors them.

const SECONDS = 4; // from the first moment to the last

function scene(section, data) {
  const flat = data.bounds[0].length === 2;
  if (!flat && !hasWebGL())
    return say(section, "This browser shows no WebGL, which shapes in space need: switch it on, or open the page in another one.");
  const layers = data.layers.map(opened);
  const state = { moment: data.start, color: data.color };
  const box = section.querySelector(".plot");
  box.setAttribute("aria-label", section.querySelector("h2").textContent);
  const config = { displaylogo: false, responsive: true, scrollZoom: !flat, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
  const draw = oneByOne(async () => {
    const colors = theme();
    const scale = data.scales[state.color];
    paint(section, layers, state.color, scale, colors);
    const shown = layers.filter((layer) => layer.visible);
    const traces = shown.flatMap((layer) => layerTraces(layer, state.moment, state.color, scale, colors));
    const { moment } = state;
    if (narrow(box) !== state.narrow) {
      // plotly leaves parts of a color bar behind that is turned
      for (const bar of box.querySelectorAll(".colorbar")) bar.remove();
      state.narrow = narrow(box);
    }
    await Plotly.react(box, [...traces, ...scaleTrace(flat, scale)], sceneLayout(data, flat, state, colors), config);
    box.dataset.moment = moment; // that which is seen now
  });
  section.querySelector(".controls").append(
    ...(data.times.length > 1 ? [clock(data, state, draw)] : []),
    ...colorMenu(data, state, draw),
    switches(layers, draw),
  );
  drawn.push(draw);
  let wide = box.clientWidth;
  new ResizeObserver(() => {
    if (box.clientWidth !== wide) {
      wide = box.clientWidth;
      draw();
    }
  }).observe(box);
  return draw();
}

function opened(layer) {
  const found = { ...layer, positions: unpacked(layer.positions), quantities: {} };
  for (const [label, values] of Object.entries(layer.quantities)) found.quantities[label] = unpacked(values);
  if (layer.strokes) found.strokes = unpacked(layer.strokes);
  if (layer.faces) {
    const { values } = unpacked(layer.faces);
    found.corners = [0, 1, 2].map((c) => Int32Array.from({ length: values.length / 3 }, (_, f) => values[3 * f + c]));
  }
  return found;
}

// A point that nobody sees carries the color bar: plane lines have none.
function scaleTrace(flat, scale) {
  if (!flat || !scale) return [];
  const marker = { color: [scale.lo], coloraxis: "coloraxis" };
  return [{ type: "scatter", mode: "markers", x: [null], y: [null], marker, hoverinfo: "skip", showlegend: false }];
}

function narrow(box) {
  return box.clientWidth < 600;
}

function sceneLayout(data, flat, state, colors) {
  const scale = data.scales[state.color];
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", uirevision: "keep",
    font: { color: colors.ink, family: FONT, size: 12 },
    margin: flat ? { l: 60, r: 20, t: 30, b: 50 } : { l: 0, r: 0, t: 0, b: 0 },
    hoverlabel: { font: { family: FONT } },
  };
  if (scale) layout.coloraxis = colorAxis(state.color, scale, state.narrow, flat);
  const sides = data.bounds[0].map((lo, k) => Math.max(data.bounds[1][k] - lo, 1e-9));
  const longest = Math.max(...sides);
  const axes = sides.map((side, k) => {
    const ticks = flat ? 8 : Math.max(2, Math.round((6 * side) / longest));
    return sceneAxis(data.bounds[0][k], side, ticks, data.axes[k] ?? "", colors);
  });
  if (flat) {
    Object.assign(layout, { xaxis: axes[0], yaxis: { ...axes[1], ...(data.equal && { scaleanchor: "x" }) } });
    return layout;
  }
  const [x, y, z] = sides.map((side) => Math.max(side / longest, 0.02));
  const reach = 1.2 * Math.hypot(x, y, z) * (state.narrow ? 1.25 : 1);
  const [ex, ey, ez] = data.eye.from.map((part) => part * reach);
  const [ux, uy, uz] = data.eye.up;
  layout.scene = {
    xaxis: axes[0], yaxis: axes[1], zaxis: axes[2], aspectmode: "manual", aspectratio: { x, y, z },
    // the names of the axes are below the box, which is therefore a little above the middle
    camera: { eye: { x: ex, y: ey, z: ez }, up: { x: ux, y: uy, z: uz }, center: lowered(data.eye.up, 0.07 * reach) },
    dragmode: "orbit",
    domain: { y: [scale && state.narrow ? 0.17 : 0, 1] },
  };
  return layout;
}

function lowered([x, y, z], by) {
  return { x: -by * x, y: -by * y, z: -by * z };
}

function sceneAxis(lo, side, ticks, name, colors) {
  const room = 0.04 * side;
  return {
    range: [lo - room, lo + side + room], title: { text: literal(name) }, gridcolor: colors.line, linecolor: colors.line,
    zeroline: false, showbackground: false, showspikes: false, nticks: ticks,
  };
}

function colorAxis(label, scale, narrow, flat) {
  const { stops, cmin, cmax } = colorscale(scale);
  const text = literal(label);
  const place = narrow
    ? { orientation: "h", y: flat ? -0.26 : 0, yanchor: flat ? "top" : "bottom", x: 0.5, len: 0.9, title: { text, side: "top" } }
    : { x: 1.01, len: 0.8, title: { text, side: "right" } };
  return { colorscale: stops, cmin, cmax, colorbar: { thickness: 14, outlinewidth: 0, ...place } };
}
