// The distributions that the tests of explore/tests.js need, to twelve digits.
const BERNOULLI = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6];

const series = (x, term) => BERNOULLI.reduce((sum, b, k) => sum + term(b, 2 * k + 2), 0);
// What Stirling's formula lacks of the logarithm of gamma(x), for x from ten on.
const stirling = (x) => series(x, (b, n) => b / (n * (n - 1) * x ** (n - 1)));

function logGamma(x) {
  let below = 0;
  for (; x < 10; x++) below += Math.log(x);
  return (x - 0.5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + stirling(x) - below;
}

// In parts that cancel for great arguments: no difference of great logarithms is taken.
function logBeta(a, b) {
  const p = Math.min(a, b), q = Math.max(a, b), rest = Math.log1p(-p / (p + q));
  if (q < 10) return logGamma(p) + logGamma(q) - logGamma(p + q);
  const more = stirling(q) - stirling(p + q);
  if (p < 10) return logGamma(p) + more + p - p * Math.log(p + q) + (q - 0.5) * rest;
  const log = (p - 0.5) * Math.log(p / (p + q)) + q * rest - Math.log(q) / 2;
  return log + Math.log(2 * Math.PI) / 2 + stirling(p) + more;
}

// The regularised incomplete beta function at x, by its continued fraction (Lentz); y is 1 - x.
function incompleteBeta(a, b, x, y) {
  if (x <= 0 || y <= 0) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(b, a, y, x);
  const log = (value, other) => other < 0.5 ? Math.log1p(-other) : Math.log(value);
  const front = Math.exp(a * log(x, y) + b * log(y, x) - logBeta(a, b)) / a;
  let c = 1, d = 1 / (1 - (a + b) * x / (a + 1)), fraction = d;
  for (let m = 1; m < 20000; m++) {
    for (const part of [m * (b - m) / ((a + 2 * m - 1) * (a + 2 * m)),
      -(a + m) * (a + b + m) / ((a + 2 * m) * (a + 2 * m + 1))]) {
      d = 1 / (1 + part * x * d || 1e-300);
      c = 1 + part * x / c || 1e-300;
      fraction *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-16) break;
  }
  return front * fraction;
}

// Two-sided p of a t, and the t of a two-sided p.
const tTails = (t, df) => incompleteBeta(df / 2, 0.5, df / (df + t * t), t * t / (df + t * t));

function tQuantile(alpha, df) {
  let low = 0, high = 1;
  while (tTails(high, df) > alpha && high < 1e150) high *= 2;
  for (let step = 0; step < 200; step++) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    if (tTails(middle, df) > alpha) low = middle; else high = middle;
  }
  return (low + high) / 2;
}

// How likely an F of m and n degrees of freedom is to be greater.
const fTail = (f, m, n) => f === Infinity ? 0 : incompleteBeta(n / 2, m / 2, n / (n + m * f), m * f / (n + m * f));

// Digamma, trigamma and tetragamma: order 0, 1, 2.
function polygamma(order, x) {
  let below = 0;
  for (; x < 15; x++) below += [-1 / x, x ** -2, -2 * x ** -3][order];
  if (order === 0) return below + Math.log(x) - 0.5 / x - series(x, (b, n) => b / (n * x ** n));
  if (order === 1) return below + 1 / x + 0.5 * x ** -2 + series(x, (b, n) => b / x ** (n + 1));
  return below - x ** -2 - x ** -3 - series(x, (b, n) => (n + 1) * b / x ** (n + 2));
}

// Newton's method, as in the appendix of [Smyth 2004].
function inverseTrigamma(value) {
  let y = 0.5 + 1 / value;
  for (let step = 0; step < 60; step++) {
    const slope = polygamma(1, y), move = slope * (1 - slope / value) / polygamma(2, y);
    y += move;
    if (Math.abs(move) < 1e-14 * y) break;
  }
  return y;
}
