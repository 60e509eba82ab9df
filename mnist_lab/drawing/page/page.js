// Asks each network about each digit on the paper, and shows what it answers.
"use strict";

const MOST_BARS = 12; // of more classes than that the best are shown, the best on top
const NO_ANSWER = "No answer: is mnist-demo still running?";

// What answers: mnist-demo, or the page itself in a file of its own (alone.js).
const source = globalThis.alone ?? {
  json: async (path, body) => (await fetch(path, body && { method: "POST", body })).json(),
  facts: (run) => source.json(`network?run=${run}`),
  inside: (run) => source.json(`inside?run=${run}`),
  read: (levels, run) => source.json(`read?run=${run}`, levels),
  towards: (image, run, label) => source.json(`towards?run=${run}&label=${label}`, image),
};

let runs = []; // facts of each network, its card, its bars, its layers (null: not to be told)
let lookedAt = 0; // the run whose inside is shown
let digits = []; // of those on the paper, from left to right: an answer of each run
let chosen = 0; // the digit that is shown
let sheet = 0; // counts sheets of paper: an answer to an old one comes too late
let version = 0; // counts changes of the drawing
let asking = false;

// The strokes have changed; none is left of an emptied paper.
function drawn() {
  version += 1;
  if (strokes.length) ask();
  else {
    sheet += 1;
    digits = [];
    say("");
    show();
  }
}

// One question at a time; when all answers have come and the drawing has changed, the next one.
async function ask() {
  if (asking) return;
  asking = true;
  let asked;
  do {
    asked = version;
    if (!strokes.length) break;
    const sheetAsked = sheet;
    const parts = groups();
    const found = await answersTo(parts.map((each) => drawing(each))).catch(() => null);
    if (sheetAsked !== sheet) continue;
    const read = found?.filter(([{ error }]) => !error) ?? [];
    if (read.length !== digits.length) {
      const last = parts.findIndex((each) => each.includes(strokes.at(-1)));
      chosen = Math.max(0, Math.min(last, read.length - 1));
    }
    if (read.length) digits = read;
    say(found ? found.map(([{ error }]) => error).find(Boolean) ?? "" : NO_ANSWER);
    show();
  } while (asked !== version);
  asking = false;
}

// For each of several drawings an answer of each run.
async function answersTo(drawings) {
  const found = [];
  for (const levels of drawings) {
    found.push([]);
    for (const k of runs.keys()) found.at(-1).push(await source.read(levels, k));
  }
  return found;
}

function say(text) {
  element("status").textContent = text;
}

// All of the page, as things stand now.
function show() {
  const answers = digits[chosen];
  element("found").hidden = digits.length < 2;
  element("found").replaceChildren(
    ...digits.map(([{ probs, unsure }], k) => {
      const best = likeliest(probs);
      const text = `${runs[0].class_names[best]}  ${percent(probs[best])}${unsure ? " unsure" : ""}`;
      const button = make("button", k === chosen ? "chosen" : "", text);
      button.onclick = () => ((chosen = k), show());
      return make("li", "", button);
    }),
  );
  runs.forEach((run, k) => showAnswer(run, answers?.[k], answers && brokenProbs(run, k)));
  const seen = element("seen").getContext("2d");
  seen.clearRect(0, 0, 28, 28);
  if (answers) paint(element("seen"), changedImage());
  showNeighbours(runs[lookedAt], answers?.[lookedAt]);
  showInside();
  showWhy();
}

// Probabilities after all that was broken; where they were before is marked.
function showAnswer({ card, bars, class_names: names }, answer, broken) {
  const probs = broken ?? answer?.probs ?? bars.map(() => 0);
  const best = answer ? likeliest(probs) : -1;
  const before = answer && likeliest(answer.probs);
  card.querySelector(".digit").textContent = names[best] ?? "?";
  card.querySelector(".share").textContent = answer ? percent(probs[best]) : "";
  card.querySelector(".remark").textContent = [
    answer?.unsure && !broken ? "unsure: unlike what it learned from, or like several classes" : "",
    broken && best !== before ? `was ${names[before]}` : "",
  ].join("");
  bars.forEach(({ item, fill, mark, share }, k) => {
    item.classList.toggle("best", k === best);
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

function showNeighbours({ class_names: names, num_images: count }, answer) {
  const near = answer?.neighbours ?? [];
  const best = answer && likeliest(answer.probs);
  const alike = near.filter((each) => each.label === best).length;
  element("nearest").textContent =
    `Of ${count?.toLocaleString("en")} training images, those most alike to the last hidden layer` +
    (near.length ? `: ${alike} of ${near.length} are labelled ${names[best]}.` : ".");
  element("neighbours").replaceChildren(
    ...near.map((each) => {
      const tile = Object.assign(make("canvas", "pixels"), { width: 28, height: 28 });
      paint(tile, floats(each.image));
      const item = make("li", each.label === best ? "" : "other", tile, names[each.label]);
      item.title = `training image ${each.index}, distance ${each.distance.toFixed(2)}`;
      return item;
    }),
  );
}

const likeliest = (probs) => probs.indexOf(Math.max(...probs));
const percent = (prob) => `${(100 * prob).toFixed(1)} %`;

// 784 grey levels, 0 paper to 255 ink, as numbers 0..1.
function floats(base64) {
  return Float32Array.from(atob(base64), (letter) => letter.charCodeAt(0) / 255);
}

// Paint 784 numbers, 0 paper to 1 ink, as ink on paper.
function paint(canvas, image) {
  const pixels = new ImageData(28, 28);
  image.forEach((level, i) => {
    pixels.data.fill(255 - Math.round(255 * level), 4 * i, 4 * i + 3);
    pixels.data[4 * i + 3] = 255;
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function make(tag, className, ...children) {
  const made = Object.assign(document.createElement(tag), { className });
  made.append(...children);
  return made;
}

function makeBar(name) {
  const [fill, mark, share] = [make("div", "fill"), make("div", "mark"), make("span", "percent")];
  const item = make("li", "", make("span", "label", name), make("div", "track", fill, mark), share);
  return { item, fill, mark, share };
}

// A network's card: the first one is in the page, another is a copy of it.
function makeRun(facts, k) {
  const card = k ? document.querySelector(".answer").cloneNode(true) : element("answer");
  if (k) [card, ...card.querySelectorAll("[id]")].forEach((each) => each.removeAttribute("id"));
  if (k) [...document.querySelectorAll(".answer")].at(-1).after(card);
  const known = facts.test_acc === null ? "" : `, right on ${percent(facts.test_acc)} of the test`;
  card.querySelector(".network").textContent = `${facts.run}, epoch ${facts.epoch}${known}`;
  const bars = facts.class_names.map(makeBar);
  card.querySelector(".bars").replaceChildren(...bars.map(({ item }) => item));
  return { ...facts, card, bars };
}

async function start() {
  const first = await source.facts(0);
  const all = [first];
  while (all.length < first.num_runs) all.push(await source.facts(all.length));
  document.title = `${first.title}: mnist_lab`;
  element("title").textContent = first.title;
  element("data").textContent = `trained on ${first.data}`;
  runs = all.map(makeRun);
  document.body.classList.toggle("two", runs.length > 1);
  element("nearest").closest("section").hidden = !first.num_images;
  clearPaper();
  element("clear").addEventListener("click", clearPaper);
  element("back").addEventListener("click", () => redraw(strokes.slice(0, -1)));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") clearPaper();
    if (event.key === "Backspace" && !event.target.matches("input")) redraw(strokes.slice(0, -1));
  });
  for (const [k, run] of runs.entries()) {
    const told = await source.inside(k);
    Object.assign(run, told.reason ? told : { layers: unpackNetwork(told) });
  }
  startInside();
}

start().catch((error) => {
  console.error(error);
  say(NO_ANSWER);
});
