// What is above a scene: the clock, the menu of colors, and a switch for each layer.

function clock(data, state, draw) {
  const last = data.times.length - 1;
  const slider = element("input", { type: "range", min: 0, max: last, step: 1, value: state.moment });
  slider.setAttribute("aria-label", data.clock);
  const said = element("output");
  const button = element("button", { type: "button" });
  let playing = null; // a token for each time that the button is pressed
  const label = () => {
    button.textContent = playing ? "❚❚ Pause" : "▶ Play";
    const first = Math.min(Math.floor(state.moment), last);
    const next = Math.min(first + 1, last);
    const time = data.times[first] + (state.moment - first) * (data.times[next] - data.times[first]);
    said.textContent = `${data.clock}: ${+time.toFixed(2)}`;
  };
  const show = (moment) => {
    state.moment = moment;
    slider.value = Math.round(moment);
    label();
    return draw();
  };
  const run = async (token) => {
    let before = performance.now();
    while (playing === token) {
      const now = await new Promise(requestAnimationFrame);
      if (playing !== token) return;
      const moment = Math.min(last, state.moment + (Math.max(0, now - before) / 1000 / SECONDS) * last);
      before = now;
      if (moment >= last) playing = null;
      await show(moment);
    }
  };
  button.addEventListener("click", () => {
    playing = playing ? null : {};
    if (playing && state.moment >= last) state.moment = 0;
    label();
    if (playing) run(playing);
  });
  slider.addEventListener("input", () => {
    playing = null;
    show(Number(slider.value));
  });
  label();
  return element("div", { className: "clock" }, button, slider, said);
}

function colorMenu(data, state, draw) {
  const labels = Object.keys(data.scales);
  if (!labels.length) return [];
  const menu = element("select", {}, new Option("plain colors", ""), ...labels.map((label) => new Option(label, label)));
  menu.value = state.color ?? "";
  menu.addEventListener("change", () => {
    state.color = menu.value || null;
    draw();
  });
  return [element("label", {}, "color by ", menu)];
}

function switches(layers, draw) {
  const boxes = layers.map((layer) => {
    const tick = element("input", { type: "checkbox", checked: layer.visible });
    tick.addEventListener("change", () => {
      layer.visible = tick.checked;
      draw();
    });
    const swatch = element("span");
    return element("label", {}, tick, swatch, layer.name);
  });
  return element("div", { className: "layers" }, ...boxes);
}

// The swatches of what is colored by a quantity show its scale.
function paint(section, layers, label, scale, colors) {
  section.querySelectorAll(".layers label span").forEach((swatch, k) => {
    const layer = layers[k];
    const scaled = Boolean(label && layer.quantities[label]);
    swatch.className = `swatch ${layer.strokes && !scaled ? layer.dash : "full"}`;
    swatch.style.color = colors.tone(layer.color);
    swatch.style.background = scaled ? `linear-gradient(to right, ${scale.colors.join(", ")})` : "";
  });
}
