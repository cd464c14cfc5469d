// Numbers and the sentence as reports/text.py and reports/prose.py write them.

const MISSING = "–";

function number(value, digits, signed = false) {
  if (Number.isNaN(value)) return MISSING;
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : (value < 0 ? "−" : signed ? "+" : "") + text;
}

function scientific(value, digits, signed = false) {
  if (!Number.isFinite(value) || value === 0) return number(value, digits);
  const [mantissa, power] = Math.abs(value).toExponential(digits).split("e");
  return `${value < 0 ? "−" : signed ? "+" : ""}${mantissa}e${Number(power)}`;
}

function pValue(p) {
  if (Number.isNaN(p)) return MISSING;
  if (p >= 0.9995) return "1";
  if (p < 0.0001) return "< .0001";
  const text = p.toFixed(p < 0.001 ? 4 : p < 0.0995 ? 3 : 2);
  return text === "1.00" ? "1" : text.replace(/^0+/, "");
}

// How a metric is written, by what is known of it and by the scores of the runs.
function styleOf(metric, scores) {
  const greatest = peak(scores), most = 8;
  const powers = metric.digits === null && !metric.unit && greatest > 0 && !(greatest >= 1e-4 && greatest < 1e6);
  let { digits } = metric;
  if (digits === null && metric.unit) digits = 2;
  else if (digits === null) {
    const size = (scores.length > 1 ? range(scores) : 0) || greatest || 1;
    const power = powers ? Math.floor(Math.log10(greatest)) : 0;
    digits = Math.min(most, Math.max(2, 2 + power - Math.floor(Math.log10(size))));
  }
  const scale = metric.unit === "points" && greatest <= 1 ? 100 : 1;
  const hidden = (value) => digits >= most && value !== 0 && Math.abs(value) < 10 ** (2 - digits);
  const amount = (value, signed) =>
    powers || hidden(value) ? scientific(value, 2, signed) : number(value, digits, signed);
  const difference = (value) => amount(value * scale, true), whole = 100 / scale;
  const interval = (low, high, base) => {
    if (Number.isNaN(low) || Number.isNaN(high) || low === high) return MISSING;
    const clip = (value) => metric.unit !== "points" ? value :
      Math.min(Math.max(value, Math.min(-base, 0)), Math.max(whole - base, 0));
    return `[${difference(clip(low))}, ${difference(clip(high))}]`;
  };
  return { unit: metric.unit, label: metric.label, better: metric.higher ? 1 : -1, difference, interval,
    value: (score) => powers ? scientific(score * scale, digits) : number(score * scale, digits),
    spread: (score) => amount(score * scale) };
}

const meanError = (style, row) => Number.isNaN(row.mean) ? MISSING :
  style.value(row.mean) + (Number.isNaN(row.se) ? "" : ` ± ${style.spread(row.se)}`);
const listing = (names) => names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0];
const few = (names) => listing(names.length > 5 ? [...names.slice(0, 4), `${names.length - 4} more`] : names);

function familyPhrase(data, found) {
  const { correction } = found.choice;
  if (correction === "none") return `uncorrected, ${found.family} contrasts`;
  return `${data.corrections[correction]}, family of ${found.family}`;
}

function headline(data, found, style) {
  const { target } = found.choice, label = style.label + (MACRO.includes(target) ? "" : ` (${target})`);
  const tested = found.contrasts.filter(({ corrected }) => !Number.isNaN(corrected));
  if (!tested.length) return `No variant could be tested against ${data.reference} on ${label}.`;
  const sides = [1, -1].map((side) => tested
    .filter(({ corrected, difference }) => corrected < found.alpha && side * style.better * difference > 0)
    .sort((a, b) => Math.abs(b.difference) - Math.abs(a.difference)));
  const family = `${found.label}, ${familyPhrase(data, found)}`;
  const where = `${found.test === "item_means" ? "These models as given: on" : "On"} ${label}`;
  const unit = style.unit ? ` ${style.unit}` : "", parts = [];
  const told = ({ variant, difference, corrected }) =>
    `${variant} (${style.difference(difference)}${unit}, corrected p ${pValue(corrected).replace(/^(?=[.1])/, "= ")})`;
  sides.forEach((side, k) => {
    const how = `${side.length > 1 ? "are" : "is"} significantly ${["better", "worse"][k]} than ${data.reference}`;
    if (side.length) parts.push(`${few(side.map(told))} ${how}`);
  });
  if (parts.length) {
    const rest = tested.length - sides[0].length - sides[1].length;
    const other = rest > 1 ? `other ${rest} variants` : "other variant";
    return `${where}, ${parts.join("; ")} (${family}).${rest ? ` For the ${other} no difference could be shown.` : ""}`;
  }
  const one = tested.length === 1;
  const many = one ? "the one variant tested" : `none of the ${tested.length} variants tested`;
  return `${where}, ${many} ${one ? "does not differ" : "differs"} significantly from ${data.reference} (${family}).`;
}

// The columns of reports/sections/result.py that can be made again; a narrow screen shows the first.
function tableOf(data, found, style) {
  const { correction } = found.choice, confidence = `${+(100 * (1 - found.alpha)).toPrecision(6)}\u00a0%`;
  const kind = { none: "", bonferroni: "simultaneous " }[correction] ?? `${data.corrections[correction]} `;
  const head = ["variant", "difference", `${confidence} ${kind}CI`, "p corrected", "mean ± SE", "test", "p", "runs"];
  const rows = found.rows.map((row) => {
    const each = found.contrasts.find(({ variant }) => variant === row.variant), own = meanError(style, row);
    const runs = String(row.runs), untested = each ? "refused" : "reference";
    if (!each || each.refused) return [row.variant, untested, "", "", own, "", "", runs];
    const t = Number.isNaN(each.t ?? NaN) ? MISSING : `t(${each.df.toFixed(1)}) = ${number(each.t, 2)}`;
    const stars = "*".repeat([0.05, 0.01, 0.001].filter((limit) => each.corrected < limit).length);
    const interval = style.interval(each.wideLow, each.wideHigh, each.reference);
    const corrected = `${pValue(each.corrected)} ${stars}`.trim();
    const shown = [style.difference(each.difference), interval, corrected, own, t, pValue(each.p), runs];
    return [row.variant, ...shown];
  });
  return { head, rows };
}
