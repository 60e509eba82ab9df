// Every layer as it answers the drawing, and what leads into the unit that is pointed at.
"use strict";

const UNIT = { least: 3, most: 19 }; // pixels a side of a unit without a map
const NUM_COLUMNS = 256; // pixels of a layer's picture from left to right, at most
const NUM_WEIGHTS = 30; // pixels of a picture of weights, likewise
const NUM_STRONGEST = 6; // connections that are named
const [ABOVE, BELOW] = [0x005ed5, 0xb27200]; // orange and blue: bytes of blue, green, red
const FRAMES = { pointed: "currentcolor", silenced: "#8c8c8c" };
const STEPS = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: (n) => -n, ArrowDown: (n) => n };

let views = []; // of each layer that computes something: its index, picture and slider
let pointed = null; // { layer, unit }
let answered = null; // what forward gave last, of the run looked at

// What can be broken, and a picture of each layer of a run.
function lookInto(run) {
  lookedAt = run;
  const { layers, reason } = runs[run];
  const push = (way) => act(way, ({ ways }) => ways.push(way));
  const buttons = (names, push) => names.map((name, k) => makeButton(name, () => push(name, k)));
  element("ways").replaceChildren(...buttons(Object.keys(WAYS), push));
  const names = runs.length > 1 ? runs.map((each) => each.run) : [];
  element("which").replaceChildren(...buttons(names, (_, k) => lookInto(k)));
  if (names.length) element("which").children[run].ariaPressed = true;
  element("untold").textContent = reason ? `It cannot be shown: ${reason}.` : "";
  [views, pointed] = [[], null];
  element("layers").replaceChildren(...(layers ?? []).map(makeLayer));
  startWhy();
  mend();
}

const makeButton = (text, onclick) => make("button", { onclick }, text);

// A picture of so many maps, or units without one, beside and below each other.
function makePicture(shape, most, properties) {
  const room = Math.floor(most / 2 / Math.sqrt(shape[0])) - 1; // few are as large as fingers like
  const side = Math.min(Math.max(room, UNIT.least), UNIT.most);
  const [count, height = side, width = side] = shape;
  const columns = Math.max(1, Math.min(count, Math.floor(most / (width + 1))));
  const canvas = make("canvas", {
    className: "map",
    width: columns * (width + 1) + 1,
    height: Math.ceil(count / columns) * (height + 1) + 1,
    ...properties,
  });
  canvas.style.width = `${(100 * canvas.width) / (most + 1)}%`; // one scale for all
  return { shape, canvas, columns, height, width };
}

function makeLayer({ name, code, kind, shape, weight }, index) {
  const size = make("small", {}, shape.join(" × "));
  const item = make("li", {}, make("code", {}, `${name}  ${code}`), size);
  if (kind === "as it is" || kind === "pixel by pixel") return item;
  const pointThere = (event) => pointAt(view, unitAt(view, event));
  const view = makePicture(shape, NUM_COLUMNS, {
    tabIndex: 0,
    role: "application",
    ariaLabel: `${name}: arrows choose a unit, Enter silences it, Z zeroes it`,
    onpointerdown: pointThere, // a finger does not hover
    onpointermove: pointThere,
    onclick: silence,
    onkeydown: (event) => steer(view, event),
    onfocus: () => pointed?.layer !== index && pointAt(view, 0),
  });
  views.push(Object.assign(view, { index }));
  if (weight && kind !== "scaling") {
    const range = { type: "range", min: 0, max: 2, step: 0.1 };
    const pull = ({ noise }) => (noise[index] = { share: +view.slider.value, seed: 1 });
    view.slider = make("input", { ...range, oninput: () => act(`noise${index}`, pull) });
    item.append(make("label", {}, "noise on its weights ", view.slider));
  }
  const half = Array.from({ length: Math.floor(shape[0] / 2) }, (_, k) => 2 * k + 1);
  const silenceHalf = () => act("half", ({ silenced }) => (silenced[index] = half));
  item.append(makeButton("silence every other", silenceHalf), view.canvas);
  return item;
}

function unitAt({ canvas, columns, height, width }, { offsetX, offsetY }) {
  const scale = canvas.width / canvas.clientWidth;
  const column = Math.min(columns - 1, Math.floor((offsetX * scale) / (width + 1)));
  return Math.floor((offsetY * scale) / (height + 1)) * columns + column;
}

function pointAt({ index, shape }, unit) {
  const before = pointed;
  pointed = { layer: index, unit: Math.min(Math.max(unit, 0), shape[0] - 1) };
  if (before?.layer === index && before.unit === pointed.unit) return;
  views.filter((each) => [index, before?.layer].includes(each.index)).forEach(showLayer);
  showUnit();
}

function steer(view, event) {
  const step = STEPS[event.key]?.(view.columns);
  if (step) pointAt(view, pointed.unit + step);
  else if (event.key === "Enter") silence();
  else if (event.key.toLowerCase() === "z") zero();
  else return;
  event.preventDefault();
}

// What the run looked at has computed; null: nothing.
function showInside(pass) {
  answered = pass;
  const { probs } = digits[chosen]?.[lookedAt] ?? {};
  element("verdict").textContent = pass ? named(runs[lookedAt], pass.probs) : "";
  element("was").textContent = pass && isBroken() ? `whole: ${named(runs[lookedAt], probs)}` : "";
  for (const id of ["undo", "whole"]) element(id).disabled = !former.length;
  views.forEach(showLayer);
  showUnit();
}

function showLayer(view) {
  const { index, slider } = view;
  if (slider) slider.value = broken.noise[index]?.share ?? 0;
  picture(view, answered?.layers[index].values ?? []);
  const silenced = broken.silenced[index] ?? [];
  for (const unit of silenced) frame(view, unit, FRAMES.silenced);
  if (pointed?.layer === index) frame(view, pointed.unit, FRAMES.pointed);
}

// Map by map: orange above 0, blue below, the stronger the larger.
function picture({ canvas, shape, columns, height, width }, values) {
  const pixels = new ImageData(canvas.width, canvas.height);
  const colors = new Uint32Array(pixels.data.buffer);
  const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
  for (let i = 0; values.length && i < shape[0] * height * width; i += 1) {
    const value = shape.length > 1 ? values[i] : values[Math.floor(i / (height * width))];
    const [unit, y] = [Math.floor(i / (height * width)), Math.floor(i / width) % height];
    const row = Math.floor(unit / columns) * (height + 1) + 1 + y;
    const at = row * canvas.width + (unit % columns) * (width + 1) + 1 + (i % width);
    colors[at] = ((255 * Math.abs(value)) / most << 24) | (value > 0 ? ABOVE : BELOW);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function frame({ canvas, columns, height, width }, unit, color) {
  const context = canvas.getContext("2d");
  context.strokeStyle = color;
  const [left, top] = [unit % columns, Math.floor(unit / columns)];
  context.strokeRect(left * (width + 1) + 0.5, top * (height + 1) + 0.5, width + 1, height + 1);
}

// The layer whose weights lead into what is pointed at: its own, or those of the layer before it
// that has as many units; -1: there is none.
function leading() {
  const { layers } = runs[lookedAt];
  const { shape } = layers[pointed.layer];
  let from = pointed.layer;
  while (layers[from]?.shape[0] === shape[0] && !(layers[from].weightShape?.length > 1)) from -= 1;
  return layers[from]?.shape[0] === shape[0] ? from : -1;
}

const silence = () => toggle("silenced", pointed.layer, pointed.unit);
const zero = () => leading() >= 0 && toggle("zeroed", leading(), pointed.unit);

// The unit that is pointed at: its value, its weights as a picture, its strongest connections.
function showUnit() {
  element("unit").hidden = !pointed;
  if (!pointed) return;
  const { layers, class_names: names } = runs[lookedAt];
  const { layer, unit } = pointed;
  const mine = partOf(answered?.layers[layer].values ?? [], layers[layer].shape[0], unit);
  const what = mine.length > 1 ? "largest value" : "value";
  const value = mine.length ? `, ${what} ${largest(mine).toFixed(2)}` : "";
  const stands = layer === layers.length - 1 ? ` for ${names[unit]}` : "";
  element("name").textContent = `${layers[layer].name}, unit ${unit}${stands}${value}`;
  const from = leading();
  element("silence").ariaPressed = broken.silenced[layer]?.includes(unit) ?? false;
  element("zero").ariaPressed = broken.zeroed[from]?.includes(unit) ?? false;
  element("zero").hidden = from < 0;
  element("weights").replaceChildren();
  element("strongest").replaceChildren();
  if (from >= 0) showWeights((answered?.layers ?? layers)[from], from, unit);
}

const partOf = (values, numParts, k) =>
  values.slice((k * values.length) / numParts, ((k + 1) * values.length) / numParts);

function showWeights({ weight, weightShape: [count, maps, high, wide] }, from, unit) {
  const weights = partOf(weight, count, unit);
  const isOfPixels = !high && weights.length === FIELD ** 2;
  if (high || isOfPixels) {
    const view = makePicture(isOfPixels ? [1, FIELD, FIELD] : [maps, high, wide], NUM_WEIGHTS);
    picture(view, weights);
    element("weights").append(view.canvas);
  }
  const given = answered?.layers[from - 1]?.values;
  if (high || !given) return;
  const parts = Array.from(weights, (each, i) => ({ i, each, part: each * given[i] }));
  parts.sort((a, b) => Math.abs(b.part) - Math.abs(a.part));
  const place = (i) => (isOfPixels ? `pixel ${i % 28}, ${Math.floor(i / 28)}` : `unit ${i}`);
  const text = ({ i, each, part }) =>
    `${part.toFixed(2)} = ${each.toFixed(2)} × ${given[i].toFixed(2)} of ${place(i)}`;
  const strongest = parts.slice(0, NUM_STRONGEST).map((each) => make("li", {}, text(each)));
  element("strongest").append(...strongest);
}
