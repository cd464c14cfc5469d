// From the scores that the page holds and what the reader chose to the numbers of a table, as reports/comparison.py and
// reports/overlap.py take them. A choice is { metric, target, correction, tracks, seeds }; the last two are left out.

const MACRO = ["macro", ""];

function selected(data, choice) {
  const metric = data.metrics.findIndex(({ name }) => name === choice.metric), { rows } = data, found = [];
  for (let k = 0; k < rows.score.length; k++) {
    const seed = data.seeds[rows.seed[k]], track = data.tracks[rows.track[k]];
    if (rows.metric[k] !== metric || choice.seeds.includes(seed) || (track && choice.tracks.includes(track))) continue;
    found.push({ variant: rows.variant[k], seed, track, target: data.targets[rows.target[k]], score: rows.score[k] });
  }
  const named = MACRO.includes(choice.target) ? MACRO : [choice.target];
  const target = named.find((name) => found.some((row) => row.target === name));
  const chosen = target === undefined && named === MACRO ? found : found.filter((row) => row.target === target);
  const single = chosen.filter((row) => row.track !== "");
  return single.length ? single : chosen;
}

// An arm: its runs' scores by seed, its cells with the number of runs that have each, its scores by seed and track.
function armOf(rows) {
  const runs = grouped(rows, (row) => row.seed), cells = new Map(), tables = new Map(), scores = new Map();
  for (const row of rows) cells.set(cellOf(row), (cells.get(cellOf(row)) ?? 0) + 1);
  for (const seed of [...runs.keys()].sort((a, b) => a - b)) {
    const byTrack = grouped(runs.get(seed), (row) => row.track), table = new Map();
    for (const [track, some] of byTrack) table.set(track, mean(some.map(({ score }) => score)));
    tables.set(seed, table);
    scores.set(seed, mean([...table.values()]));
  }
  const complete = new Set([...cells].filter(([, many]) => many === runs.size).map(([cell]) => cell));
  return { rows, scores, tables, complete };
}

const cellOf = (row) => JSON.stringify([row.target, row.track]);
const over = (arm, cells) => armOf(arm.rows.filter((row) => cells.has(cellOf(row))));

// track -> group, where some tracks share one.
function clustersOf(data, rows) {
  const named = [...new Set(rows.map(({ track }) => track))].map((track) => [track, data.groups[track] ?? ""]);
  const known = named.filter(([track, group]) => track !== "" && group !== "");
  return known.length > new Set(known.map(([, group]) => group)).size ? new Map(known) : new Map();
}

function testOf(data, several, arms) {
  if (data.test && (several || !OVER_ITEMS.includes(data.test))) return data.test;
  if (!several) return "half_pooled";
  if (Math.max(...[...arms.values()].map(({ scores }) => scores.size)) === 1) return "item_means";
  return data.shared ? "paired_crossed" : "crossed";
}

const LABELS = { half_pooled: "half-pooled t", pooled: "t, one variance of all arms", welch: "Welch t",
  student: "Student t", paired: "paired t", crossed: "seeds x #s t", paired_crossed: "seed-paired seeds x #s t",
  item_means: "paired t over #s (models as given)" };

// A contrast's arms as its test takes them: runs (a, b), tables of seeds and items (x, y), what each item counts.
function prepared(pair, test, clusters) {
  const [variant, reference] = pair, seeds = [...variant.scores.keys()].filter((seed) => reference.scores.has(seed));
  const paired = test.startsWith("paired"), runs = (arm) => paired ? seeds : [...arm.scores.keys()];
  const [a, b] = pair.map((arm) => runs(arm).map((seed) => arm.scores.get(seed)));
  const tracks = [...new Set(variant.rows.map(({ track }) => track))].filter((track) => track !== "");
  if (!OVER_ITEMS.includes(test)) return { a, b };
  const unit = (track) => clusters.size ? clusters.get(track) ?? `${track} alone` : track;
  const units = [...grouped(tracks, unit).values()];
  const [x, y] = pair.map((arm) => runs(arm).map((seed) => units.map((some) =>
    mean(some.map((track) => arm.tables.get(seed).get(track))))));
  return { a, b, x, y, share: units.map((some) => some.length / tracks.length), key: JSON.stringify([seeds, units]) };
}

// Why a test cannot be made; empty if it can.
function impossible({ a, b, share }, test) {
  const runs = Math.min(a.length, b.length);
  if (share && share.length < 2) return "needs two tracks that every run of both arms has";
  if (test === "item_means" || runs > 1) return "";
  return test.startsWith("paired") ? "needs two seeds that both arms have" : "needs two runs in each arm";
}

function differenceOf({ a, b, x, y, share }) {
  return share ? dot(columns(x).map((value, k) => value - columns(y)[k]), share) : mean(a) - mean(b);
}

function explore(data, choice) {
  const rows = selected(data, choice), { alpha, family } = data;
  const byVariant = grouped(rows, ({ variant }) => variant), arms = new Map();
  for (const [variant, some] of byVariant) arms.set(variant, armOf(some));
  const several = new Set(rows.map(({ track }) => track).filter((track) => track !== "")).size > 1;
  const test = rows.length ? testOf(data, several, arms) : "half_pooled";
  const clusters = several ? clustersOf(data, rows) : new Map();
  const contrasts = [], shown = new Map();
  data.variants.forEach((name, k) => {
    const base = data.against[k], pair = [arms.get(k), arms.get(base)];
    if (base === k) return;
    const contrast = { variant: name, base, refused: data.refused[k], note: "", difference: NaN, p: NaN };
    contrasts.push(contrast);
    if (!pair[0] || !pair[1]) {
      contrast.note = `${data.variants[pair[0] ? base : k]} has no score`;
      return;
    }
    const shared = new Set([...pair[0].complete].filter((cell) => pair[1].complete.has(cell)));
    const tracks = new Set([...shared].map((cell) => JSON.parse(cell)[1])).size, two = OVER_ITEMS.includes(test);
    if (tracks < (two ? 2 : 1)) {
      contrast.refused ||= data.own[k] ? "each arm has tracks of its own, which this page does not compute" :
        `${two ? "fewer than two tracks have" : "nothing has"} a score in every run of both`;
      return;
    }
    const both = pair.map((arm) => over(arm, shared));
    shown.set(k, both[0]);
    contrast.reference = mean([...both[1].scores.values()]);
    if (!contrast.refused) contrast.arms = prepared(both, test, clusters);
  });
  for (const block of grouped(contrasts.filter((each) => each.arms), ({ base }) => base).values()) {
    for (const contrast of block) contrast.note = impossible(contrast.arms, test);
    const able = block.filter(({ note }) => !note);
    if (able.length) TESTS[test](able.map((each) => each.arms)).forEach(({ se, df }, k) => {
      Object.assign(able[k], result(differenceOf(able[k].arms), se, df, alpha));
    });
    for (const each of block.filter(({ note, arms }) => note && Math.min(arms.a.length, arms.b.length))) {
      if (test !== "paired_crossed") each.difference = differenceOf(each.arms);
    }
  }
  correct(contrasts.map(({ p }) => p), choice.correction, family).forEach((p, k) => {
    Object.assign(contrasts[k], { corrected: p }, simultaneous(contrasts[k], p, choice.correction, family, alpha));
  });
  const table = data.variants.map((name, k) => rowOf(name, shown.get(k) ?? arms.get(k), shown.has(k)));
  const label = LABELS[test].replace("#", clusters.size ? "group" : "track");
  return { choice, rows: table, contrasts, test, label, alpha, family };
}

// The interval that leaves out zero where the corrected p is below alpha.
function simultaneous({ p, low, high, se, df, difference }, corrected, correction, family, alpha) {
  let multiple = { none: 1, bonferroni: family }[correction];
  multiple ??= p > 0 && corrected < 1 ? Math.max(1, corrected / p) : family;
  if (Number.isNaN(p)) return { wideLow: NaN, wideHigh: NaN };
  if (multiple === 1 || se === 0) return { wideLow: low, wideHigh: high };
  const half = tQuantile(alpha / multiple, df) * se;
  return { wideLow: difference - half, wideHigh: difference + half };
}

// A variant's mean over runs: over what it shares with its reference; of a reference over what all its runs have.
function rowOf(name, arm, compared) {
  const none = { variant: name, runs: 0, mean: NaN, se: NaN, scores: [] };
  if (!arm) return none;
  const whole = compared ? arm : over(arm, arm.complete), ragged = !whole.rows.length;
  const scores = [...(ragged ? arm : whole).scores.values()], many = scores.length;
  const se = many > 1 && !ragged ? Math.sqrt(variance(scores) / many) : NaN;
  return { variant: name, runs: many, mean: mean(scores), se, scores };
}
