// Draws strokes, sends what is on the paper as grey levels, and shows the answers as they come.
"use strict";

const PEN = 1 / 16; // width of the pen on the paper, as a share of its side
const SIDE = 140; // pixels a side of what is sent
const FILL = 0.8; // of them that the digit takes, however large it was drawn
const PEN_SENT = 1 / 7; // width of the pen there, as a share of the digit's longer side
const SMALLEST = 1 / 8; // share of the paper: anything smaller counts as that large

const MOST_BARS = 12; // of more classes than that the best are shown, the best on top

const NO_ANSWER = "No answer: is mnist-demo still running?";

// What answers: mnist-demo, or the page itself in a file of its own (alone.js).
const source = globalThis.alone ?? {
  network: async () => (await fetch("network")).json(),
  read: async (levels) => (await fetch("read", { method: "POST", body: levels })).json(),
};

const element = (id) => document.getElementById(id);
const paper = element("paper");
const ink = paper.getContext("2d");
const small = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
const smallInk = small.getContext("2d", { willReadFrequently: true });

let classNames = [];
let bars = [];
let sheet = 0; // counts sheets of paper: an answer to an old one comes too late
let version = 0; // counts changes of the drawing
let asking = false;
let strokes = []; // lists of points, in pixels of the paper
const pens = new Map(); // pointer -> the stroke that it draws

function clearPaper() {
  ink.fillStyle = "#fff";
  ink.fillRect(0, 0, paper.width, paper.height);
  sheet += 1;
  version += 1;
  strokes = [];
  pens.clear(); // a pen that is down draws again once it was lifted
  element("hint").hidden = false;
  say("");
  showNothing();
}

// Where a pen is; beyond the paper's edge it draws along the edge, so that all ink is seen.
function point(event) {
  const box = paper.getBoundingClientRect();
  return [
    ((event.clientX - box.left) / box.width) * paper.width,
    ((event.clientY - box.top) / box.height) * paper.height,
  ].map((each) => Math.min(Math.max(each, 0), paper.width));
}

function line(context, points, width) {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = "#111";
  context.beginPath();
  const [x, y] = points[0];
  context.moveTo(x, y);
  context.lineTo(x + 0.01, y); // Chromium paints nothing for a line of no length: no dot
  for (const each of points.slice(1)) context.lineTo(...each);
  context.stroke();
}

function move(event) {
  const stroke = pens.get(event.pointerId);
  if (!stroke) return;
  const events = event.getCoalescedEvents?.() ?? [];
  const added = (events.length ? events : [event]).map(point);
  line(ink, [stroke.at(-1) ?? added[0], ...added], PEN * paper.width);
  stroke.push(...added);
  version += 1;
  element("hint").hidden = true;
  ask();
}

paper.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  paper.setPointerCapture(event.pointerId);
  const stroke = [];
  strokes.push(stroke);
  pens.set(event.pointerId, stroke);
  move(event);
});
paper.addEventListener("pointermove", move);
for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
  paper.addEventListener(end, (event) => pens.delete(event.pointerId));
}
element("clear").addEventListener("click", clearPaper);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") clearPaper();
});

// The strokes again, at one size and in the middle, with a pen that suits the size: so a digit's
// size on the paper does not make it fat or thin.
function drawing() {
  const [xs, ys] = [0, 1].map((axis) => strokes.flat().map((each) => each[axis]));
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const [width, height] = [Math.max(...xs) - left, Math.max(...ys) - top];
  const scale = (FILL * SIDE) / Math.max(width, height, SMALLEST * paper.width);
  smallInk.setTransform(1, 0, 0, 1, 0, 0);
  smallInk.fillStyle = "#fff";
  smallInk.fillRect(0, 0, SIDE, SIDE);
  smallInk.translate(SIDE / 2, SIDE / 2);
  smallInk.scale(scale, scale);
  smallInk.translate(-left - width / 2, -top - height / 2);
  for (const each of strokes) line(smallInk, each, (PEN_SENT * FILL * SIDE) / scale);
  const pixels = smallInk.getImageData(0, 0, SIDE, SIDE).data;
  return Uint8Array.from({ length: SIDE * SIDE }, (_, i) => pixels[4 * i]);
}

// One question at a time; when its answer comes and the drawing has changed, the next one.
async function ask() {
  if (asking) return;
  asking = true;
  let asked;
  do {
    asked = version;
    if (!strokes.length) break;
    const sheetAsked = sheet;
    try {
      const answer = await source.read(drawing());
      if (sheetAsked !== sheet) continue;
      if (answer.probs) show(answer);
      say(answer.error ?? "");
    } catch {
      say(NO_ANSWER);
    }
  } while (asked !== version);
  asking = false;
}

function say(text) {
  element("status").textContent = text;
}

function show({ probs, image, neighbours }) {
  const best = probs.indexOf(Math.max(...probs));
  showProbs(probs, best);
  element("digit").textContent = classNames[best];
  element("share").textContent = percent(probs[best]);
  paint(element("seen"), image);
  element("neighbours").replaceChildren(
    ...neighbours.map((each) => {
      const tile = Object.assign(make("canvas", "pixels"), { width: 28, height: 28 });
      paint(tile, each.image);
      const item = make("li", each.label === best ? "" : "other", tile, classNames[each.label]);
      item.title = `training image ${each.index}, distance ${each.distance.toFixed(2)}`;
      return item;
    }),
  );
}

function showNothing() {
  showProbs(bars.map(() => 0), -1);
  element("digit").textContent = "?";
  element("share").textContent = "";
  element("seen").getContext("2d").clearRect(0, 0, 28, 28);
  element("neighbours").replaceChildren();
  source.clear?.();
}

function showProbs(probs, best) {
  bars.forEach(({ item, fill, share }, k) => {
    item.classList.toggle("best", k === best);
    fill.style.transform = `scaleX(${probs[k]})`;
    share.textContent = best < 0 ? "" : percent(probs[k]);
  });
  if (bars.length <= MOST_BARS) return;
  const order = [...bars.keys()].sort((a, b) => probs[b] - probs[a]);
  const shown = order.slice(0, MOST_BARS).map((k) => bars[k].item);
  element("bars").replaceChildren(...shown);
}

function percent(prob) {
  return `${(100 * prob).toFixed(1)} %`;
}

// Paint 784 grey levels, 0 paper to 255 ink, as ink on paper.
function paint(canvas, base64) {
  const levels = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const pixels = new ImageData(28, 28);
  levels.forEach((level, i) => {
    pixels.data.fill(255 - level, 4 * i, 4 * i + 3);
    pixels.data[4 * i + 3] = 255;
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function make(tag, className, ...children) {
  const made = Object.assign(document.createElement(tag), { className });
  made.append(...children);
  return made;
}

function makeBar(name) {
  const [fill, share] = [make("div", "fill"), make("span", "percent")];
  const item = make("li", "", make("span", "label", name), make("div", "track", fill), share);
  return { item, fill, share };
}

async function start() {
  const facts = await source.network();
  classNames = facts.class_names;
  bars = classNames.map(makeBar);
  element("bars").replaceChildren(...bars.map(({ item }) => item));
  element("network").textContent = `${facts.run}, epoch ${facts.epoch}, trained on ${facts.data}`;
  element("nearest").closest("section").hidden = !facts.num_images;
  element("nearest").textContent =
    `Of ${facts.num_images?.toLocaleString("en")}, those that the network finds most alike.`;
  clearPaper();
}

start().catch(() => say(NO_ANSWER));
