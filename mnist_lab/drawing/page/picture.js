// A drawing to the 28x28 that MNIST would hold, as pictures/ makes it of any picture. Here it is a
// clean one of a single digit: one colour of ink on even paper, by a pen that is at least a tenth
// of the digit wide; so there is neither shadow nor grain to tell from ink, and nothing to widen.
"use strict";

const BOX = 20; // pixels a side that the digit is scaled to, in a field of 28

// Grey levels of a drawing, in rows, 0 ink to 255 paper. Returns 784, 0 paper to 255 ink, or null
// where there is no ink.
function toMnist(drawing) {
  const dark = Float32Array.from(drawing, (grey) => 1 - grey / 255);
  const most = largest(dark);
  if (most < 0.1) return null;
  let ink = dark.map((each) => each / most);
  let box = boxAround(ink, 0.02);
  const unit = Math.max(box.width, box.height) / BOX; // pixels that will be one pixel
  if (unit * BOX > BOX + 4) {
    // edges as steep as those of a bilevel scan
    ink = ink.map((each) => Math.min(Math.max(0.5 + (each - 0.5) * Math.min(unit, 4), 0), 1));
    box = boxAround(ink, 0.3);
  }
  return centred(scaledToBox(ink, box));
}

// The smallest rectangle around all that is above a threshold.
function boxAround(ink, threshold) {
  const inked = [...ink.keys()].filter((i) => ink[i] > threshold);
  const [left, width] = extent(inked.map((i) => i % SIDE));
  const [top, height] = extent(inked.map((i) => Math.floor(i / SIDE)));
  return { left, top, width: width + 1, height: height + 1 };
}

// The mean over the area of each new pixel; the longer side gets BOX of them.
function scaledToBox(ink, { left, top, width, height }) {
  const [newWidth, newHeight] = [width, height].map((side) =>
    Math.max(1, rounded((side * BOX) / Math.max(width, height))),
  );
  const [wide, high] = [width / newWidth, height / newHeight]; // pixels that become one
  const scaled = Float32Array.from({ length: newWidth * newHeight }, (_, i) => {
    const [x, y] = [(i % newWidth) * wide, Math.floor(i / newWidth) * high];
    let sum = 0;
    for (let row = Math.floor(y); row < y + high; row += 1) {
      for (let column = Math.floor(x); column < x + wide; column += 1) {
        const level = ink[(top + row) * SIDE + left + column];
        sum += overlap(row, y, high) * overlap(column, x, wide) * level;
      }
    }
    return sum / (wide * high);
  });
  return { width: newWidth, height: newHeight, ink: scaled };
}

// How much of a pixel lies in what begins at `start` and has this length.
const overlap = (pixel, start, length) =>
  Math.max(0, Math.min(pixel + 1, start + length) - Math.max(pixel, start));

// Full ink made 255, and the centre of mass moved to that of the field, by whole pixels.
function centred({ width, height, ink }) {
  const inked = ink.filter((each) => each > 0.1).sort();
  const at = 0.9 * (inked.length - 1); // a percentile, between two values
  const [below, above] = [inked[Math.floor(at)], inked[Math.ceil(at)]];
  const level = Math.max(below + (at % 1) * (above - below), 0.3);
  const full = ink.map((each) => Math.min(each / level, 1));
  const place = (side, coordinate) => {
    const moment = full.reduce((sum, each, i) => sum + each * coordinate(i), 0);
    const centre = moment / full.reduce((sum, each) => sum + each);
    return Math.min(Math.max(rounded(FIELD / 2 - centre), 0), FIELD - side);
  };
  const left = place(width, (i) => i % width);
  const top = place(height, (i) => Math.floor(i / width));
  const field = new Uint8Array(FIELD * FIELD);
  full.forEach((each, i) => {
    field[(top + Math.floor(i / width)) * FIELD + left + (i % width)] = Math.round(255 * each);
  });
  return field;
}

// To the nearest whole number, of two equally near ones to the even one, as Python does.
function rounded(value) {
  const down = Math.floor(value);
  return value - down === 0.5 ? down + (down % 2) : Math.round(value);
}
