// What was broken, in the networks and in what they are shown, and the way back.
"use strict";

// Changes of the image that every network is shown, in the order of their buttons.
const WAYS = {
  "←": (image) => moved(image, (x, y) => [x + 2, y]),
  "→": (image) => moved(image, (x, y) => [x - 2, y]),
  "↑": (image) => moved(image, (x, y) => [x, y + 2]),
  "↓": (image) => moved(image, (x, y) => [x, y - 2]),
  "turn left": (image) => turned(image, 10),
  "turn right": (image) => turned(image, -10),
  thicker: (image) => around(image, Math.max),
  thinner: (image) => around(image, Math.min),
  blur: (image) => around(image, (...near) => near.reduce((sum, each) => sum + each / 5, 0)),
  invert: (image) => image.map((each) => 1 - each),
};

let broken; // the image's ways, and what network.js calls changes, of the run looked at
let former; // states of `broken` before each act
let lastAct; // one pull at a slider is one act

// Change `broken`, so that it can be undone.
function act(name, change) {
  if (name !== lastAct || !name.startsWith("noise")) former.push(structuredClone(broken));
  lastAct = name;
  change(broken);
  show();
}

function undo() {
  broken = former.pop() ?? broken;
  lastAct = "";
  show();
}

function mend() {
  broken = { ways: [], silenced: {}, zeroed: {}, noise: {} };
  [former, lastAct] = [[], ""];
  show();
}

// Put a unit of a layer among the silenced or zeroed ones, or take it away from them.
function toggle(what, layer, unit) {
  act(what, (state) => {
    const units = new Set(state[what][layer]);
    if (!units.delete(unit)) units.add(unit);
    state[what][layer] = [...units];
  });
}

// Whether a run answers something else than the drawing, or is another than it was.
function isBroken(run = lookedAt) {
  const { ways, silenced, zeroed, noise } = broken;
  const units = [silenced, zeroed].flatMap((each) => Object.values(each).flat());
  const hasChanged = units.length > 0 || Object.values(noise).some(({ share }) => share > 0);
  return ways.length > 0 || (run === lookedAt && hasChanged);
}

// What the networks are shown of the chosen digit: 784 numbers, 0 paper to 1 ink.
function changedImage() {
  return broken.ways.reduce((image, way) => WAYS[way](image), floats(digits[chosen][0].image));
}

// Each pixel from another place, between four of which it lies; beyond the edge there is paper.
function moved(image, from) {
  const at = (x, y) => (x < 0 || y < 0 || x > 27 || y > 27 ? 0 : image[28 * y + x]);
  return image.map((_, i) => {
    const [x, y] = from(i % 28, Math.floor(i / 28));
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const line = (row) => at(left, row) * (left + 1 - x) + at(left + 1, row) * (x - left);
    return line(top) * (top + 1 - y) + line(top + 1) * (y - top);
  });
}

function turned(image, degrees) {
  const [cos, sin] = [Math.cos, Math.sin].map((each) => each((degrees * Math.PI) / 180));
  return moved(image, (x, y) => [
    13.5 + cos * (x - 13.5) - sin * (y - 13.5),
    13.5 + sin * (x - 13.5) + cos * (y - 13.5),
  ]);
}

// Each pixel joined with the four beside it.
function around(image, joined) {
  const sides = [[1, 0], [-1, 0], [0, 1], [0, -1]];
  const near = sides.map(([dx, dy]) => moved(image, (x, y) => [x + dx, y + dy]));
  return image.map((each, i) => joined(each, ...near.map((other) => other[i])));
}
