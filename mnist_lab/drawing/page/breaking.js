// What was broken, in the networks and in what they are shown, and the way back.
"use strict";

const CROSS = [0, 1, 0, 1, 1, 1, 0, 1, 0]; // of 3x3 pixels
const BLUR = [1, 2, 1, 2, 4, 2, 1, 2, 1].map((each) => each / 16);

// Changes of the image that every network is shown, in the order of their buttons.
const WAYS = {
  "←": (image) => moved(image, (x, y) => [x + 2, y]),
  "→": (image) => moved(image, (x, y) => [x - 2, y]),
  "↑": (image) => moved(image, (x, y) => [x, y + 2]),
  "↓": (image) => moved(image, (x, y) => [x, y - 2]),
  "turn left": (image) => turned(image, 10),
  "turn right": (image) => turned(image, -10),
  thicker: (image) => around(image, (near) => Math.max(...near.filter((_, i) => CROSS[i]))),
  thinner: (image) => around(image, (near) => Math.min(...near.filter((_, i) => CROSS[i]))),
  blur: (image) => around(image, (near) => near.reduce((sum, each, i) => sum + each * BLUR[i], 0)),
  invert: (image) => image.map((each) => 1 - each),
};

const whole = () => ({ ways: [], silenced: {}, zeroed: {}, noise: {} });
let broken = whole(); // the image's ways, and what network.js calls changes, of the run looked at
let former = []; // states of `broken` before each act
let lastAct = ""; // one pull at a slider is one act

// Change `broken`, so that it can be undone.
function act(name, change) {
  if (name !== lastAct || !name.startsWith("noise")) former.push(structuredClone(broken));
  lastAct = name;
  change(broken);
  show();
}

function undo() {
  if (former.length) broken = former.pop();
  lastAct = "";
  show();
}

function mend() {
  [broken, former, lastAct] = [whole(), [], ""];
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

const isBroken = () =>
  broken.ways.length > 0 ||
  Object.values(broken.noise).some(({ share }) => share > 0) ||
  [broken.silenced, broken.zeroed].some((each) => Object.values(each).flat().length);

// What the networks are shown of the chosen digit: 784 numbers, 0 paper to 1 ink.
function changedImage() {
  return broken.ways.reduce((image, way) => WAYS[way](image), floats(digits[chosen][0].image));
}

// What a network says after all that was broken; null where nothing was, or it cannot be told.
function brokenProbs({ layers }, k) {
  if (!layers || !isBroken()) return null;
  return [...forward(layers, changedImage(), k === lookedAt ? broken : {}).probs];
}

// Each pixel from another place, between four of which it lies; paper comes in.
function moved(image, from) {
  const at = (x, y) => (x < 0 || y < 0 || x > 27 || y > 27 ? 0 : image[28 * y + x]);
  return image.map((_, i) => {
    const [x, y] = from(i % 28, Math.floor(i / 28));
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const upper = at(left, top) * (left + 1 - x) + at(left + 1, top) * (x - left);
    const lower = at(left, top + 1) * (left + 1 - x) + at(left + 1, top + 1) * (x - left);
    return upper * (top + 1 - y) + lower * (y - top);
  });
}

function turned(image, degrees) {
  const [cos, sin] = [Math.cos, Math.sin].map((each) => each((degrees * Math.PI) / 180));
  return moved(image, (x, y) => [
    13.5 + cos * (x - 13.5) - sin * (y - 13.5),
    13.5 + sin * (x - 13.5) + cos * (y - 13.5),
  ]);
}

// Each pixel from the 3x3 around it, row by row; beyond the edge there is paper.
function around(image, joined) {
  const places = [-1, 0, 1].flatMap((dy) => [-1, 0, 1].map((dx) => [dx, dy]));
  const at = (x, y) => (x < 0 || y < 0 || x > 27 || y > 27 ? 0 : image[28 * y + x]);
  return image.map((_, i) =>
    joined(places.map(([dx, dy]) => at((i % 28) + dx, Math.floor(i / 28) + dy))),
  );
}
