// In a file of its own the page answers itself, in place of mnist-demo, from what the file holds.
"use strict";

globalThis.alone = {
  layers: unpackNetwork(JSON.parse(document.getElementById("layers").textContent)),

  network() {
    inside.make(this.layers);
    return JSON.parse(document.getElementById("facts").textContent);
  },

  clear: inside.clear,

  read(drawing) {
    const seen = toMnist(drawing);
    if (!seen) return { error: "no ink found" };
    const image = Float32Array.from(seen, (level) => level / 255);
    const { layers, probs } = forward(this.layers, image, inside.changes);
    inside.show(layers);
    return { probs: [...probs], image: btoa(String.fromCharCode(...seen)), neighbours: [] };
  },
};
