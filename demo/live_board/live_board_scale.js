// Numbers to ticks, pixels and thinner lines. Pure functions over points [x, y] sorted by x; y may be null.

const MOST_TICKS = 100;

function tickStep(span, wanted) {
  const rough = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 5, 10].find((f) => f * power >= rough * 0.999);
  return factor * power;
}

// None where the span is too small, or the numbers too large, to be told apart.
function linearTicks(low, high, wanted) {
  const step = tickStep(high - low, wanted);
  const first = Math.ceil(low / step - 1e-6);
  const count = Math.floor(high / step + 1e-6) - first + 1;
  if (!(count > 0 && count <= MOST_TICKS)) return [];
  return Array.from({ length: count }, (_, i) => (first + i) * step);
}

// 1, 2 and 5 of every decade while there is room, else whole decades.
function logTicks(low, high, wanted) {
  const every = (factors) => {
    const ticks = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e += 1) {
      for (const factor of factors) {
        const tick = factor * 10 ** e;
        if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
      }
    }
    return ticks;
  };
  const fine = every([1, 2, 5]);
  if (fine.length <= 2 * wanted) return fine;
  const decades = every([1]);
  const stride = Math.ceil(decades.length / wanted);
  return decades.filter((_, i) => i % stride === 0);
}

function axisOf(low, high, log, wanted) {
  if (log) {
    const [a, b] = high / low < 1.5 ? [low / 1.25, high * 1.25] : [low / 1.05, high * 1.05];
    return { low: a, high: b, ticks: logTicks(a, b, wanted), at: (v) => Math.log(v / a) / Math.log(b / a) };
  }
  const step = tickStep(high - low, wanted);
  const [a, b] = [Math.floor(low / step + 1e-6) * step, Math.ceil(high / step - 1e-6) * step];
  return { low: a, high: b, ticks: linearTicks(a, b, wanted), at: (v) => (v - a) / (b - a) };
}

// The right edge in a few calm jumps instead of a new axis every second.
function calmEdge(x, most) {
  const ladder = [1, 1.5, 2, 3, 4, 5, 6, 8];
  let power = 1;
  while (power * 10 <= x) power *= 10;
  const edge = ladder.map((f) => f * power).find((f) => f >= x * 1.0001) ?? 10 * power;
  return most ? Math.min(Math.max(most, x), edge) : edge;
}

// At most about `limit` points; every bucket keeps its lowest, its highest and one gap, so no spike is lost.
function thinned(points, limit) {
  if (points.length <= limit) return points;
  const kept = [points[0]];
  const buckets = Math.max(1, Math.floor(limit / 3));
  for (let b = 0; b < buckets; b += 1) {
    const from = Math.max(1, Math.floor((b * points.length) / buckets));
    const to = Math.min(points.length - 1, Math.floor(((b + 1) * points.length) / buckets));
    let [low, high, gap] = [-1, -1, -1];
    for (let i = from; i < to; i += 1) {
      const y = points[i][1];
      if (y === null) gap = gap < 0 ? i : gap;
      else {
        if (low < 0 || y < points[low][1]) low = i;
        if (high < 0 || y > points[high][1]) high = i;
      }
    }
    for (const i of [...new Set([low, high, gap])].filter((i) => i >= 0).sort((p, q) => p - q)) kept.push(points[i]);
  }
  kept.push(points[points.length - 1]);
  return kept;
}

// Exponential average without start-up bias. Points may be unevenly spaced (a long past arrives thinned), so the
// past fades with the distance in x, not with the number of points: by `amount` over one step of a short run,
// over 1/200 of a long one, which looks alike however the run is sampled.
function smoothed(points, amount) {
  if (amount <= 0 || points.length < 3) return [];
  const span = points[points.length - 1][0] - points[0][0];
  const spacing = span / (points.length - 1);
  const unit = Math.max(spacing, span / 200);
  let [sum, weight, before] = [0, 0, points[0][0] - spacing];
  const line = [];
  for (const [x, y] of points) {
    if (y === null) continue;
    const keep = amount ** ((x - before) / unit);
    sum = sum * keep + y * (1 - keep);
    weight = weight * keep + (1 - keep);
    line.push([x, sum / weight]);
    before = x;
  }
  return line;
}

// Index of the point whose x is nearest; points without a y are passed over.
function nearest(points, x) {
  let [low, high] = [0, points.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < x) low = middle + 1;
    else high = middle;
  }
  let best = null;
  for (let i = Math.max(0, low - 3); i <= Math.min(points.length - 1, low + 3); i += 1) {
    const better = best === null || Math.abs(points[i][0] - x) < Math.abs(best[0] - x);
    if (points[i][1] !== null && better) best = points[i];
  }
  return best;
}

function bounds(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const v of values) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return low <= high ? [low, high] : null;
}

// The line through knots [[a, b], …] that rise in a; beyond the last knot it goes on by `slope`.
function between(knots, v, slope) {
  const last = knots[knots.length - 1];
  if (knots.length === 1 || v >= last[0]) return last[1] + (v - last[0]) * slope;
  let [low, high] = [0, knots.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (knots[middle][0] <= v) low = middle;
    else high = middle;
  }
  const [a, b] = [knots[low], knots[high]];
  return a[1] + ((v - a[0]) * (b[1] - a[1])) / (b[0] - a[0]);
}
