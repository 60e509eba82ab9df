// In a file of its own the page answers itself, in place of mnist-demo, from what the file holds.
"use strict";

globalThis.alone = {
  text: (id) => JSON.parse(document.getElementById(id).textContent),
  facts: () => alone.text("facts"),
  inside: () => alone.text("inside"),

  read(drawing) {
    const seen = toMnist(drawing);
    if (!seen) return { error: "no ink found" };
    alone.layers ??= unpackNetwork(alone.inside());
    const { probs } = forward(alone.layers, Float32Array.from(seen, (level) => level / 255));
    return { probs: [...probs], image: btoa(String.fromCharCode(...seen)), neighbours: [] };
  },
};
