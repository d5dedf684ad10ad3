// How plotly draws a layer of a scene at a moment: points, strokes of a pen, or a surface.

const BLACK = "#000000";

// Values of shape (T, …) at a moment, which may lie between two of them.
function at({ values, shape }, moment) {
  const size = values.length / shape[0];
  const first = Math.min(Math.floor(moment), shape[0] - 1);
  const before = values.subarray(first * size, (first + 1) * size);
  const part = moment - first;
  if (part <= 0 || first + 1 >= shape[0]) return before;
  const after = values.subarray((first + 1) * size, (first + 2) * size);
  return before.map((value, k) => (1 - part) * value + part * after[k]);
}

function columns(rows, d) {
  const n = rows.length / d;
  return Array.from({ length: d }, (_, j) => Float32Array.from({ length: n }, (_, k) => rows[k * d + j]));
}

// The colors of a scale for plotly; what is not a number takes the place below the lowest, which is black.
function colorscale({ colors, lo, hi, gaps }) {
  const room = gaps ? 0.02 : 0;
  const stops = colors.map((color, k) => [room + ((1 - room) * k) / (colors.length - 1), color]);
  return {
    stops: gaps ? [[0, BLACK], [room, BLACK], ...stops] : stops,
    cmin: lo - (room * (hi - lo)) / (1 - room),
    cmax: hi,
  };
}

function onScale(values, scale) {
  const lowest = colorscale(scale).cmin;
  return Float32Array.from(values, (value) => (Number.isFinite(value) ? value : lowest));
}

function shade(value, { colors, lo, hi }) {
  if (!Number.isFinite(value)) return colors.length;
  return Math.max(0, Math.min(colors.length - 1, Math.round(((value - lo) / (hi - lo)) * (colors.length - 1))));
}

// One trace for each color: plotly gives a plane line one color only.
function shadedStrokes(base, walk, xyz, values, scale) {
  const traces = [...scale.colors, BLACK].map((color) => ({
    ...base, x: [], y: [], line: { ...base.line, color, dash: "solid" },
  }));
  let last = -1;
  for (let k = 1; k < walk.length; k++) {
    const [a, b] = [walk[k - 1], walk[k]];
    if (a < 0 || b < 0) {
      last = -1;
      continue;
    }
    const color = shade((values[a] + values[b]) / 2, scale);
    const { x, y } = traces[color];
    if (color !== last) {
      x.push(null, xyz[0][a]);
      y.push(null, xyz[1][a]);
    }
    x.push(xyz[0][b]);
    y.push(xyz[1][b]);
    last = color;
  }
  return traces;
}

function strokeTraces(layer, base, xyz, values, scale) {
  const line = { color: base.color, width: layer.size ?? (xyz.length === 3 ? 4 : 2.2), dash: layer.dash };
  const common = { ...base.common, mode: "lines", hoverinfo: "skip", line };
  const walk = layer.strokes.values;
  if (values && xyz.length === 2) return shadedStrokes(common, walk, xyz, values, scale);
  const [x, y, z] = xyz.map((column) => Array.from(walk, (k) => (k < 0 ? null : column[k])));
  if (values) {
    const known = onScale(values, scale);
    Object.assign(line, { color: Array.from(walk, (k) => known[Math.max(k, 0)]), coloraxis: "coloraxis", dash: "solid" });
  }
  return [{ ...common, x, y, ...(z && { z }) }];
}

function pointTrace(layer, base, [x, y, z], values, scale) {
  const size = layer.size ?? Math.max(2.5, Math.min(7, Math.sqrt(8000 / x.length)));
  const marker = { size, symbol: layer.symbol, color: base.color, opacity: layer.opacity };
  if (values) Object.assign(marker, { color: onScale(values, scale), coloraxis: "coloraxis" });
  const number = values ? "<br>%{marker.color:.4g}" : "";
  const hovertemplate = `(%{x:.4g}, %{y:.4g}${z ? ", %{z:.4g}" : ""})${number}`;
  return { ...base.common, opacity: 1, mode: "markers", marker, hovertemplate, x, y, ...(z && { z }) };
}

function surfaceTrace(layer, base, [x, y, z], values, scale) {
  const [i, j, k] = layer.corners;
  const trace = {
    ...base.common, type: "mesh3d", x, y, z, i, j, k, color: base.color, flatshading: false,
    // Colors that mean numbers keep more of themselves in the shade.
    lighting: { ambient: values ? 0.75 : 0.5, diffuse: values ? 0.4 : 0.65, specular: 0.05, roughness: 0.8, fresnel: 0.05 },
    hovertemplate: `(%{x:.4g}, %{y:.4g}, %{z:.4g})${values ? "<br>%{intensity:.4g}" : ""}`,
  };
  return values ? { ...trace, intensity: onScale(values, scale), coloraxis: "coloraxis", showscale: false } : trace;
}

// The traces of a layer; label is the quantity that colors, or null.
function layerTraces(layer, moment, label, scale, colors) {
  const d = layer.positions.shape[2];
  const xyz = columns(at(layer.positions, moment), d);
  const values = label && layer.quantities[label] ? at(layer.quantities[label], moment) : null;
  const color = colors.tone(layer.color);
  const common = { type: d === 3 ? "scatter3d" : "scatter", name: literal(layer.name), opacity: layer.opacity, showlegend: false };
  const base = { color, common };
  if (layer.corners) return [surfaceTrace(layer, base, xyz, values, scale)];
  if (layer.strokes) return strokeTraces(layer, base, xyz, values, scale);
  return [pointTrace(layer, base, xyz, values, scale)];
}
