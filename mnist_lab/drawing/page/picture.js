// A drawing to the 28x28 that MNIST would hold, as pictures/ makes it of any picture. Here it is a
// clean one of a single digit: one colour of ink on even paper, by a pen that is at least a tenth
// of the digit wide; so there is neither shadow nor grain to tell from ink, and nothing to widen.
"use strict";

const BOX = 20; // pixels a side that the digit is scaled to, in a field of 28

// Grey levels of a square drawing, in rows, 0 ink to 255 paper. Returns 784, 0 paper to 255 ink, or
// null where there is no ink.
function toMnist(drawing) {
  const side = Math.sqrt(drawing.length);
  const dark = Float32Array.from(drawing, (grey) => 1 - grey / 255);
  const most = dark.reduce((a, b) => Math.max(a, b));
  if (most < 0.1) return null;
  const ink = dark.map((each) => Math.min(each / most, 1));
  let inked = cropped({ width: side, height: side, ink }, 0.02);
  const unit = Math.max(inked.width, inked.height) / BOX; // pixels that will be one pixel
  if (unit * BOX > BOX + 4) {
    // edges as steep as those of a bilevel scan
    const steep = (each) => Math.min(Math.max(0.5 + (each - 0.5) * Math.min(unit, 4), 0), 1);
    inked = cropped({ ...inked, ink: inked.ink.map(steep) }, 0.3);
  }
  return centred(scaledToBox(inked));
}

// The smallest rectangle around all that is above a threshold.
function cropped({ width, height, ink }, threshold) {
  const [rows, columns] = [new Set(), new Set()];
  ink.forEach((each, i) => {
    if (each <= threshold) return;
    rows.add(Math.floor(i / width));
    columns.add(i % width);
  });
  const [top, bottom] = [Math.min(...rows), Math.max(...rows) + 1];
  const [left, right] = [Math.min(...columns), Math.max(...columns) + 1];
  const lines = [];
  for (let row = top; row < bottom; row += 1) {
    lines.push(...ink.subarray(row * width + left, row * width + right));
  }
  return { width: right - left, height: bottom - top, ink: Float32Array.from(lines) };
}

// The mean over the area of each new pixel; the longer side gets BOX of them.
function scaledToBox({ width, height, ink }) {
  const [newWidth, newHeight] = [width, height].map((side) =>
    Math.max(1, rounded((side * BOX) / Math.max(width, height))),
  );
  const scaled = new Float32Array(newWidth * newHeight);
  for (const row of overlaps(height, newHeight)) {
    for (const column of overlaps(width, newWidth)) {
      scaled[row.to * newWidth + column.to] +=
        row.share * column.share * ink[row.from * width + column.from];
    }
  }
  return { width: newWidth, height: newHeight, ink: scaled };
}

// A line of `old` pixels cut anew into `count`: which part of which new pixel an old one makes up.
function overlaps(old, count) {
  const found = [];
  for (let to = 0; to < count; to += 1) {
    const [start, end] = [(to * old) / count, ((to + 1) * old) / count];
    for (let from = Math.floor(start); from < end; from += 1) {
      const length = Math.min(from + 1, end) - Math.max(from, start);
      found.push({ from, to, share: (length * count) / old });
    }
  }
  return found;
}

// Full ink made 255, and the centre of mass moved to that of the field, by whole pixels.
function centred({ width, height, ink }) {
  const inked = ink.filter((each) => each > 0.1).sort();
  const at = 0.9 * (inked.length - 1); // a percentile, between two values
  const [below, above] = [inked[Math.floor(at)], inked[Math.ceil(at)]];
  const level = Math.max(below + (at % 1) * (above - below), 0.3);
  const full = ink.map((each) => Math.min(each / level, 1));
  const mass = full.reduce((sum, each) => sum + each, 0);
  const place = (side, coordinate) => {
    const centre = full.reduce((sum, each, i) => sum + each * coordinate(i), 0) / mass;
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
