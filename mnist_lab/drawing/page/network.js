// A network computed in the page, layer by layer, so that its inside can be seen and broken.
//
//   const network = unpackNetwork(description);               what network.py has written, parsed
//   const { layers, logits, probs } = forward(network, image, changes);
//
// image: 784 numbers in rows, 0 paper to 1 ink. layers: in the order of the code, each with name,
// code, kind, shape ([units] or [maps, height, width]) and values, map by map and row by row; those
// with weights have weight and bias, too, as they were used. changes, each of which may be left
// out, by the number of a layer, from 0; a unit is a map where a layer has maps:
//   silenced: { 2: [0, 5] }     these units answer 0; the others are not scaled up for it
//   noise: { 0: { share: 0.5, seed: 1 } }  is added to the weights: normal, its standard deviation
//                               this share of their own; biases stay
//   zeroed: { 0: [3] }          the weights into these units are 0; biases stay
// Nothing here changes `network`: without a change its answers are again what they were.
"use strict";

const FIELD = 28; // pixels a side of an image

const largest = (values) => values.reduce((a, b) => Math.max(a, b));
const sizeOf = (shape) => shape.reduce((size, side) => size * side, 1);
const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

// Layers of a description with weights as Float32Arrays and their shapes as weightShape.
function unpackNetwork({ layers, weights }) {
  const { buffer } = bytesOf(weights);
  let start = 0;
  return layers.map(({ weights: shapes, ...layer }) => {
    for (const [name, shape] of Object.entries(shapes)) {
      layer[name] = new Float32Array(buffer, start, sizeOf(shape));
      start += layer[name].byteLength;
    }
    return { ...layer, weightShape: shapes.weight };
  });
}

function forward(network, image, changes = {}) {
  let given = { shape: [1, FIELD, FIELD], values: Float32Array.from(image) };
  const layers = network.map((layer, index) => {
    const values = new Float32Array(sizeOf(layer.shape));
    const used = { ...layer, weight: changedWeight(layer, index, changes), values };
    KINDS[layer.kind](used, given, values);
    empty(values, layer.shape[0], changes.silenced?.[index]);
    given = used;
    return used;
  });
  return { layers, logits: given.values, probs: softmax(given.values) };
}

function softmax(logits) {
  const most = largest(logits);
  const powers = Float64Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

// How each kind of layer fills `values` from what it is given.
const KINDS = {
  linear({ weight, bias, weightShape: [, numInputs] }, given, values) {
    for (let output = 0; output < values.length; output += 1) {
      const sum = product(weight, output * numInputs, given.values, 0, numInputs);
      values[output] = sum + (bias?.[output] ?? 0);
    }
  },

  // Each value is a product of a filter with the patch of the maps that it lies on.
  convolution({ weight, bias, weightShape, shape, numbers }, given, values) {
    const [numOutputs, ...patch] = weightShape;
    const patches = patchesOf(given, patch, numbers, shape);
    const size = sizeOf(patch);
    let to = 0;
    for (let output = 0; output < numOutputs; output += 1) {
      const shift = bias?.[output] ?? 0;
      for (let at = 0; at < patches.length; at += size, to += 1) {
        values[to] = product(weight, output * size, patches, at, size) + shift;
      }
    }
  },

  // One patch of its own size, that lies within.
  crop({ shape, numbers: { edge } }, given, values) {
    values.set(patchesOf(given, shape, { stride: 1, padding: -edge }, [1, 1, 1]));
  },

  "max pooling"(layer, given, values) {
    values.fill(-Infinity);
    pool(layer, given, values, Math.max);
  },

  "average pooling"(layer, given, values) {
    const share = 1 / layer.numbers.kernel_size ** 2;
    pool(layer, given, values, (sum, each) => sum + share * each);
  },

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
    from.forEach((each, i) => (values[(i % size) * maps + Math.floor(i / size)] = each));
  },
};

// What a filter of so many maps, rows and columns covers at each place, one after another; around
// the maps it covers 0.
function patchesOf(given, [maps, high, wide], { stride, padding }, [, height, width]) {
  const [, rows, columns] = given.shape;
  const patches = new Float32Array(height * width * maps * high * wide);
  let to = 0;
  for (let place = 0; place < height * width; place += 1) {
    const left = (place % width) * stride - padding;
    const top = Math.floor(place / width) * stride - padding;
    for (let map = 0; map < maps; map += 1) {
      for (let y = top; y < top + high; y += 1) {
        const start = (map * rows + y) * columns;
        for (let x = left; x < left + wide; x += 1, to += 1) {
          const isInside = y >= 0 && y < rows && x >= 0 && x < columns;
          patches[to] = isInside ? given.values[start + x] : 0;
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

// Each value of a map joined with all that a square of the map before covers.
function pool({ shape: [, height, width], numbers }, given, values, joined) {
  const { kernel_size: side, stride } = numbers;
  const [, rows, columns] = given.shape;
  for (let to = 0; to < values.length; to += 1) {
    const line = Math.floor(to / width);
    const row = Math.floor(line / height) * rows + (line % height) * stride;
    const corner = row * columns + (to % width) * stride;
    for (let k = 0; k < side ** 2; k += 1) {
      const from = corner + Math.floor(k / side) * columns + (k % side);
      values[to] = joined(values[to], given.values[from]);
    }
  }
}

// Make all numbers of some units 0.
function empty(values, numUnits, units = []) {
  const perUnit = values.length / numUnits;
  for (const unit of units) values.fill(0, unit * perUnit, (unit + 1) * perUnit);
}

// The weights of a layer as `changes` have them: the layer's own where there is no change.
function changedWeight({ weight, weightShape }, index, { noise = {}, zeroed = {} }) {
  const { share = 0, seed = 0 } = noise[index] ?? {};
  if (!weight || (!share && !zeroed[index]?.length)) return weight;
  const drawn = share ? noiseFor(weight, 1000 * seed + index) : [];
  const changed = share ? weight.map((each, i) => each + share * drawn[i]) : weight.slice();
  empty(changed, weightShape[0], zeroed[index]);
  return changed;
}

const noises = new WeakMap(); // weights -> the last noise drawn for them, and its seed

function noiseFor(weight, seed) {
  if (noises.get(weight)?.seed !== seed) {
    const mean = weight.reduce((sum, each) => sum + each, 0) / weight.length;
    const squares = weight.reduce((sum, each) => sum + (each - mean) ** 2, 0);
    const deviation = Math.sqrt(squares / weight.length);
    const drawn = normal(weight.length, seed).map((each) => each * deviation);
    noises.set(weight, { seed, drawn });
  }
  return noises.get(weight).drawn;
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
  const radius = () => Math.sqrt(-2 * Math.log(uniform()));
  return Float32Array.from({ length: count }, () => radius() * Math.cos(2 * Math.PI * uniform()));
}
