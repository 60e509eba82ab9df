// Asks each network about each digit on the paper, and shows what it answers.
"use strict";

const MOST_BARS = 12; // of more classes than that the best are shown, the best on top
const NO_ANSWER = "No answer: is mnist-demo still running?";
const REMARKS = {
  true: "unsure: unlike what it learned from, or like several classes",
  null: "cannot tell whether it is unsure",
};

// What answers: mnist-demo, or the page itself in a file of its own (alone.js).
const source = globalThis.alone ?? {
  json: async (path, body) => (await fetch(path, body && { method: "POST", body })).json(),
  facts: (run) => source.json(`network?run=${run}`),
  inside: (run) => source.json(`inside?run=${run}`),
  read: (levels, run) => source.json(`read?run=${run}`, levels),
  towards: (image, run, label) => source.json(`towards?run=${run}&label=${label}`, image),
};

const runs = []; // facts of each network, its card, its bars, its layers (null: not to be told)
let lookedAt = 0; // the run whose inside is shown
let digits = []; // of those on the paper, from left to right: an answer of each run
let chosen = 0; // the digit that is shown
let version = 0; // counts changes of the drawing
let asking = false;

// The strokes have changed. One question at a time: when all answers have come and the drawing has
// changed again, the next one. What was asked of another sheet of paper comes too late.
async function drawn() {
  version += 1;
  if (!strokes.length) {
    digits = [];
    say("");
    show();
  }
  if (asking) return;
  asking = true;
  for (let asked; strokes.length && asked !== version; ) {
    asked = version;
    const [sheet, parts] = [strokes, groups()];
    const answers = (levels) => Promise.all(runs.map((_, k) => source.read(levels, k)));
    const reading = Promise.all(parts.map((each) => answers(drawing(each))));
    const found = await reading.catch(() => [[{ error: NO_ANSWER }]]);
    if (sheet !== strokes) continue;
    const error = found.flat().find((each) => each.error)?.error;
    if (!error) digits = found;
    chosen = Math.min(parts.findIndex((each) => each.includes(sheet.at(-1))), digits.length - 1);
    say(error ?? "");
    show();
  }
  asking = false;
}

const say = (text) => (element("status").textContent = text);

// All of the page, as things stand now.
function show() {
  const answers = digits[chosen];
  const image = answers && changedImage();
  const passes = runs.map(({ layers }, k) => {
    const isWanted = layers && image && (k === lookedAt || isBroken(k));
    return isWanted ? forward(layers, image, k === lookedAt ? broken : {}) : null;
  });
  runs.forEach((run, k) => showAnswer(run, answers?.[k], isBroken(k) && passes[k]?.probs));
  element("found").hidden = digits.length < 2;
  element("found").replaceChildren(
    ...digits.map(([{ probs, unsure }], k) => {
      const onclick = () => show((chosen = k));
      const text = `${named(runs[0], probs)}${unsure ? " unsure" : ""}`;
      return make("li", {}, make("button", { onclick, ariaPressed: k === chosen }, text));
    }),
  );
  element("seen").getContext("2d").clearRect(0, 0, FIELD, FIELD);
  if (image) paint(element("seen"), image);
  showInside(passes[lookedAt]);
  showWhy();
}

// Probabilities after all that was broken; where they were before is marked.
function showAnswer({ card, bars, class_names: names }, answer, broken) {
  const probs = broken || (answer?.probs ?? bars.map(() => 0));
  const [best, before] = [probs, answer?.probs ?? probs].map(likeliest);
  const text = (name, value) => (card.querySelector(name).textContent = value);
  text(".digit", answer ? names[best] : "?");
  text(".share", answer ? percent(probs[best]) : "");
  text(".remark", broken ? was(best, before, names) : (REMARKS[answer?.unsure] ?? ""));
  bars.forEach(({ item, fill, mark, share }, k) => {
    item.classList.toggle("best", answer && k === best);
    fill.style.transform = `scaleX(${probs[k]})`;
    mark.hidden = !broken;
    mark.style.left = `${100 * (answer?.probs[k] ?? 0)}%`;
    share.textContent = answer ? percent(probs[k]) : "";
  });
  if (bars.length <= MOST_BARS) return;
  const order = [...bars.keys()].sort((a, b) => probs[b] - probs[a]);
  const shown = order.slice(0, MOST_BARS).map((k) => bars[k].item);
  card.querySelector(".bars").replaceChildren(...shown);
}

const likeliest = (probs) => probs.indexOf(largest(probs));
const percent = (prob) => `${(100 * prob).toFixed(1)} %`;
const named = (run, probs) => `${run.class_names[likeliest(probs)]} ${percent(largest(probs))}`;
const was = (best, before, names) => (best === before ? "" : `was ${names[before]}`);

// 784 grey levels, 0 paper to 255 ink, as numbers 0..1.
const floats = (base64) => Float32Array.from(bytesOf(base64), (level) => level / 255);

// Paint 784 numbers, 0 paper to 1 ink, as ink on paper.
function paint(canvas, image) {
  const pixels = new ImageData(FIELD, FIELD);
  pixels.data.set(Array.from(image, (level) => [...Array(3).fill(255 - 255 * level), 255]).flat());
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function makeBar(name) {
  const part = (className, ...children) => make("div", { className }, ...children);
  const [fill, mark, share] = ["fill", "mark", "percent"].map((each) => part(each));
  const item = make("li", {}, part("label", name), part("track", fill, mark), share);
  return { item, fill, mark, share };
}

// A network's card: the first one is in the page, another is a copy of it.
function makeRun(facts, { reason, ...told }, k) {
  const card = k ? document.querySelector(".answer").cloneNode(true) : element("answer");
  if (k) [card, ...card.querySelectorAll("[id]")].forEach((each) => each.removeAttribute("id"));
  if (k) runs.at(-1).card.after(card);
  const { run, epoch, test_acc: acc } = facts;
  const known = acc === null ? "" : `, right on ${percent(acc)} of the test images`;
  card.querySelector(".network").textContent = `${run}, epoch ${epoch}${known}`;
  const bars = facts.class_names.map(makeBar);
  card.querySelector(".bars").replaceChildren(...bars.map(({ item }) => item));
  return { ...facts, reason, layers: reason ? null : unpackNetwork(told), card, bars };
}

async function start() {
  const first = await source.facts(0);
  for (let k = 0; k < first.num_runs; k += 1) {
    runs.push(makeRun(await source.facts(k), await source.inside(k), k));
  }
  document.title = `${first.title}: mnist_lab`;
  element("title").textContent = first.title;
  element("data").textContent = `trained on ${first.data}`;
  document.body.classList.toggle("two", runs.length > 1);
  const paperActs = { clear: clearPaper, back: undoStroke };
  const acts = { ...paperActs, undo, whole: mend, silence, zero, cover, go: turnTowards };
  for (const [id, onclick] of Object.entries(acts)) element(id).onclick = onclick;
  document.onkeydown = ({ key, target }) => {
    if (key === "Escape") clearPaper();
    if (key === "Backspace" && !target.matches("input")) undoStroke();
  };
  lookInto(0);
  clearPaper();
}

start().catch((error) => {
  console.error(error);
  say(NO_ANSWER);
});
