// In a file of its own the page answers itself, in place of mnist-demo, from what the file holds.
"use strict";

globalThis.alone = {
  text: (id) => JSON.parse(document.getElementById(id).textContent),
  facts: () => alone.text("facts"),
  inside: () => alone.text("inside"),

  read(drawing) {
    const seen = toMnist(drawing);
    if (!seen) return { error: "no ink found" };
    alone.network ??= unpackNetwork(alone.inside());
    const image = Float32Array.from(seen, (level) => level / 255);
    const { layers, probs } = forward(alone.network, image);
    const unsure = alone.isUnsure(image, layers, largest(probs));
    return { probs: [...probs], unsure, image: btoa(String.fromCharCode(...seen)) };
  },

  // As evaluation/unsure.py, by what doubt.py has written; null: not known.
  isUnsure(image, layers, best) {
    alone.doubt ??= alone.text("doubt");
    const { layers: known, most, least, nearest } = alone.doubt;
    if (!known) return null;
    const linear = [...layers.keys()].filter((k) => layers[k].kind === "linear").slice(-2);
    const given = linear.map((k) => layers[k - 1]?.values ?? image);
    const far = known.map((layer, k) => distance(layer, given[k] ?? image, nearest));
    return far.reduce((a, b) => a + b) > most || best < least;
  },
};

const unpacked = (base64) => new Int8Array(bytesOf(base64).buffer);

// The chord between the directions of what a layer is given and of the third nearest known digit.
function distance(layer, given, nearest) {
  const { weight, step, matrix } = layer;
  layer.rows ??= unpacked(layer.known);
  layer.columns ??= matrix && unpacked(matrix);
  const times = (rows, values) =>
    Float32Array.from({ length: rows.length / values.length }, (_, row) =>
      product(rows, row * values.length, values, 0, values.length),
    );
  const narrow = layer.columns ? times(layer.columns, given) : given;
  const length = Math.max(Math.hypot(...narrow), 1e-12);
  const cosines = times(layer.rows, narrow).sort();
  const cosine = (step * cosines[Math.max(cosines.length - nearest, 0)]) / length;
  return weight * Math.sqrt(Math.max(2 - 2 * cosine, 0));
}
