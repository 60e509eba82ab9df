// Every layer as it answers the drawing, and what leads into the unit that is pointed at.
"use strict";

const UNIT = { least: 3, most: 19 }; // pixels a side of a unit without a map
const NUM_COLUMNS = 256; // pixels of a layer's picture from left to right, at most
const NUM_STRONGEST = 6; // connections that are named
const COLORS = { above: [213, 94, 0], below: [0, 114, 178], off: [140, 140, 140] };
const STEPS = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: (n) => -n, ArrowDown: (n) => n };

let views = []; // of each layer that computes something: its index, shape, canvas, columns, slider
let pointed = null; // { layer, unit }
let answered = null; // what forward gave last, of the run looked at

// What can be broken, and a picture of each layer of the run looked at.
function startInside() {
  const { layers, reason } = runs[lookedAt];
  element("ways").replaceChildren(
    ...Object.keys(WAYS).map((way) => button(way, () => act(way, ({ ways }) => ways.push(way)))),
  );
  element("mend").replaceChildren(button("undo", undo), button("mend all", mend));
  element("which").hidden = runs.length < 2;
  element("which").replaceChildren(...runs.map(({ run }, k) => button(run, () => lookInto(k))));
  element("which").children[lookedAt].classList.add("chosen");
  element("untold").textContent = reason ? `It cannot be shown: ${reason}.` : "";
  [views, pointed] = [[], null];
  element("layers").replaceChildren(...(layers ?? []).map(makeLayer));
  startWhy();
  mend();
}

function lookInto(run) {
  lookedAt = run;
  startInside();
}

function button(text, onclick) {
  return Object.assign(make("button", "", text), { type: "button", onclick });
}

function makeLayer({ name, code, kind, shape, weight }, index) {
  const head = make("code", "", `${name}  ${code}`);
  const item = make("li", "", head, make("span", "note", shape.join(" × ")));
  if (kind === "as it is" || kind === "pixel by pixel") return item;
  const room = Math.floor(NUM_COLUMNS / shape[0]) - 1; // few units are as large as fingers like
  const side = Math.min(Math.max(room, UNIT.least), UNIT.most);
  const [, height = side, width = side] = shape;
  const columns = Math.max(1, Math.min(shape[0], Math.floor(NUM_COLUMNS / (width + 1))));
  const canvas = Object.assign(make("canvas", "map"), {
    width: columns * (width + 1) + 1,
    height: Math.ceil(shape[0] / columns) * (height + 1) + 1,
    tabIndex: 0,
    onpointerdown: (event) => pointAt(view, unitAt(view, event)), // a finger does not hover
    onpointermove: (event) => pointAt(view, unitAt(view, event)),
    onclick: (event) => toggle("silenced", index, unitAt(view, event)),
    onkeydown: (event) => steer(view, event),
    onfocus: () => pointed?.layer !== index && pointAt(view, 0),
  });
  canvas.style.width = `${(100 * canvas.width) / (NUM_COLUMNS + 1)}%`; // one scale for all layers
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", `${name}: arrows choose a unit, Enter silences it, Z zeroes it`);
  const view = { index, shape, canvas, columns, height, width, slider: null };
  views.push(view);
  if (weight && kind !== "scaling") {
    const range = { type: "range", min: 0, max: 2, step: 0.1, value: 0 };
    view.slider = Object.assign(document.createElement("input"), range, {
      oninput: ({ target: { value } }) =>
        act(`noise${index}`, ({ noise }) => (noise[index] = { share: +value, seed: 1 })),
    });
    item.append(make("label", "note", "noise on its weights ", view.slider));
  }
  const half = () => act("half", ({ silenced }) => (silenced[index] = everyOther(shape[0])));
  item.append(button("silence every other", half), canvas);
  return item;
}

function everyOther(count) {
  return Array.from({ length: Math.floor(count / 2) }, (_, k) => 2 * k + 1);
}

function unitAt({ canvas, columns, height, width, shape }, { offsetX, offsetY }) {
  const scale = canvas.width / canvas.clientWidth;
  const column = Math.min(columns - 1, Math.floor((offsetX * scale) / (width + 1)));
  return Math.min(shape[0] - 1, Math.floor((offsetY * scale) / (height + 1)) * columns + column);
}

function pointAt({ index, shape }, unit) {
  pointed = { layer: index, unit: Math.min(Math.max(unit, 0), shape[0] - 1) };
  views.forEach(drawLayer);
  showUnit();
}

function steer(view, event) {
  const step = STEPS[event.key]?.(view.columns);
  if (step) pointAt(view, pointed.unit + step);
  else if (event.key === "Enter") toggle("silenced", view.index, pointed.unit);
  else if (event.key === "z" || event.key === "Z") zero();
  else return;
  event.preventDefault();
}

function showInside() {
  const layers = runs[lookedAt]?.layers;
  answered = layers && digits[chosen] ? forward(layers, changedImage(), broken) : null;
  views.forEach(drawLayer);
  for (const { slider, index } of views) if (slider) slider.value = broken.noise[index]?.share ?? 0;
  showUnit();
}

// Map by map: orange above 0, blue below, the stronger the larger; a frame around the one that is
// pointed at and, in grey, around those that are silenced.
function drawLayer({ index, canvas, columns, height, width, shape }) {
  const pixels = new ImageData(canvas.width, canvas.height);
  const values = answered?.layers[index].values ?? new Float32Array();
  const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
  const silenced = new Set(broken.silenced[index]);
  for (let unit = 0; unit < shape[0]; unit += 1) {
    const left = (unit % columns) * (width + 1);
    const top = Math.floor(unit / columns) * (height + 1);
    const isPointed = pointed?.layer === index && pointed.unit === unit;
    const frame = isPointed ? COLORS.above : silenced.has(unit) ? COLORS.off : null;
    for (let y = frame ? 0 : 1; y <= height + (frame ? 1 : 0); y += 1) {
      for (let x = frame ? 0 : 1; x <= width + (frame ? 1 : 0); x += 1) {
        const edge = !x || !y || x > width || y > height;
        const place = shape[1] ? (unit * height + y - 1) * width + x - 1 : unit;
        const value = edge ? 1 : (values[place] ?? 0) / most;
        const color = edge ? frame : value > 0 ? COLORS.above : COLORS.below;
        pixels.data.set([...color, 255 * Math.abs(value)], 4 * ((top + y) * canvas.width + left + x));
      }
    }
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// The layer whose weights lead into what is pointed at: its own, or those of the layer before it
// that has as many units.
function leading({ layer }) {
  const { layers } = runs[lookedAt];
  const numUnits = layers[layer].shape[0];
  for (let k = layer; k >= 0 && layers[k].shape[0] === numUnits; k -= 1) {
    if (layers[k].weightShape?.length > 1) return k;
  }
  return null;
}

function zero() {
  const layer = leading(pointed);
  if (layer !== null) toggle("zeroed", layer, pointed.unit);
}

// The unit that is pointed at: its value, its weights as pictures, its strongest connections.
function showUnit() {
  element("unit").hidden = !pointed;
  const before = digits[chosen]?.[lookedAt].probs;
  const named = (probs) => `${runs[lookedAt].class_names[likeliest(probs)]} ${percent(Math.max(...probs))}`;
  element("verdict").textContent = answered ? named([...answered.probs]) : "";
  element("mend").querySelectorAll("button").forEach((each) => (each.disabled = !former.length));
  element("was").textContent = answered && isBroken() ? `whole: ${named(before)}` : "";
  if (!pointed) return;
  const { layers } = runs[lookedAt];
  const { layer, unit } = pointed;
  const values = answered?.layers[layer].values ?? [];
  const size = values.length / layers[layer].shape[0];
  const mine = values.slice(unit * size, (unit + 1) * size);
  const what = size > 1 ? "largest value" : "value";
  const value = mine.length ? `, ${what} ${Math.max(...mine).toFixed(2)}` : "";
  const stands = layer === layers.length - 1 ? ` for ${runs[lookedAt].class_names[unit]}` : "";
  element("name").textContent = `${layers[layer].name}, unit ${unit}${stands}${value}`;
  const from = leading(pointed);
  const isOff = (what, at) => broken[what][at]?.includes(unit);
  element("acts").replaceChildren(
    button(isOff("silenced", layer) ? "let it speak" : "silence", () => toggle("silenced", layer, unit)),
  );
  element("weights").replaceChildren();
  element("strongest").replaceChildren();
  if (from === null) return;
  element("acts").append(button(isOff("zeroed", from) ? "give its weights back" : "zero its weights", zero));
  const { weight, weightShape } = answered?.layers[from] ?? layers[from];
  const count = weight.length / weightShape[0];
  const leadsIn = weight.slice(unit * count, (unit + 1) * count);
  const [, maps, high, wide] = weightShape.length > 2 ? weightShape : [0, 1, 28, 28];
  if (maps * high * wide === count) {
    const most = leadsIn.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
    element("weights").append(
      ...Array.from({ length: maps }, (_, k) => {
        const filter = leadsIn.slice(k * high * wide, (k + 1) * high * wide);
        const tile = Object.assign(make("canvas", "filter"), { width: wide, height: high });
        const pixels = new ImageData(wide, high);
        filter.forEach((each, i) => {
          const color = each > 0 ? COLORS.above : COLORS.below;
          pixels.data.set([...color, (255 * Math.abs(each)) / most], 4 * i);
        });
        tile.getContext("2d").putImageData(pixels, 0, 0);
        return tile;
      }),
    );
  }
  const given = from ? answered?.layers[from - 1].values : null;
  if (weightShape.length > 2 || !given) return;
  const parts = [...leadsIn].map((each, i) => ({ i, each, part: each * given[i] }));
  parts.sort((a, b) => Math.abs(b.part) - Math.abs(a.part));
  const place = (i) => (count === 784 ? `pixel ${i % 28}, ${Math.floor(i / 28)}` : `unit ${i}`);
  element("strongest").append(
    ...parts.slice(0, NUM_STRONGEST).map(({ i, each, part }) =>
      make("li", "", `${part.toFixed(2)} = ${each.toFixed(2)} × ${given[i].toFixed(2)} of ${place(i)}`),
    ),
  );
}
