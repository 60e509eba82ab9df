// A network computed in the page, layer by layer, so that its inside can be seen and broken.
//
//   const network = unpackNetwork(description);               what network.py has written, parsed
//   const { layers, logits, probs } = forward(network, image, changes);
//
// image: 784 numbers in rows, 0 paper to 1 ink. layers: in the order of the code, each with name,
// code, kind, shape ([units] or [maps, height, width]) and values, a Float32Array, map by map and
// row by row; layers of weights have them as weight and bias, too, as they were used.
//
// changes, each of which may be left out; layers are counted from 0, units are maps where a layer
// has maps:
//   silenced: { 2: [0, 5] }        these units of layer 2 answer 0, and the others are not scaled
//                                  up for it, as they are not in evaluation
//   noise: { 0: { share: 0.5, seed: 1 } }  normal noise is added to each weight of layer 0 (biases
//                                  stay); its standard deviation is this share of the weights' own
//   zeroed: { 0: [3] }             the weights into unit or map 3 of layer 0 are 0; its bias stays
// Nothing here changes `network`: without a change its answers are again what they were.
"use strict";

const FIELD = 28; // pixels a side of an image

// Layers of a description with weights as Float32Arrays and their shapes as weightShape.
function unpackNetwork({ layers, weights }) {
  const bytes = Uint8Array.from(atob(weights), (letter) => letter.charCodeAt(0));
  let start = 0;
  return layers.map((layer) => {
    const unpacked = { ...layer, weight: null, bias: null, weightShape: layer.weights.weight };
    for (const [name, shape] of Object.entries(layer.weights)) {
      const size = shape.reduce((product, side) => product * side, 1);
      unpacked[name] = new Float32Array(bytes.buffer, start, size);
      start += 4 * size;
    }
    delete unpacked.weights;
    return unpacked;
  });
}

function forward(network, image, changes = {}) {
  let given = { shape: [1, FIELD, FIELD], values: Float32Array.from(image) };
  const layers = network.map((layer, index) => {
    const used = { ...layer, weight: changedWeight(layer, index, changes) };
    const size = layer.shape.reduce((product, side) => product * side, 1);
    used.values = new Float32Array(size);
    KINDS[layer.kind](used, given, used.values);
    const perUnit = size / layer.shape[0];
    for (const unit of changes.silenced?.[index] ?? []) {
      used.values.fill(0, unit * perUnit, (unit + 1) * perUnit);
    }
    given = used;
    return used;
  });
  const logits = given.values;
  return { layers, logits, probs: softmax(logits) };
}

function softmax(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const powers = Float64Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

// How each kind of layer fills `values` from what it is given.
const KINDS = {
  linear({ weight, bias, weightShape: [numOutputs, numInputs] }, given, values) {
    for (let output = 0; output < numOutputs; output += 1) {
      const sum = product(weight, output * numInputs, given.values, 0, numInputs);
      values[output] = sum + (bias?.[output] ?? 0);
    }
  },

  // Each value is a product of a filter with the patch of the maps that it lies on.
  convolution({ weight, bias, weightShape, shape, numbers }, given, values) {
    const [numOutputs, ...patch] = weightShape;
    const [, height, width] = shape;
    const patches = patchesOf(padded(given, numbers.padding), patch, numbers.stride, height, width);
    const size = weight.length / numOutputs;
    let to = 0;
    for (let output = 0; output < numOutputs; output += 1) {
      const shift = bias?.[output] ?? 0;
      for (let at = 0; at < patches.length; at += size, to += 1) {
        values[to] = product(weight, output * size, patches, at, size) + shift;
      }
    }
  },

  "max pooling": (layer, given, values) => pooled(layer, given, values, Math.max, -Infinity, 1),
  "average pooling": (layer, given, values) =>
    pooled(layer, given, values, (a, b) => a + b, 0, layer.numbers.kernel_size ** 2),

  scaling({ weight, bias }, given, values) {
    const perUnit = values.length / weight.length;
    for (let i = 0; i < values.length; i += 1) {
      const unit = Math.floor(i / perUnit);
      values[i] = given.values[i] * weight[unit] + bias[unit];
    }
  },

  ReLU: (_, given, values) => given.values.forEach((each, i) => (values[i] = Math.max(each, 0))),
  tanh: (_, given, values) => given.values.forEach((each, i) => (values[i] = Math.tanh(each))),
  "as it is": (_, given, values) => values.set(given.values),

  "pixel by pixel"(_, { shape: [maps], values: from }, values) {
    const size = from.length / maps;
    for (let map = 0; map < maps; map += 1) {
      for (let i = 0; i < size; i += 1) values[i * maps + map] = from[map * size + i];
    }
  },
};

// Maps with so many rows and columns of 0 around each.
function padded({ shape: [maps, height, width], values }, padding) {
  const [rows, columns] = [height + 2 * padding, width + 2 * padding];
  if (!padding) return { rows, columns, values };
  const wider = new Float32Array(maps * rows * columns);
  for (let line = 0; line < maps * height; line += 1) {
    const row = Math.floor(line / height) * rows + padding + (line % height);
    wider.set(values.subarray(line * width, (line + 1) * width), row * columns + padding);
  }
  return { rows, columns, values: wider };
}

// What a filter of so many maps, rows and columns covers at each place, one after another.
function patchesOf({ rows, columns, values }, [maps, high, wide], stride, height, width) {
  const patches = new Float32Array(height * width * maps * high * wide);
  let to = 0;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      for (let map = 0; map < maps; map += 1) {
        for (let row = 0; row < high; row += 1) {
          let from = (map * rows + y * stride + row) * columns + x * stride;
          for (const end = to + wide; to < end; to += 1, from += 1) patches[to] = values[from];
        }
      }
    }
  }
  return patches;
}

// The sum of the products of `count` numbers of two lists, from places in them; in 64 bits, so that
// their order matters less than it does in the module itself.
function product(one, i, other, j, count) {
  let sum = 0;
  for (const end = i + count; i < end; i += 1, j += 1) sum += one[i] * other[j];
  return sum;
}

function pooled({ shape, numbers }, given, values, joined, start, divisor) {
  const { kernel_size: side, stride } = numbers;
  const [maps, height, width] = shape;
  const [, rows, columns] = given.shape;
  let to = 0;
  for (let map = 0; map < maps; map += 1) {
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1, to += 1) {
        let value = start;
        for (let dy = 0; dy < side; dy += 1) {
          const from = (map * rows + y * stride + dy) * columns + x * stride;
          for (let dx = 0; dx < side; dx += 1) value = joined(value, given.values[from + dx]);
        }
        values[to] = value / divisor;
      }
    }
  }
}

// The weights of a layer as `changes` have them: the layer's own where there is no change.
function changedWeight(layer, index, { noise = {}, zeroed = {} }) {
  const units = zeroed[index] ?? [];
  const { share = 0, seed = 0 } = noise[index] ?? {};
  if (!layer.weight || (!share && !units.length)) return layer.weight;
  const weight = noisyWeight(layer.weight, share, 1000 * seed + index);
  const perUnit = weight.length / layer.weightShape[0];
  for (const unit of units) weight.fill(0, unit * perUnit, (unit + 1) * perUnit);
  return weight;
}

const noises = new WeakMap(); // weights -> the last noise drawn for them, and its seed

function noisyWeight(weight, share, seed) {
  if (!share) return weight.slice();
  if (noises.get(weight)?.seed !== seed) {
    const mean = weight.reduce((sum, each) => sum + each, 0) / weight.length;
    const squares = weight.reduce((sum, each) => sum + (each - mean) ** 2, 0);
    const deviation = Math.sqrt(squares / weight.length);
    const drawn = normal(weight.length, seed).map((each) => each * deviation);
    noises.set(weight, { seed, drawn });
  }
  const { drawn } = noises.get(weight);
  return weight.map((each, i) => each + share * drawn[i]);
}

// Numbers of mean 0 and standard deviation 1 that a seed alone decides: uniform ones by xorshift
// (Marsaglia 2003, "Xorshift RNGs", 32 bits), made normal by Box and Muller (1958).
function normal(count, seed) {
  let state = Math.imul(seed, 0x9e3779b1) | 1; // it must not be 0
  const uniform = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 16; i += 1) uniform(); // seeds that are alike part
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}
