// The layers of a page in a file of its own, as they answer the pen, and what breaks them: a click
// silences a unit or map or zeroes the weights into it, noise goes to all weights, undo undoes all.
"use strict";

const LIKE_THE_LAST = ["as it is", "pixel by pixel"]; // kinds that only hand on what they are given
const SEED = 1; // of the noise

const inside = { changes: {}, canvases: [] };

inside.make = (network) => {
  const noise = Object.assign(make("input"), { type: "range", min: 0, max: 2, step: 0.1, value: 0 });
  const zero = Object.assign(make("input"), { type: "checkbox" });
  const undo = Object.assign(make("button", "", "Undo"), { type: "button" });
  const figures = network.map((layer, index) => {
    if (LIKE_THE_LAST.includes(layer.kind)) return "";
    const canvas = make("canvas", "pixels cells");
    inside.canvases[index] = canvas;
    canvas.addEventListener("click", (event) => {
      const unit = cellAt(layer, canvas, event);
      if (unit >= layer.shape[0]) return;
      inside.toggle(zero.checked && layer.weight ? "zeroed" : "silenced", index, unit);
    });
    const half = Object.assign(make("button", "", "Silence every other"), { type: "button" });
    half.addEventListener("click", () => {
      for (let unit = 0; unit < layer.shape[0]; unit += 2) {
        inside.toggle("silenced", index, unit, true);
      }
    });
    const text = `${layer.name}: ${layer.code}, ${layer.shape.join(" × ")}`;
    return make("figure", "", make("figcaption", "note", text), canvas, half);
  });
  noise.addEventListener("input", () => {
    const share = Number(noise.value);
    inside.changes.noise = Object.fromEntries(network.map((_, i) => [i, { share, seed: SEED }]));
    askAgain();
  });
  undo.addEventListener("click", () => {
    inside.changes = {};
    noise.value = 0;
    askAgain();
  });
  const controls = make(
    "div", "row",
    make("label", "", "Noise on all weights ", noise),
    make("label", "", zero, " a click zeroes the weights into a unit, rather than silence it"),
    undo,
  );
  const hint = make("p", "note", "Orange is above 0, blue below. Click a unit or map to silence it.");
  document.querySelector("main").append(
    make("section", "inside", make("h2", "", "Inside"), controls, hint, make("div", "", ...figures)),
  );
};

inside.toggle = (change, index, unit, always = false) => {
  const units = ((inside.changes[change] ??= {})[index] ??= []);
  if (!units.includes(unit)) units.push(unit);
  else if (!always) units.splice(units.indexOf(unit), 1);
  askAgain();
};

function askAgain() {
  version += 1;
  ask();
}

// How a layer lies on its canvas: units are maps of one pixel, with a pixel between them.
function grid([units, height = 1, width = 1]) {
  return { units, height, width, columns: Math.ceil(Math.sqrt(3 * units)) };
}

function cellAt({ shape }, canvas, { offsetX, offsetY }) {
  const { height, width, columns } = grid(shape);
  const scale = canvas.width / canvas.clientWidth;
  const [column, row] = [(offsetX * scale) / (width + 1), (offsetY * scale) / (height + 1)];
  return Math.floor(row) * columns + Math.floor(column);
}

inside.clear = () => {
  for (const canvas of inside.canvases) canvas?.getContext("2d").reset();
};

inside.show = (layers) => {
  layers.forEach(({ shape, values }, index) => {
    const canvas = inside.canvases[index];
    if (!canvas) return;
    const { units, height, width, columns } = grid(shape);
    canvas.width = columns * (width + 1);
    canvas.height = Math.ceil(units / columns) * (height + 1);
    const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
    const pixels = new ImageData(canvas.width, canvas.height);
    values.forEach((value, i) => {
      const [unit, place] = [Math.floor(i / (height * width)), i % (height * width)];
      const y = Math.floor(unit / columns) * (height + 1) + Math.floor(place / width);
      const x = (unit % columns) * (width + 1) + (place % width);
      const colour = value > 0 ? [213, 94, 0] : [0, 114, 178];
      const strength = Math.abs(value) / most;
      const mixed = colour.map((each) => 255 + (each - 255) * strength);
      pixels.data.set([...mixed, 255], 4 * (y * canvas.width + x));
    });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  });
};
