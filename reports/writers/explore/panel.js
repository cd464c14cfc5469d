// The panel: what the reader chooses, and what follows from it.

const make = (name, properties = {}, ...inside) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...inside);
  return element;
};

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

function chooser(data, changed) {
  const declared = data.declared, boxes = { tracks: [], seeds: [] };
  const select = (label, options, act = changed) => {
    const list = make("select", {}, ...options.map(([value, text]) => make("option", { value, textContent: text })));
    list.addEventListener("change", act);
    return { list, labelled: make("label", {}, `${label} `, list) };
  };
  const measures = data.metrics.map(({ name, label }) => [name, label]);
  const metric = select("Metric", measures, () => { targets(); changed(); });
  const target = select("Target", []), correction = select("Correction", Object.entries(data.corrections));
  const targets = () => {
    const kept = target.list.value, known = data.metrics.find(({ name }) => name === metric.list.value).targets;
    const options = [["", "mean over targets"], ...known.map((name) => [name, name])];
    target.list.replaceChildren(...options.map(([value, text]) => make("option", { value, textContent: text })));
    target.list.value = known.includes(kept) ? kept : "";
  };
  const ticks = (kind, legend, names) => make("fieldset", {}, make("legend", { textContent: legend }),
    make("div", { className: "ticks" }, ...names.map((name) => {
      const box = make("input", { type: "checkbox", checked: true });
      box.addEventListener("change", changed);
      boxes[kind].push([name, box]);
      return make("label", {}, box, ` ${name}`);
    })));
  const reset = make("button", { type: "button", textContent: "Reset to the declaration" });
  const form = make("div", { className: "choose" }, metric.labelled, target.labelled, correction.labelled,
    ticks("seeds", "Seeds taken", data.seeds), reset);
  const tracks = data.tracks.filter((name) => name !== "");
  if (tracks.length) reset.before(ticks("tracks", "Songs (tracks) taken", tracks));
  const declare = () => {
    metric.list.value = declared.metric;
    targets();
    target.list.value = MACRO.includes(declared.target) ? "" : declared.target;
    correction.list.value = declared.correction;
    for (const [, box] of [...boxes.tracks, ...boxes.seeds]) box.checked = true;
  };
  reset.addEventListener("click", () => { declare(); changed(); });
  declare();
  const left = (kind) => boxes[kind].filter(([, box]) => !box.checked).map(([name]) => name);
  const choice = () => ({ metric: metric.list.value, target: target.list.value, correction: correction.list.value,
    tracks: left("tracks"), seeds: left("seeds") });
  return { form, choice };
}

// What a choice changes of the declaration, in words.
function departures(data, found) {
  const { declared } = data, { choice } = found, told = [];
  const same = (a, b) => a === b || (MACRO.includes(a) && MACRO.includes(b));
  const named = (name) => data.metrics.find((each) => each.name === name).label;
  if (choice.metric !== declared.metric) told.push(`${named(choice.metric)} in place of ${named(declared.metric)}`);
  if (!same(choice.target, declared.target)) told.push(`target ${choice.target || "mean over targets"}`);
  if (choice.correction !== declared.correction) {
    told.push(`${data.corrections[choice.correction]} in place of ${data.corrections[declared.correction]}`);
  }
  const s = choice.seeds.length > 1 ? "s" : "";
  if (choice.seeds.length) told.push(`without seed${s} ${few(choice.seeds.map(String))}`);
  if (choice.tracks.length) told.push(`without ${few(choice.tracks)}`);
  const tested = found.contrasts.some(({ p }) => !Number.isNaN(p));
  if (tested && data.label && found.label !== data.label) told.push(`${found.label} in place of ${data.label}`);
  return told;
}

function shownTable({ head, rows }, caption) {
  const line = (kind, cells) => make("tr", {}, ...cells.map((text, k) => {
    const cell = make(kind, { textContent: text, className: k ? "n" : "" });
    if (kind === "th") cell.scope = "col";
    return cell;
  }));
  const table = make("table", {}, make("caption", { className: "meta" }, make("span", { textContent: caption })),
    make("thead", {}, line("th", head)), make("tbody", {}, ...rows.map((cells) => line("td", cells))));
  const region = make("div", { className: "scroll", tabIndex: 0 }, table);
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", "Explored result, table");
  return region;
}

async function panel(place) {
  const data = await unpacked(place.querySelector("script").textContent), seen = new Set();
  const banner = make("p", { className: "banner" }), sentence = make("p"), table = make("div"), notes = make("ul");
  const said = make("div", {}, banner, sentence);
  said.setAttribute("role", "status");
  notes.className = "points";
  const show = () => {
    const choice = chosen.choice(), found = explore(data, choice), told = departures(data, found);
    const metric = data.metrics.find(({ name }) => name === choice.metric);
    const style = styleOf(metric, found.rows.flatMap(({ scores }) => scores));
    if (told.length) seen.add(JSON.stringify(choice));
    const { instead } = data, other = instead.text && (!instead.metric || instead.metric === choice.metric);
    place.classList.toggle("explored", told.length > 0 || other);
    const more = "choices looked at so far: the more, the likelier a star by chance.";
    banner.textContent = [
      told.length ? `Explored, not declared: ${told.join("; ")}.` : other ? "Explored, not declared: another test." :
        "The choices of the declaration, as in the result above.",
      other ? `${instead.text} Shown in its place: ${found.label}.` : "",
      seen.size > 1 ? `${seen.size} ${more}` : "",
    ].filter(Boolean).join(" ");
    sentence.textContent = headline(data, found, style);
    const unit = style.unit ? `In ${style.unit}. ` : "";
    const marked = told.length || other ? "Explored, not declared. " : "";
    const about = `difference to ${data.reference} by ${found.label}; ${familyPhrase(data, found)}`;
    const caption = `${marked}${unit}Mean ± standard error over runs; ${about}.`;
    table.replaceChildren(shownTable(tableOf(data, found, style), caption));
    const lacking = found.contrasts.filter(({ refused, note }) => refused || note);
    notes.replaceChildren(...lacking.map(({ variant, refused, note }) =>
      make("li", { textContent: `${variant}: ${refused || note}.` })));
    place.found = found;
  };
  const chosen = chooser(data, show);
  place.querySelector(".stand").replaceChildren(chosen.form, said, table, notes);
  show();
  return { data, show };
}

const place = document.querySelector(".explore details");
const start = () => place.ready ??= panel(place).catch((error) => {
  place.querySelector(".stand").textContent = `This browser cannot unpack the scores: ${error.message}.`;
});
place?.addEventListener("toggle", start);
const distributions = { tTails, tQuantile, fTail, polygamma, inverseTrigamma };
window.exploring = { place, start, unpacked, explore, styleOf, headline, tableOf, ...distributions };
