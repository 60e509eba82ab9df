// The paper: strokes of pens on it, the digits that they make up, each as grey levels to be read.
"use strict";

const PEN = 1 / 16; // width of the pen on the paper, as a share of its side
const SIDE = 140; // pixels a side of what is read
const LONGEST = 112; // of them that a digit's longer side takes, however large it was drawn
const PEN_READ = 16; // of them that the pen is wide there
const SMALLEST = 1 / 8; // share of the paper: anything smaller counts as that large

const element = (id) => document.getElementById(id);
const paper = element("paper");
const ink = paper.getContext("2d");
const small = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true });

let strokes = []; // lists of points, in pixels of the paper
const pens = new Map(); // pointer -> the stroke that it draws

// Have these strokes alone on the paper; a pen that is down draws again once it was lifted.
function redraw(kept) {
  strokes = kept;
  pens.clear();
  showPaper();
}

function showPaper() {
  drawLines(ink, strokes, PEN * paper.width);
  element("hint").hidden = strokes.length > 0;
  drawn();
}

const clearPaper = () => redraw([]);
const undoStroke = () => redraw(strokes.slice(0, -1));

// Lines on white paper, through a transform.
function drawLines(context, lines, width, ...transform) {
  context.reset();
  context.fillStyle = "#fff";
  context.fillRect(0, 0, paper.width, paper.width);
  context.setTransform(...transform);
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  for (const points of lines) {
    const [x, y] = points[0];
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + 0.01, y); // Chromium paints nothing for a line of no length: no dot
    for (const each of points) context.lineTo(...each);
    context.stroke();
  }
}

// Where a pen is; beyond the paper's edge it draws along the edge, so that all ink is seen.
function point({ clientX, clientY }) {
  const { left, top, width } = paper.getBoundingClientRect();
  return [clientX - left, clientY - top].map((each) =>
    Math.min(Math.max((each / width) * paper.width, 0), paper.width),
  );
}

paper.onpointerdown = (event) => {
  if (event.button !== 0) return;
  paper.setPointerCapture(event.pointerId);
  pens.set(event.pointerId, [point(event)]);
  strokes.push(pens.get(event.pointerId));
  showPaper();
};
paper.onpointermove = (event) => {
  if (!pens.has(event.pointerId)) return;
  const events = [...(event.getCoalescedEvents?.() ?? []), event];
  pens.get(event.pointerId).push(...events.map(point));
  showPaper();
};
paper.onlostpointercapture = (event) => pens.delete(event.pointerId); // lifted, or taken away

// Where numbers begin, and how far they go.
function extent(numbers) {
  const least = Math.min(...numbers);
  return [least, Math.max(...numbers) - least];
}

// Lists of strokes, from left to right: those whose ink lies above or below each other's are one
// digit.
function groups() {
  const found = [];
  let end = -Infinity; // of the ink so far
  const placed = strokes.map((stroke) => ({ stroke, x: extent(stroke.map(([x]) => x)) }));
  for (const { stroke, x: [left, width] } of placed.sort((a, b) => a.x[0] - b.x[0])) {
    if (left - end < PEN * paper.width) found.at(-1).push(stroke);
    else found.push([stroke]);
    end = Math.max(end, left + width);
  }
  return found;
}

// A digit's strokes again, at one size and in the middle, with a pen that suits the size: so a
// digit's size on the paper does not make it fat or thin.
function drawing(lines = groups().at(-1)) {
  const [xs, ys] = [0, 1].map((axis) => extent(lines.flat().map((each) => each[axis])));
  const scale = LONGEST / Math.max(xs[1], ys[1], SMALLEST * paper.width);
  const [left, top] = [xs, ys].map(([least, length]) => SIDE / 2 - scale * (least + length / 2));
  drawLines(small, lines, PEN_READ / scale, scale, 0, 0, scale, left, top);
  const pixels = small.getImageData(0, 0, SIDE, SIDE).data;
  return Uint8Array.from({ length: SIDE * SIDE }, (_, i) => pixels[4 * i]);
}
