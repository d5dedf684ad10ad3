// Two pictures in one place, a bar between them, and a slider for the slice.

function swipe(section, data) {
  const stack = section.querySelector(".stack");
  const [right, left] = ["right", "left"].map((side) => stack.querySelector(`img.${side}`));
  const names = Object.keys(data.pictures);
  const state = { left: data.shown[0], right: data.shown[1], moment: data.start };
  const show = () => {
    const slice = Math.round(state.moment);
    for (const [side, image] of [["left", left], ["right", right]]) {
      const pictures = data.pictures[state[side]];
      const source = pictures[Math.min(slice, pictures.length - 1)];
      if (image.getAttribute("src") !== source) image.src = source;
      image.alt = `${state[side]}, ${data.slices[slice]}`;
      stack.querySelector(`.name.${side}`).textContent = state[side];
    }
  };
  const bar = element("input", { type: "range", min: 0, max: 100, step: 0.5, value: 50, className: "divider" });
  bar.setAttribute("aria-label", "where the pictures meet, from left to right");
  const move = () => stack.style.setProperty("--part", `${bar.value}%`);
  bar.addEventListener("input", move);
  stack.append(bar);
  section.querySelector(".controls").append(
    ...(names.length > 2 ? ["left", "right"].map((side) => pictureMenu(side, names, state, show)) : []),
    ...(data.times ? [clock(data, state, show)] : data.slices.length > 1 ? [sliceSlider(data, state, show)] : []),
  );
  show();
  move();
}

function pictureMenu(side, names, state, show) {
  const menu = element("select", {}, ...names.map((name) => new Option(name, name)));
  menu.value = state[side];
  menu.addEventListener("change", () => {
    state[side] = menu.value;
    show();
  });
  return element("label", {}, `${side} `, menu);
}

function sliceSlider(data, state, show) {
  const slider = element("input", { type: "range", min: 0, max: data.slices.length - 1, step: 1, value: state.moment });
  slider.setAttribute("aria-label", "slice");
  const said = element("output", { textContent: data.slices[state.moment] });
  slider.addEventListener("input", () => {
    state.moment = Number(slider.value);
    said.textContent = data.slices[state.moment];
    show();
  });
  return element("div", { className: "clock" }, slider, said);
}
