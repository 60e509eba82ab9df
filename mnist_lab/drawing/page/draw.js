// The paper: strokes of pens on it, the digits that they make up, each as grey levels to be read.
"use strict";

const PEN = 1 / 16; // width of the pen on the paper, as a share of its side
const SIDE = 140; // pixels a side of what is read
const FILL = 0.8; // of them that the digit takes, however large it was drawn
const PEN_READ = 1 / 7; // width of the pen there, as a share of the digit's longer side
const SMALLEST = 1 / 8; // share of the paper: anything smaller counts as that large

const element = (id) => document.getElementById(id);
const paper = element("paper");
const ink = paper.getContext("2d");
const small = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
const smallInk = small.getContext("2d", { willReadFrequently: true });

let strokes = []; // lists of points, in pixels of the paper
const pens = new Map(); // pointer -> the stroke that it draws

function clearPaper() {
  redraw([]);
  pens.clear(); // a pen that is down draws again once it was lifted
}

// Have these strokes alone on the paper.
function redraw(kept) {
  strokes = kept;
  ink.fillStyle = "#fff";
  ink.fillRect(0, 0, paper.width, paper.height);
  for (const each of strokes) line(ink, each, PEN * paper.width);
  element("hint").hidden = strokes.length > 0;
  drawn();
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
  element("hint").hidden = true;
  drawn();
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

// Lists of strokes, from left to right: those whose ink lies above or below each other's are one
// digit.
function groups() {
  const extents = strokes.map((stroke) => {
    const xs = stroke.map(([x]) => x);
    return { left: Math.min(...xs), right: Math.max(...xs), strokes: [stroke] };
  });
  const found = [];
  for (const each of extents.sort((a, b) => a.left - b.left)) {
    const last = found.at(-1);
    if (last && each.left - last.right < PEN * paper.width) {
      last.right = Math.max(last.right, each.right);
      last.strokes.push(...each.strokes);
    } else found.push(each);
  }
  return found.map((each) => each.strokes);
}

// A digit's strokes again, at one size and in the middle, with a pen that suits the size: so a
// digit's size on the paper does not make it fat or thin.
function drawing(lines = groups().at(-1)) {
  const [xs, ys] = [0, 1].map((axis) => lines.flat().map((each) => each[axis]));
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const [width, height] = [Math.max(...xs) - left, Math.max(...ys) - top];
  const scale = (FILL * SIDE) / Math.max(width, height, SMALLEST * paper.width);
  smallInk.setTransform(1, 0, 0, 1, 0, 0);
  smallInk.fillStyle = "#fff";
  smallInk.fillRect(0, 0, SIDE, SIDE);
  smallInk.translate(SIDE / 2, SIDE / 2);
  smallInk.scale(scale, scale);
  smallInk.translate(-left - width / 2, -top - height / 2);
  for (const each of lines) line(smallInk, each, (PEN_READ * FILL * SIDE) / scale);
  const pixels = smallInk.getImageData(0, 0, SIDE, SIDE).data;
  return Uint8Array.from({ length: SIDE * SIDE }, (_, i) => pixels[4 * i]);
}
