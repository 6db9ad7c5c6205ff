// From runs to the models that charts draw. `scene` is what is on screen:
//   { runs: [{ store, parent, kin }, …] the followed one first, axis, unit, log, smoothing, words }
// `parent` is the run a fork grew out of, where it is known; `kin` is true where that one is drawn only as its past.

const LOSS = { title: "loss", unit: "", factor: 1, columns: [1, 2], show: (y) => showNumber(y) };
const ACCURACY = { title: "accuracy", unit: " %", factor: 100, columns: [3, 4], show: (y) => `${y.toFixed(1)} %` };

const axisOfRun = (scene, run) => makeAxis(scene.axis, run.store, run.parent?.store ?? null, scene.unit);

function epochPoints(scene, run, column, factor) {
  const axis = axisOfRun(scene, run);
  const own = epochRows(run.store).map((row) => [axis.of(row[0]), scaled(row[column], factor)]);
  const fork = run.parent && own.length ? lastUpTo(run.parent.store, firstEpoch(run.store)) : null;
  return fork ? [[axis.of(firstEpoch(run.store)), scaled(fork[column], factor)], ...own] : own;
}

const scaled = (value, factor) => (value === null || value === undefined ? null : value * factor);
const lastUpTo = (store, epoch) => store.epochs.findLast((row) => row[0] <= epoch) || null;

// What a fork had learned before it left its parent, and that one's parent before: drawn faint.
function pastSeries(scene, run, column, factor, key) {
  const [past, left] = [run.parent, firstEpoch(run.store)];
  if (!past || !run.kin) return [];
  const axis = axisOfRun(scene, past);
  const rows = past.store.epochs.filter((row) => row[0] <= left);
  const points = rows.map((row) => [axis.of(row[0]), scaled(row[column], factor)]);
  return [...pastSeries(scene, past, column, factor, key), { key: `${key} past`, points }];
}

function stepPoints(scene, run, column, rows = stepRows(run.store)) {
  const axis = axisOfRun(scene, run);
  return rows.map((row) => [axis.ofStep(row[0]), row[column]]);
}

// The lines of one run alone: every step, their average, the epochs.
function aloneSeries(scene, spec) {
  const [run] = scene.runs;
  const [train, val] = spec.columns;
  const { words, smoothing } = scene;
  const past = [...pastSeries(scene, run, train, spec.factor, "train"), ...pastSeries(scene, run, val, spec.factor, "val")];
  const epochs = [
    { key: "train", label: words.say("line.train"), points: epochPoints(scene, run, train, spec.factor), dots: true },
    { key: "val", label: words.say("line.val"), points: epochPoints(scene, run, val, spec.factor), dots: true },
  ];
  if (spec !== LOSS) return [...past, ...epochs];
  const raw = stepPoints(scene, run, 1);
  const steps = [{ key: "step", label: words.say("line.step"), points: raw }];
  if (smoothing > 0) steps.push({ key: "smooth", label: words.say("line.smooth"), points: smoothed(raw, smoothing) });
  return [...past, ...steps, ...epochs];
}

// Several runs: a colour and a dash each, validation strong, training thin.
function overlaidSeries(scene, spec) {
  return scene.runs.flatMap((run, i) => {
    const [train, val] = spec.columns.map((column) => epochPoints(scene, run, column, spec.factor));
    const early = spec === LOSS && run.store.epochs.length === 0;
    const thin = early ? smoothed(stepPoints(scene, run, 1), Math.max(0.5, scene.smoothing)) : train;
    const strong = { key: `r${i}`, label: run.store.name(), points: val, dots: true, reach: reachOf(scene, run) };
    return [...pastSeries(scene, run, spec.columns[1], spec.factor, `r${i}`), { key: `r${i} thin`, points: thin }, strong];
  });
}

function reachOf(scene, run) {
  const axis = axisOfRun(scene, run);
  return Math.max(0.02 * edgeOf(scene), 1.01 * (axis.of(2) - axis.of(1)));
}

// The right edge: where a run that has ended ends, else a calm step beyond the newest value; an epoch before any.
function edgeOf(scene) {
  return Math.max(...scene.runs.map((run) => {
    const [store, at] = [run.store, run.store.position()];
    const epochs = at === 0 ? 1 : store.hasEnded() ? at : calmEdge(at, store.about?.epochs);
    return axisOfRun(scene, run).of(epochs);
  }));
}

function axisName(scene) {
  return scene.words.say(scene.axis === "time" ? `axis.time.${scene.unit}` : `axis.${scene.axis}`);
}

function largeModel(scene, spec, forks) {
  const [run] = scene.runs;
  const axis = axisOfRun(scene, run);
  const series = scene.runs.length > 1 ? overlaidSeries(scene, spec) : aloneSeries(scene, spec);
  return {
    ...baseModel(scene, series), title: scene.words.say(spec.title), unit: spec.unit, show: spec.show,
    ceiling: spec.unit ? 100 : null, log: !spec.unit && scene.log,
    best: bestMark(scene, run, axis, spec), summary: chartSummary(scene, run.store, spec),
    marks: timelineMarks(run.store, axis, scene.words, forks),
  };
}

function baseModel(scene, series) {
  const [run] = scene.runs;
  const axis = axisOfRun(scene, run);
  const { epochs } = run.store;
  const stops = epochs.length ? epochs.map((row) => axis.of(row[0])) : (series[0]?.points || []).map((point) => point[0]);
  return { series, axis: axisName(scene), edge: edgeOf(scene), floor: 0, ceiling: null, log: false, stops, best: null,
    at: (x) => readAt(scene, run, axis, x) };
}

function readAt(scene, { store }, axis, x) {
  const { words } = scene;
  const epoch = Math.max(0, axis.back(x));
  const step = store.about?.steps_per_epoch ? nearest(store.steps, makeAxis("step", store).of(epoch)) : null;
  const time = scene.axis === "time" ? `${words.duration(x * UNITS[scene.unit])} · ` : "";
  if (!step) return time + words.say("at_epoch", { epoch: Math.round(epoch) });
  const rate = step[2] === null ? "–" : showRate(step[2]);
  const where = { epoch: epochOfStep(store, step[0]).toFixed(1), step: words.count(step[0]), rate };
  return time + words.say("at_step", where);
}

const showRate = (rate) => (rate !== 0 && Math.abs(rate) < 1e-4 ? showPower(rate, 1) : String(Number(rate.toPrecision(2))));

function bestMark(scene, { store }, axis, spec) {
  const best = store.best();
  if (!best || best[4] === null) return null;
  const y = scaled(best[spec.columns[1]], spec.factor);
  return { x: axis.of(best[0]), y, label: scene.words.say("best_mark", { epoch: best[0], accuracy: showPercent(best[4]) }) };
}

// What someone who cannot see the chart is told.
function chartSummary({ words }, store, spec) {
  const title = words.say(spec.title);
  const [best, last] = [store.best(), store.epochs[store.epochs.length - 1]];
  if (!last) return words.say("summary_none", { title });
  const shown = (v) => (spec.unit ? showPercent(v) + spec.unit : showNumber(v));
  const [train, val] = spec.columns.map((column) => shown(last[column]));
  const now = words.say("summary", { title, epoch: last[0], train, val });
  return best ? `${now} ${words.say("summary_best", { epoch: best[0], val: shown(best[spec.columns[1]]) })}` : now;
}
