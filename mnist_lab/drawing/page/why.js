// Where an answer comes from: what hides it when covered, and what would turn it into another.
"use strict";

const PATCH = 5; // pixels a side that are covered
const STEP = 3; // pixels from one patch to the next

let explained = -1; // the version of the drawing that is explained

function startWhy() {
  const { layers, class_names: names } = runs[lookedAt];
  element("cover").hidden = !layers;
  element("turn").hidden = !source.towards;
  element("towards").replaceChildren(...names.map((name) => make("option", "", name)));
  element("cover").onclick = cover;
  element("go").onclick = turnTowards;
}

// An explanation is of one drawing; another one empties it.
function showWhy() {
  const stale = explained !== version || !digits.length;
  for (const id of ["covered", "turned"]) if (stale) element(id).hidden = true;
  if (stale) element("explained").textContent = "";
}

// How much less likely the answer gets when a patch of the image is paper (Zeiler & Fergus 2014,
// "Visualizing and understanding convolutional networks", section 4.2): orange where it does.
async function cover() {
  if (!digits.length) return;
  const [{ layers, class_names: names }, image] = [runs[lookedAt], changedImage()];
  const { probs } = forward(layers, image, broken);
  const best = likeliest([...probs]);
  const losses = new Float32Array(784);
  explained = version;
  for (let top = 2 - PATCH; top < 28; top += STEP) {
    for (let left = 2 - PATCH; left < 28; left += STEP) {
      const inPatch = (i) => {
        const [x, y] = [(i % 28) - left, Math.floor(i / 28) - top];
        return x >= 0 && y >= 0 && x < PATCH && y < PATCH;
      };
      const without = forward(layers, image.map((each, i) => (inPatch(i) ? 0 : each)), broken);
      const loss = Math.max(0, probs[best] - without.probs[best]);
      losses.forEach((each, i) => inPatch(i) && (losses[i] = Math.max(each, loss)));
    }
    await new Promise(requestAnimationFrame); // the pen goes first
    if (explained !== version) return;
  }
  const pixels = new ImageData(28, 28);
  const most = losses.reduce((a, b) => Math.max(a, b), 1e-9);
  image.forEach((level, i) => {
    const heat = losses[i] / most;
    const paper = 255 - 160 * level;
    const color = COLORS.above.map((each) => paper * (1 - 0.8 * heat) + each * 0.8 * heat);
    pixels.data.set([...color, 255], 4 * i);
  });
  element("covered").getContext("2d").putImageData(pixels, 0, 0);
  element("covered").hidden = false;
  element("explained").textContent =
    `Orange: covered with ${PATCH} × ${PATCH} of paper, ${names[best]} loses up to ${percent(most)}.`;
}

async function turnTowards() {
  if (!digits.length) return;
  const label = element("towards").selectedIndex;
  const levels = Uint8Array.from(changedImage(), (each) => Math.round(255 * each));
  explained = version;
  const { image, prob, steps } = await source.towards(levels, lookedAt, label);
  if (explained !== version) return;
  paint(element("turned"), floats(image));
  element("turned").hidden = false;
  element("explained").textContent =
    `After ${steps} steps along the gradient: ${runs[lookedAt].class_names[label]} ${percent(prob)}.`;
}
