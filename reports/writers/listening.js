"use strict";
// A listening test: items in an order that the listener's seed draws, and so the letters of each item.
const test = JSON.parse(document.getElementById("data").textContent);
const part = (id) => document.getElementById(id);
const answers = {};
const state = { listener: "", seed: 0, began: "", at: 0, order: [], done: false };
let group = null;

function hashed(text) { // FNV-1a, 32 bits, of the text in UTF-8
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}
function drawing(seed) { // mulberry32
  return () => {
    seed = (seed + 0x6d2b79f5) >>> 0;
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
function shuffled(list, random) {
  const out = [...list];
  for (let k = out.length - 1; k > 0; k--) {
    const other = Math.floor(random() * (k + 1));
    [out[k], out[other]] = [out[other], out[k]];
  }
  return out;
}
function make(name, properties, ...inside) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...inside);
  return element;
}
const letter = (k) => String.fromCharCode(65 + k);
const valid = (value) => Number.isFinite(value) && value >= 0 && value <= 100;
const lacking = ({ conditions }) => conditions.filter(({ id }) => !(id in answers)).length;

function begin() {
  const typed = part("listener").value.trim();
  const drawn = [...crypto.getRandomValues(new Uint8Array(4))].map((byte) => byte.toString(16).padStart(2, "0"));
  state.listener = typed || drawn.join("");
  state.seed = hashed(`${test.page}/${state.listener}`);
  state.began = new Date().toISOString();
  const random = drawing(state.seed);
  const letters = test.trials.map((trial) => ({ ...trial, conditions: shuffled(trial.conditions, random) }));
  state.order = shuffled(letters, random);
  part("start").hidden = true;
  part("item").hidden = false;
  part("told").textContent =
    `Listener ${state.listener}, seed ${state.seed}. The seed draws the order of the items and of the letters.`;
  show(0);
}

function player(trial) {
  const figure = (label, { uri, rate }) => {
    const audio = make("audio", { preload: "none", src: uri });
    audio.dataset.rate = rate;
    return make("figure", {}, audio, make("figcaption", { textContent: label }));
  };
  const sounds = [["Reference", trial.reference], ...trial.conditions.map(({ sound }, k) => [letter(k), sound])];
  const figures = sounds.map(([label, sound]) => figure(label, test.sounds[sound]));
  group = make("div", { className: "players", hidden: true }, ...figures);
  group.dataset.plain = "";
  return group;
}

function scales(trial) {
  const rows = make("div", { className: "rating" });
  rows.append(make("div", { className: "scale", ariaHidden: "true" },
    ...["bad", "poor", "fair", "good", "excellent"].map((word) => make("span", { textContent: word }))), make("span"));
  trial.conditions.forEach(({ id }, k) => {
    const hear = make("button", { type: "button", textContent: letter(k), title: `Hear ${letter(k)}` });
    const range = make("input", { type: "range", min: 0, max: 100, step: 1, value: answers[id] ?? 0 });
    const number = make("input", { type: "number", min: 0, max: 100, step: 1, value: answers[id] ?? "" });
    range.setAttribute("aria-label", `Rating of ${letter(k)}, 0 bad to 100 excellent`);
    number.setAttribute("aria-label", `Rating of ${letter(k)} as a number`);
    hear.addEventListener("click", () => group.transport?.choose(k + 1));
    const rate = (text) => {
      if (text.trim() !== "" && valid(Number(text))) answers[id] = Math.round(Number(text)); else delete answers[id];
      ready();
    };
    range.addEventListener("input", () => { number.value = range.value; rate(range.value); });
    number.addEventListener("input", () => { range.value = number.value; rate(number.value); });
    rows.append(hear, range, number);
  });
  return make("fieldset", {}, make("legend", { textContent: test.question }), rows);
}

function choice(trial) {
  const rows = trial.conditions.map(({ id }, k) => {
    const button = make("input", { type: "radio", name: "preferred", checked: answers[id] === 1 });
    button.addEventListener("change", () => {
      for (const each of trial.conditions) answers[each.id] = Number(each.id === id);
      ready();
    });
    return make("label", {}, button, ` ${letter(k)}`);
  });
  return make("fieldset", {}, make("legend", { textContent: test.question }), ...rows);
}

function ready() {
  const missing = lacking(state.order[state.at]);
  part("lacking").textContent = missing ? `Still to be rated from 0 to 100: ${missing}.` : "";
  if (test.test === "ab" && missing) part("lacking").textContent = "Choose A or B.";
  part("next").disabled = missing > 0;
}

function show(at) {
  group?.transport?.stop();
  group?.transport?.close();
  state.at = at;
  const trial = state.order[at];
  const heading = part("item").querySelector("h2");
  heading.textContent = `Item ${at + 1} of ${state.order.length}${trial.target ? `: ${trial.target}` : ""}`;
  part("place").replaceChildren(player(trial), test.test === "ab" ? choice(trial) : scales(trial));
  transport(group);
  part("back").disabled = at === 0;
  part("next").textContent = at + 1 < state.order.length ? "Next" : "Finish";
  ready();
  heading.focus();
}

function finish() {
  group.transport?.stop();
  const { study, test: kind, page } = test;
  const { listener, seed, began } = state;
  const ended = new Date().toISOString();
  const content = { format: "mss listen 1", study, test: kind, page, listener, seed, began, ended, ratings: answers };
  part("text").value = JSON.stringify(content, null, 1);
  part("item").hidden = true;
  part("end").hidden = false;
  part("end").querySelector("h2").focus();
}

function download() {
  const link = make("a", { href: URL.createObjectURL(new Blob([part("text").value], { type: "application/json" })) });
  link.download = `listening-${test.page}-${state.listener.replace(/[^\w-]+/g, "_")}.json`;
  link.click();
  state.done = true;
}

// The player's keys, wherever the focus is but where digits are typed.
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (part("item").hidden || !group?.transport || event.target.matches("input[type=number]")) return;
  const place = Number(event.key) - 1;
  if (event.key === "p") part("place").querySelector(".transport button").click();
  else if (place >= 0 && place < group.children.length) group.transport.choose(place);
});
part("start").querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); begin(); });
part("back").addEventListener("click", () => show(state.at - 1));
part("next").addEventListener("click", () => state.at + 1 < state.order.length ? show(state.at + 1) : finish());
part("download").addEventListener("click", download);
window.addEventListener("beforeunload", (event) => { if (state.listener && !state.done) event.preventDefault(); });
window.listening = { state, answers, test };
