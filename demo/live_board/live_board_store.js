// What has arrived from the server for the run on screen, and the clock that asks for more.

const MOST_STEPS = 8000;
const MOST_LOG = 200;

function makeStore() {
  const store = {};

  function clear() {
    Object.assign(store, {
      run: null, cursor: 0, status: null, detail: "", queued: [],
      about: null, steps: [], epochs: [], log: [], pace: [null, null, null],
    });
  }

  // A resumed run repeats steps and epochs: the repeated ones replace what was there.
  function addRows(rows, fresh) {
    if (!fresh.length) return;
    while (rows.length && rows[rows.length - 1][0] >= fresh[0][0]) rows.pop();
    for (const row of fresh) rows.push(row);
  }

  // Takes a reply in; tells whether charts, and whether words, have to change.
  store.apply = (reply) => {
    if (reply.reset) clear();
    const before = JSON.stringify([store.status, store.detail, store.queued]);
    if (reply.run !== undefined) store.run = reply.run;
    store.cursor = reply.cursor;
    store.status = reply.status;
    store.detail = reply.detail || "";
    store.queued = reply.queued || [];
    if (reply.about) store.about = { ...store.about, ...reply.about };  // a change tells only what it changed
    addRows(store.steps, rowsOf(reply.steps || [], 3));
    if (store.steps.length > MOST_STEPS) store.steps = thinRows(store.steps);
    addRows(store.epochs, reply.epochs || []);
    store.log = store.log.concat(reply.log || []).slice(-MOST_LOG);
    if (reply.pace) store.pace = reply.pace.map((fresh, i) => blend(store.pace[i], fresh, i));
    const news = Boolean(reply.reset || reply.about || reply.steps || reply.epochs || reply.log);
    return { charts: news, words: news || before !== JSON.stringify([store.status, store.detail, store.queued]) };
  };

  store.epochOf = (epoch) => store.epochs.findLast((row) => row[0] === epoch);
  store.best = () => store.epochs.findLast((row) => row[5]) || null;
  store.step = () => (store.steps.length ? store.steps[store.steps.length - 1][0] : 0);
  store.totalSteps = () => (store.about?.epochs || 0) * (store.about?.steps_per_epoch || 0);

  // Where the run is, in epochs with a fraction.
  store.position = () => {
    const done = store.epochs.length ? store.epochs[store.epochs.length - 1][0] : 0;
    const perEpoch = store.about?.steps_per_epoch;
    return Math.max(done, perEpoch ? store.step() / perEpoch : 0);
  };

  store.secondsLeft = () => {
    const left = (store.about?.epochs || 0) - store.position();
    const [perStep, , perEpoch] = store.pace;
    const epochSeconds = perEpoch ?? (perStep && store.about ? perStep * store.about.steps_per_epoch : null);
    return left > 0 && epochSeconds ? left * epochSeconds : null;
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

function rowsOf(flat, width) {
  const rows = [];
  for (let i = 0; i + width <= flat.length; i += width) rows.push(flat.slice(i, i + width));
  return rows;
}

// Rows [step, loss, learning rate] are points [x, y] with something behind.
function thinRows(rows) {
  return thinned(rows, MOST_STEPS / 2);
}

// The time of a step jumps about, so it is averaged; the two epoch figures are taken as measured.
function blend(before, fresh, i) {
  if (fresh === null) return before;
  return i === 0 && before !== null ? 0.7 * before + 0.3 * fresh : fresh;
}

const PERIOD = 1000;
const PATIENCE = 10000;
const LONGEST_WAIT = 10000;
const FORGOTTEN_AFTER = 60;

// Asks once a second while someone can see the board; slower while nobody answers; stops when the element is gone.
function startPolling(element, ask, { onReply, onFailure }) {
  let [timer, busy, failures, missing, again] = [null, false, 0, 0, false];

  function plan(wait) {
    clearTimeout(timer);
    timer = setTimeout(tick, wait);
  }

  async function answer() {
    let alarm;
    const tooLate = new Promise((_, reject) => {
      alarm = setTimeout(() => reject(new Error("no answer")), PATIENCE);
    });
    try {
      const reply = await Promise.race([ask(), tooLate]);
      if (reply === null || typeof reply !== "object") throw new Error("no answer"); // Gradio swallows network errors
      return reply;
    } finally {
      clearTimeout(alarm);
    }
  }

  async function tick() {
    if (busy) return;
    missing = element.isConnected ? 0 : missing + 1;
    if (missing > FORGOTTEN_AFTER) return;
    if (document.visibilityState !== "visible" || element.offsetParent === null) {
      plan(PERIOD);
      return;
    }
    busy = true;
    try {
      const reply = await answer();
      if (reply.error) throw Object.assign(new Error("refused"), { sentence: String(reply.error) });
      failures = 0;
      onReply(reply);
    } catch (problem) {
      if (!problem.sentence && problem.message !== "no answer") console.error(problem);
      failures += 1;
      onFailure(failures, problem.sentence || "");
    } finally {
      busy = false;
    }
    plan(again ? 0 : Math.min(LONGEST_WAIT, PERIOD * 2 ** Math.min(failures, 4)));
    again = false;
  }

  function now() {
    if (busy) again = true;
    else plan(0);
  }

  function wake() {
    if (!element.isConnected) document.removeEventListener("visibilitychange", wake);
    else if (document.visibilityState === "visible") now();
  }
  document.addEventListener("visibilitychange", wake);
  plan(0);
  return now;
}
