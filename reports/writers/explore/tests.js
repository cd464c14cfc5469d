// The declared tests of reports/statistics, made again for scores that the reader chooses. What they mean is said
// there; tests/reports/test_explore.py holds every number against them.
const OVER_ITEMS = ["crossed", "paired_crossed", "item_means"];
const POOLED_FROM = 5, FEW_SEEDS = 4, OWN_LEVEL = 0.03, SHRINK = 0.5;

function grouped(values, key) {
  const found = new Map();
  for (const value of values) {
    const name = key(value);
    if (found.has(name)) found.get(name).push(value); else found.set(name, [value]);
  }
  return found;
}
const add = (values) => values.reduce((sum, value) => sum + value, 0);
const mean = (values) => add(values) / values.length;
const dot = (values, share) => values.reduce((sum, value, k) => sum + value * share[k], 0);
const peak = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
const least = (values) => values.reduce((least, value) => Math.min(least, value), Infinity);
const range = (values) => -least(values.map((value) => -value)) - least(values);
const columns = (table) => table[0].map((_, k) => mean(table.map((row) => row[k])));
const squared = (values, middle = mean(values)) => add(values.map((value) => (value - middle) ** 2));
const variance = (values) => range(values) <= 1e-13 * peak(values) ? 0 : squared(values) / (values.length - 1);
const minus = (a, b) => a.map((row, s) => row.map((value, k) => value - b[s][k]));

// ---- groups of items: reports/statistics/groups.py

const factors = (share) => share.map((part) => share.length * (share.length - 1) * part ** 2 / (1 - part));

function scatter(values, share) {
  if (range(share) === 0) return variance(values);
  if (range(values) <= 1e-13 * peak(values)) return 0;
  const middle = dot(values, share), weights = factors(share);
  return add(values.map((value, k) => weights[k] * (value - middle) ** 2)) / (share.length - 1);
}

function degrees(share) {
  if (range(share) === 0) return share.length - 1;
  const spread = share.map((part) => 0.5 + 0.5 * least(share) / part);
  const weight = share.map((part) => part ** 2 / (1 - part));
  const sum = (term) => add(share.map((part, k) => term(part, weight[k], spread[k]))), s = add(weight);
  const trace = sum((part, a, v) => v * (a - 2 * a * part + s * part ** 2)), ww = sum((part, a, v) => part ** 2 * v);
  const aa = sum((part, a, v) => a * a * v), aw = sum((part, a, v) => a * part * v);
  const diagonal = sum((part, a, v) => (a * v) ** 2 + 2 * a * v * (s * part ** 2 * v - 2 * a * part * v));
  return trace ** 2 / (diagonal + 2 * aw ** 2 + 2 * aa * ww - 4 * s * aw * ww + s ** 2 * ww ** 2);
}

// ---- mean squares and standard errors: reports/statistics/half_pooled.py, seed_paired.py

function parts(table, share, tiny) {
  const runs = table.map((row) => dot(row, share)), items = columns(table), middle = mean(runs);
  const left = table.map((row, s) => row.map((value, k) => value - runs[s] - items[k] + middle));
  const weights = factors(share), none = Math.max(...left.map(peak)) <= tiny;
  const residual = none ? 0 : add(left.map((row) => add(row.map((value, k) => weights[k] * value ** 2))));
  return { runs, residual: residual / ((table.length - 1) * (share.length - 1)) };
}

function ofArm(table, share) {
  const { runs, residual } = parts(table, share, 1e-13 * Math.max(1e-300, ...table.map(peak)));
  return [variance(runs), residual];
}

function ofPair({ x, y, share }) {
  const [run, residual] = ofArm(x, share), [otherRun, otherResidual] = ofArm(y, share);
  const over = columns(x).map((value, k) => value - columns(y)[k]);
  return { n: x.length, m: y.length, run, residual, otherRun, otherResidual, items: share.length,
    item: scatter(over, share), deep: degrees(share) };
}

const ofRuns = ({ a, b }) => ({ n: a.length, m: b.length, run: variance(a), residual: 0, otherRun: variance(b),
  otherResidual: 0, items: 0, item: 0, deep: 1 });

function ofDifferences(arms, share) {
  const reference = arms[0].y, seeds = reference.length, many = arms.length, tables = arms.map(({ x }) => x);
  const weight = many < POOLED_FROM ? 0 : (many - 1) / many;
  const tiny = 1e-13 * Math.max(1e-300, ...[...tables, reference].flat().map(peak));
  const measured = (table) => {
    const { runs, residual } = parts(table, share, tiny);
    return [range(runs) <= tiny ? 0 : squared(runs) / (seeds - 1), residual];
  };
  const middle = () => reference.map((row, s) => row.map((_, k) => mean(tables.map((table) => table[s][k]))));
  const centre = weight ? middle() : tables[0];
  const [otherRun, otherResidual] = measured(minus(centre, reference));
  return tables.map((table) => {
    const [run, residual] = weight ? measured(minus(table, centre)) : [0, 0];
    const over = columns(minus(table, reference)), middle = dot(over, share), weights = factors(share);
    const item = range(over) <= tiny ? 0 : add(over.map((value, k) => weights[k] * (value - middle) ** 2));
    return { n: seeds, m: seeds, run, residual, otherRun, otherResidual, items: share.length,
      item: item / (share.length - 1), deep: degrees(share), dof: (seeds - 1) * (weight || 1) };
  });
}

function larger(squares, dof) {
  const all = dot(squares, dof), df = add(dof);
  return squares.map((square, k) => squares.length > 1 &&
    fTail(square / ((all - square * dof[k]) / (df - dof[k])), dof[k], df - dof[k]) < OWN_LEVEL);
}

function moderated(squares, dof, own) {
  const all = add(dof), pool = dot(squares, dof) / all;
  let prior = Infinity;
  if (squares.length > 1) {
    const logs = squares.map((square, k) => Math.log(Math.max(square, 1e-5 * pool, 1e-300)) + Math.log(dof[k] / 2) -
      polygamma(0, dof[k] / 2));
    const spread = squared(logs) / (logs.length - 1) - mean(dof.map((each) => polygamma(1, each / 2)));
    if (spread > 1e-3) prior = 2 * inverseTrigamma(spread);
  }
  return squares.map((square, k) => {
    if (own[k]) return [square, dof[k]];
    const weight = prior === Infinity ? 1 : prior / (prior + dof[k]);
    return [weight * pool + (1 - weight) * square, Math.min(prior + dof[k], all)];
  });
}

function errors(squares) {
  const over = squares[0].items > 0, dof = squares.map((each) => each.dof ?? each.n - 1);
  const own = larger(squares.map(({ run }) => run), dof), runs = moderated(squares.map(({ run }) => run), dof, own);
  const deeper = dof.map((df, k) => df * squares[k].deep), part = squares.length > 1 ? SHRINK : 0;
  const rest = over ? moderated(squares.map(({ residual }) => residual), deeper, own) : [];
  return squares.map(({ n, m, otherRun, otherResidual, items, item, deep }, k) => {
    const run = runs[k][0] / n, reference = otherRun / m, both = run + reference;
    const moved = run > 0 ? reference ** (1 - part) * run ** part : reference;
    const scale = moved + run > 0 ? both / (moved + run) : 0;
    const spread = (run * scale) ** 2 / runs[k][1] + (moved * scale) ** 2 / (m - 1);
    if (!over) return { se: Math.sqrt(both), df: both ** 2 / spread };
    const residual = rest[k][0] / (n * items), other = otherResidual / (m * items), floor = residual + other;
    const total = Math.max(both + item / items - floor, floor);
    const residuals = residual ** 2 / rest[k][1] + other ** 2 / ((m - 1) * deep);
    return { se: Math.sqrt(total), df: total ** 2 / (spread + Math.max(item / items, floor) ** 2 / deep + residuals) };
  });
}

function pooledErrors(squares) {
  const own = add(squares.map(({ n }) => n - 1)), sum = add(squares.map(({ n, run }) => run * (n - 1)));
  return squares.map(({ n, m, otherRun }) => {
    const df = own + m - 1, se = Math.sqrt((sum + otherRun * (m - 1)) / df * (1 / n + 1 / m));
    return { se, df: se > 0 ? df : NaN };
  });
}

function pairedErrors(arms) {
  const found = errors(ofDifferences(arms, arms[0].share)), seeds = arms[0].y.length;
  const alone = arms.length < POOLED_FROM && seeds < FEW_SEEDS;
  return found.map(({ se, df }) => ({ se, df: alone && df > seeds - 1 ? seeds - 1 : df }));
}

// ---- one test of each name; each takes the contrasts of one reference and gives { se, df } of each

const alone = (test) => (arms) => arms.map(test);
const TESTS = {
  half_pooled: (arms) => errors(arms.map(ofRuns)),
  pooled: (arms) => pooledErrors(arms.map(ofRuns)),
  welch: alone(({ a, b }) => {
    const each = [a, b].map((arm) => variance(arm) / arm.length), sum = add(each);
    return { se: Math.sqrt(sum), df: sum ** 2 / (each[0] ** 2 / (a.length - 1) + each[1] ** 2 / (b.length - 1)) };
  }),
  student: alone(({ a, b }) => {
    const df = a.length + b.length - 2, pool = ((a.length - 1) * variance(a) + (b.length - 1) * variance(b)) / df;
    return { se: Math.sqrt(pool * (1 / a.length + 1 / b.length)), df };
  }),
  paired: alone(({ a, b }) => ({ se: Math.sqrt(variance(a.map((x, k) => x - b[k])) / a.length), df: a.length - 1 })),
  crossed: (arms) => errors(arms.map(ofPair)),
  paired_crossed: (arms) => {
    const found = new Map();
    for (const block of grouped(arms, (arm) => arm.key).values()) {
      for (const some of block.length < POOLED_FROM ? block.map((one) => [one]) : [block]) {
        pairedErrors(some).forEach((each, k) => found.set(some[k], each));
      }
    }
    return arms.map((arm) => found.get(arm));
  },
  item_means: alone(({ x, y, share }) => {
    const over = columns(x).map((value, k) => value - columns(y)[k]);
    return { se: Math.sqrt(scatter(over, share) / share.length), df: degrees(share) };
  }),
};

function result(difference, se, df, alpha) {
  if (se > 0 && df > 0) {
    const half = tQuantile(alpha, df) * se, t = difference / se;
    return { difference, se, df, t, p: tTails(t, df), low: difference - half, high: difference + half };
  }
  if (se === 0 && difference === 0) return { difference, se, df: NaN, t: NaN, p: 1, low: 0, high: 0 };
  return { difference, se: NaN, df: NaN, t: NaN, p: NaN, low: NaN, high: NaN };
}

// ---- corrections: reports/statistics/corrections.py

function correct(ps, method, family) {
  const known = ps.filter((p) => !Number.isNaN(p)), many = Math.max(ps.length, family);
  if (method === "none" || !known.length) return ps;
  const order = [...ps.keys()].filter((k) => !Number.isNaN(ps[k])).sort((a, b) => ps[a] - ps[b]);
  const out = ps.map(() => NaN);
  let bound = method === "bh" ? 1 : 0;
  const ranked = method === "bh" ? [...order.keys()].reverse() : [...order.keys()];
  for (const rank of ranked) {
    const p = ps[order[rank]];
    if (method === "bonferroni") bound = p * many;
    else if (method === "holm") bound = Math.max(bound, p * (many - rank));
    else bound = Math.min(bound, p * many / (rank + 1));
    out[order[rank]] = Math.round(Math.min(1, bound) * 1e15) / 1e15;
  }
  return out;
}
