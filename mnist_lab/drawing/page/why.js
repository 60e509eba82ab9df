// Where an answer comes from: the training images that are like the drawing to the network, what
// hides the answer when covered, and what would turn it into another.
"use strict";

const PATCH = 5; // pixels a side that are covered
const STEP = 3; // pixels from one patch to the next

let explained = -1; // the version of the drawing that is explained

function startWhy() {
  const { layers, class_names: names } = runs[lookedAt];
  element("cover").hidden = !layers;
  element("turn").hidden = !source.towards;
  element("towards").replaceChildren(...names.map((name) => make("option", {}, name)));
}

// An explanation is of one drawing; another one empties it.
function showWhy() {
  const { class_names: names, num_images: count } = runs[lookedAt];
  const { neighbours = [], probs } = digits[chosen]?.[lookedAt] ?? {};
  const best = probs && likeliest(probs);
  const alike = neighbours.filter(({ label }) => label === best).length;
  element("nearest").hidden = !count;
  element("nearest").textContent =
    `Of ${count?.toLocaleString("en")} training images, those most alike to the last hidden layer` +
    (best === undefined ? "." : `: ${alike} of ${neighbours.length} are labelled ${names[best]}.`);
  element("neighbours").hidden = !count;
  element("neighbours").replaceChildren(
    ...neighbours.map(({ label, image, index, distance }) => {
      const tile = make("canvas", { className: "pixels", width: FIELD, height: FIELD });
      paint(tile, floats(image));
      const title = `training image ${index}, distance ${distance.toFixed(2)}`;
      return make("li", { className: label === best ? "" : "other", title }, tile, names[label]);
    }),
  );
  if (explained === version && probs) return;
  for (const id of ["covered", "turned"]) element(id).hidden = true;
  element("explained").textContent = "";
}

function explain(id, text) {
  element(id).hidden = false;
  element("explained").textContent = text;
}

// How much less likely the answer gets when a patch of the image is paper (Zeiler & Fergus 2014,
// "Visualizing and understanding convolutional networks", section 4.2): orange where it does.
async function cover() {
  if (!digits.length) return;
  const [{ layers, class_names: names }, image] = [runs[lookedAt], changedImage()];
  const { probs } = forward(layers, image, broken);
  const best = likeliest(probs);
  const losses = new Float32Array(image.length);
  explained = version;
  for (let top = 2 - PATCH; top < FIELD; top += STEP) {
    for (let left = 2 - PATCH; left < FIELD; left += STEP) {
      const isCovered = (_, i) => {
        const [x, y] = [(i % FIELD) - left, Math.floor(i / FIELD) - top];
        return Math.min(x, y) >= 0 && Math.max(x, y) < PATCH;
      };
      const covered = image.map((each, i) => (isCovered(each, i) ? 0 : each));
      const loss = probs[best] - forward(layers, covered, broken).probs[best];
      losses.forEach((each, i) => isCovered(each, i) && (losses[i] = Math.max(each, loss)));
    }
    await new Promise(requestAnimationFrame); // the pen goes first
    if (explained !== version) return;
  }
  const most = Math.max(largest(losses), 1e-9);
  const context = element("covered").getContext("2d");
  paint(element("covered"), image.map((level) => 0.6 * level));
  context.fillStyle = "#d55e00";
  losses.forEach((loss, i) => {
    context.globalAlpha = (0.8 * loss) / most;
    context.fillRect(i % FIELD, Math.floor(i / FIELD), 1, 1);
  });
  const loss = `${names[best]} loses up to ${percent(most)}`;
  explain("covered", `Orange: covered with ${PATCH} × ${PATCH} of paper, ${loss}.`);
}

async function turnTowards() {
  if (!digits.length) return;
  const label = element("towards").selectedIndex;
  const levels = Uint8Array.from(changedImage(), (each) => Math.round(255 * each));
  explained = version;
  const { image, prob, steps } = await source.towards(levels, lookedAt, label);
  if (explained !== version) return;
  paint(element("turned"), floats(image));
  const name = runs[lookedAt].class_names[label];
  explain("turned", `After ${steps} steps along the gradient: ${name} ${percent(prob)}.`);
}
