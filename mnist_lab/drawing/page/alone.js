// In a file of its own the page answers itself, in place of mnist-demo, from what the file holds.
"use strict";

globalThis.alone = {
  inside: unpackNetwork(JSON.parse(document.getElementById("inside").textContent)),

  network: () => JSON.parse(document.getElementById("facts").textContent),

  read(drawing) {
    const seen = toMnist(drawing);
    if (!seen) return { error: "no ink found" };
    const { probs } = forward(this.inside, Float32Array.from(seen, (level) => level / 255));
    return { probs: [...probs], image: btoa(String.fromCharCode(...seen)), neighbours: [] };
  },
};
