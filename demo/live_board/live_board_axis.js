// Where the moments of a run lie on the chosen axis: epochs, steps, or the time it has trained.
// The seconds are the training's own, by its monotonic clock: pauses, interruptions and clock jumps do not count.

const UNITS = { s: 1, min: 60, h: 3600 };

// Where the run's own curve begins, in epochs: a fork begins where it left its parent.
function firstEpoch(store) {
  return store.about?.forked_from?.[1] ?? 0;
}

function stepKnots(store) {
  const perEpoch = store.about?.steps_per_epoch || 1;
  const knots = [[firstEpoch(store) * perEpoch, firstEpoch(store)]];
  for (const row of store.epochs) {
    const last = knots[knots.length - 1];
    if (row[AT_STEP] !== null && row[AT_STEP] > last[0] && row[0] > last[1]) knots.push([row[AT_STEP], row[0]]);
  }
  return { knots, perEpoch };
}

function epochOfStep(store, step) {
  const { knots, perEpoch } = stepKnots(store);
  return between(knots, step, 1 / perEpoch);
}

function secondKnots(store, parent) {
  const begun = parent ? makeAxis("time", parent, null, "s").of(firstEpoch(store)) : 0;
  const knots = [[firstEpoch(store), begun]];
  for (const row of store.epochs) {
    const last = knots[knots.length - 1];
    if (row[0] > last[0] && begun + row[SECONDS] > last[1]) knots.push([row[0], begun + row[SECONDS]]);
  }
  return knots;
}

const turned = (knots) => knots.map(([a, b]) => [b, a]);

// `of` places a moment in epochs, `back` is its inverse, `ofStep` places a step.
function makeAxis(kind, store, parent, unit) {
  const { knots, perEpoch } = stepKnots(store);
  const epochs = (step) => between(knots, step, 1 / perEpoch);
  if (kind === "step") {
    const steps = turned(knots);
    return { of: (epoch) => between(steps, epoch, perEpoch), back: epochs, ofStep: (step) => step };
  }
  if (kind === "epoch") return { of: (epoch) => epoch, back: (x) => x, ofStep: epochs };
  const [seconds, pace] = [secondKnots(store, parent), secondsAnEpoch(store) || 1];
  const [moments, scale] = [turned(seconds), UNITS[unit]];
  const of = (epoch) => between(seconds, epoch, pace) / scale;
  return { of, back: (x) => between(moments, x * scale, 1 / pace), ofStep: (step) => of(epochs(step)) };
}

// The unit in which the longest of these runs reads best.
function timeUnit(stores) {
  const longest = Math.max(0, ...stores.map((store) => makeAxis("time", store, null, "s").of(store.position())));
  return longest < 180 ? "s" : longest < 3 * 3600 ? "min" : "h";
}
