"use strict";
// What all panels share: numbers, plotly, the theme, and who draws which section.

const ARRAYS = { float32: Float32Array, int32: Int32Array };
const FONT = "Arial, Helvetica, sans-serif"; // plotly's text in space needs one by name
const drawn = []; // functions that draw a plot again, in the colors of the theme

function bytes(base64) {
  const letters = atob(base64);
  const found = new Uint8Array(letters.length);
  for (let k = 0; k < found.length; k++) found[k] = letters.charCodeAt(k);
  return found;
}

// {type, shape, data} as Python packed it; little-endian, as all machines are that have a browser.
function unpacked({ type, shape, data }) {
  return { values: new ARRAYS[type](bytes(data).buffer), shape };
}

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

// Plotly reads tags in what it writes; names mean what they say.
function literal(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function say(section, sentence) {
  const box = section.querySelector(".plot, .stack");
  box.replaceWith(element("p", { className: "sorry", textContent: sentence }));
  section.querySelector(".controls")?.remove();
}

// Colors of text and lines, from the style sheet: they differ between light and dark, and on paper.
function theme() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  const lighter = of("dark") ? { "#0072B2": "#3b9fe0", "#007A5A": "#22b48c" } : {}; // what is too dark for a dark page
  const tone = (color) => (color === "ink" ? of("ink") : (lighter[color] ?? color));
  return { ink: of("ink"), faint: of("faint"), line: of("line"), tone };
}

function hasWebGL() {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
}

async function inflatePlotly() {
  const packed = document.getElementById("plotly");
  if (!packed) return;
  const stream = new Blob([bytes(packed.textContent)]).stream().pipeThrough(new DecompressionStream("deflate"));
  document.head.append(element("script", { textContent: await new Response(stream).text() }));
  packed.remove();
}

// One drawing at a time, and the last word is drawn: a slider asks faster than surfaces are drawn.
function oneByOne(draw) {
  let running = null;
  let again = false;
  return () => {
    again = true;
    running ??= (async () => {
      while (again) {
        again = false;
        await draw();
      }
    })().finally(() => (running = null));
    return running;
  };
}

function redraw() {
  for (const draw of drawn) draw();
}

async function start() {
  const sections = [...document.querySelectorAll("section")].filter((s) => s.querySelector("script"));
  const functions = { scene, chart, swipe };
  let problem = "";
  try {
    await inflatePlotly();
  } catch (error) {
    problem = `This browser is too old to draw this part of the page (${error.message}).`;
  }
  for (const section of sections) {
    const data = JSON.parse(section.querySelector("script").textContent);
    if (problem && section.querySelector(".plot")) say(section, problem);
    else await functions[section.dataset.kind](section, data);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  for (const [event, paper] of [["beforeprint", true], ["afterprint", false]])
    addEventListener(event, () => {
      document.documentElement.classList.toggle("paper", paper);
      for (const details of document.querySelectorAll("details")) details.open = paper;
      redraw();
    });
  document.documentElement.dataset.ready = "yes";
}
