// What has arrived from the server for one run. Columns of an epoch row:
//   [epoch, train loss, val loss, train top1, val top1, best, step, training seconds so far, images a second]
// of a step row [step, loss, learning rate], of a usage row [step, images a second, GB, GB of the GPU, load, its load].

const MOST_STEPS = 8000;
const MOST_USAGE = 1500;
const MOST_LOG = 200;
const MOST_MARKS = 240;
const [AT_STEP, SECONDS, SPEED] = [6, 7, 8];
const USAGE_WIDTH = 6;

function makeStore() {
  const store = {};

  function clear() {
    Object.assign(store, {
      run: null, cursor: 0, status: null, detail: "", lost: 0, queued: [], about: null, steps: [], epochs: [], log: [],
      marks: [], usage: [], usageCursor: 0, pace: [null, null, null], thinned: false, fine: null, problem: "",
    });
  }

  // Takes a reply in; tells whether charts, and whether words, have to change.
  store.apply = (reply) => {
    if (reply.reset) clear();
    const headline = () => JSON.stringify([store.status, store.detail, store.lost, store.queued]);
    const before = headline();
    if (reply.run !== undefined) store.run = reply.run;
    store.cursor = reply.cursor;
    store.status = reply.status;
    store.detail = reply.detail || "";
    store.lost = reply.lost || 0;
    store.queued = reply.queued || [];
    if (reply.about) store.about = { ...store.about, ...reply.about }; // a change tells only what it changed
    addMarks(store, reply.marks || []);
    addCurves(store, reply);
    store.log = store.log.concat(reply.log || []).slice(-MOST_LOG);
    if (reply.pace) store.pace = reply.pace.map((fresh, i) => blend(store.pace[i], fresh, i));
    const parts = ["reset", "about", "steps", "epochs", "log", "marks", "usage"];
    const news = parts.some((part) => reply[part]);
    return { charts: news, words: news || before !== headline() };
  };

  store.name = () => store.about?.name || store.run || "";
  store.hasEnded = () => ["finished", "stopped", "failed", "interrupted"].includes(store.status);
  // Nothing comes by itself any more; what is begun elsewhere is seen when somebody moves.
  store.isOver = () => (store.hasEnded() || store.status === "none") && store.queued.length === 0;
  store.epochOf = (epoch) => store.epochs.findLast((row) => row[0] === epoch);
  store.best = () => store.epochs.findLast((row) => row[5]) || null;
  store.step = () => (store.steps.length ? store.steps[store.steps.length - 1][0] : 0);
  store.totalSteps = () => (store.about?.epochs || 0) * (store.about?.steps_per_epoch || 0);

  // Where the run is, in epochs with a fraction.
  store.position = () => {
    const done = store.epochs.length ? store.epochs[store.epochs.length - 1][0] : firstEpoch(store);
    return Math.max(done, store.about?.steps_per_epoch && store.step() ? epochOfStep(store, store.step()) : 0);
  };

  store.secondsLeft = () => {
    const left = (store.about?.epochs || 0) - store.position();
    const seconds = secondsAnEpoch(store);
    return left > 0 && seconds ? left * seconds : null;
  };

  store.imagesPerSecond = () => {
    const [perStep, measured] = store.pace;
    const { n_train: images, steps_per_epoch: steps } = store.about || {};
    return measured ?? (perStep && images && steps ? images / steps / perStep : null);
  };

  store.waited = () => store.pace[3] ?? 0;

  clear();
  return store;
}

function secondsAnEpoch(store) {
  const [perStep, , perEpoch] = store.pace;
  return perEpoch ?? (perStep && store.about?.steps_per_epoch ? perStep * store.about.steps_per_epoch : null);
}

// A resumed run repeats steps and epochs: the repeated ones replace what was there.
function addRows(rows, fresh) {
  if (!fresh.length) return;
  while (rows.length && rows[rows.length - 1][0] >= fresh[0][0]) rows.pop();
  for (const row of fresh) rows.push(row);
}

function addCurves(store, reply) {
  const steps = rowsOf(reply.steps || [], 3);
  if (steps.length && store.fine && steps[0][0] <= store.fine.to) store.fine = null;
  addRows(store.steps, steps);
  const crowded = store.steps.length > MOST_STEPS;
  if (crowded) store.steps = thinned(store.steps, MOST_STEPS / 2); // rows are points [x, y] with something behind
  store.thinned = store.thinned || crowded || Boolean(reply.thinned);
  addEpochs(store.epochs, reply.epochs || []);
  if (!reply.usage) return;
  store.usageCursor = reply.usage.cursor;
  addRows(store.usage, rowsOf(reply.usage.rows, USAGE_WIDTH));
  if (store.usage.length > MOST_USAGE) store.usage = store.usage.filter((_, i) => i % 2 === 0);
}

// The seconds of a reply count from its first epoch on; here they count from the run's.
function addEpochs(rows, fresh) {
  if (!fresh.length) return;
  while (rows.length && rows[rows.length - 1][0] >= fresh[0][0]) rows.pop();
  const before = rows.length ? rows[rows.length - 1][SECONDS] : 0;
  for (const row of fresh) {
    row[SECONDS] = before + (row[SECONDS] ?? 0);
    rows.push(row);
  }
}

// Marks [kind, step, time, …]; what a reply could not know of the time before it is filled in here.
function addMarks(store, fresh) {
  for (const mark of fresh) {
    const before = store.marks[store.marks.length - 1];
    const meets = (kind) => before?.[0] === kind && before[1] === mark[1];
    if (mark[1] === null) mark[1] = store.step();
    if (mark[0] === "resume" && meets("again")) {
      before[5] = mark[3]; // what it was taken up with: the steps that were lost
      continue;
    }
    if (mark[0] === "again") {
      if (mark[4] === null && meets("change")) continue; // a halved batch
      mark[3] = mark[3] ?? (store.step() || null);
      mark[4] = mark[4] ?? (before ? Number(before[0] === "end") : 1);
    }
    if (mark[0] === "last") store.marks = store.marks.filter((old) => old[0] !== "last");
    store.marks.push(mark);
  }
  if (store.marks.length > MOST_MARKS) {
    const oldest = store.marks.findIndex((mark, i) => i > 0 && mark[0] === "best");
    store.marks.splice(oldest < 0 ? 1 : oldest, store.marks.length - MOST_MARKS);
  }
}

// The rows of a run with the finer ones of a zoom in their place.
function stepRows(store) {
  return refined(store.steps, store.fine, store.fine?.steps, 0);
}

function epochRows(store) {
  return refined(store.epochs, store.fine, store.fine?.epochs, AT_STEP);
}

function refined(rows, fine, finer, column) {
  if (!fine || !finer.length) return rows;
  const before = rows.filter((row) => row[column] !== null && row[column] < fine.from);
  const after = rows.filter((row) => row[column] === null || row[column] > fine.to);
  return [...before, ...finer, ...after];
}

function rowsOf(flat, width) {
  const rows = [];
  for (let i = 0; i + width <= flat.length; i += width) rows.push(flat.slice(i, i + width));
  return rows;
}

// The time of a step jumps about, so it is averaged; the epoch figures are taken as measured.
function blend(before, fresh, i) {
  if (fresh === null || fresh === undefined) return before;
  return i === 0 && before !== null ? 0.7 * before + 0.3 * fresh : fresh;
}
