// The page: what is on screen, and when. `element`, `trigger`, `props`, `server` and `watch` come from Gradio.
// Data reaches the page through textContent and createElementNS only.

const find = (name) => element.querySelector(`.lb-${name}`);
const root = element.querySelector(".lb");
const store = makeStore();
let words = makeWords(props);
let follow = wantedRun();
let announced = null;
let [placed, refining] = [null, null]; // the axis that zoom and hover are told in; the timer that asks for finer curves

const view = {
  zoom: null,
  hover: null,
  words: () => words,
  changed(what) {
    if (what === "zoom") {
      find("reset").hidden = view.zoom === null;
      clearTimeout(refining);
      refining = setTimeout(refine, 200);
    }
    for (const chart of [...charts, ...small.charts]) what === "hover" ? chart.drawCross() : chart.draw();
  },
};
const ask = (question) => server.board_news(question);
const overlays = makeOverlays(() => {
  showAll();
  askNow();
});
const charts = [...element.querySelectorAll(".lb-charts > .lb-chart")].map((figure) => makeChart(figure, view));
const small = makeSmallCharts(find("more"), view, () => {
  showCharts();
  askNow();
});
const chooser = makeChooser(find("compare"), overlays, ask);
const differences = makeDifferences(ask, () => showTables(makeScene().runs));

function wantedRun() {
  return typeof props.value === "string" && props.value ? props.value : null;
}

// What is on screen now. Zoom and hover move along when the axis is another one.
function makeScene() {
  const runs = overlays.runs(store);
  const [axis, unit] = [find("axis").value, timeUnit(runs.map((run) => run.store))];
  const scene = {
    runs, axis, unit, words, log: find("log-scale").checked, smoothing: Number(find("smoothing").value),
  };
  const fresh = axisOfRun(scene, runs[0]);
  const known = `${axis} ${unit}`;
  if (placed && placed.known !== known) {
    const move = (x) => fresh.of(placed.axis.back(x));
    view.zoom = view.zoom && view.zoom.map(move);
    view.hover = view.hover === null ? null : move(view.hover);
  }
  placed = { known, axis: fresh };
  return scene;
}

function showCharts() {
  const scene = makeScene();
  setText(find("smoothing-value"), scene.smoothing.toFixed(2));
  root.classList.toggle("lb-many", scene.runs.length > 1);
  const forks = scene.runs.slice(1).flatMap(({ store: other }) => {
    const from = other.about?.forked_from;
    return from && from[0] === store.run ? [{ name: other.name(), epoch: from[1] }] : [];
  });
  charts[0].draw(largeModel(scene, LOSS, forks));
  charts[1].draw(largeModel(scene, ACCURACY, forks));
  small.draw(scene);
  showTables(scene.runs);
}

function showTables(runs) {
  const several = runs.length > 1;
  find("differences").hidden = !several;
  find("clear").hidden = overlays.chosen().length === 0;
  const n = overlays.present(store).length;
  setText(find("compare-label"), n ? words.say("compare_n", { n }) : words.say("compare"));
  if (!several) return;
  differences.follow(runs);
  showTable(find("differences"), runs, differences.of(runs), words);
}

// A zoom into thinned curves asks for the finer part, once the window has come to rest.
async function refine() {
  const scene = makeScene();
  for (const run of scene.runs) {
    if (!view.zoom) run.store.fine = null;
    else if (run.store.thinned) await refineRun(scene, run, view.zoom);
  }
  showCharts();
}

async function refineRun(scene, run, zoom) {
  const [axis, steps, { fine }] = [axisOfRun(scene, run), makeAxis("step", run.store), run.store];
  const [from, to] = zoom.map((x) => steps.of(Math.min(axis.back(x), run.store.position())));
  const wanted = { from: Math.max(0, Math.floor(from)), to: Math.max(0, Math.min(Math.ceil(to), run.store.step())) };
  const covered = fine && fine.from <= wanted.from && fine.to >= wanted.to;
  if (covered && (!fine.thinned || fine.to - fine.from < 2 * (wanted.to - wanted.from))) return;
  const reply = await ask({ want: "part", run: run.store.run, ...wanted }).catch(() => null);
  if (!reply?.steps || reply.run !== run.store.run) return;
  const { thinned: partly, epochs } = reply;
  run.store.fine = { ...wanted, steps: rowsOf(reply.steps, 3), epochs, thinned: Boolean(partly) };
}

function showAll() {
  const something = store.run !== null;
  find("empty").hidden = something;
  find("body").hidden = !something;
  if (!something) return;
  showHeader();
  showCharts();
  showLog();
  chooser.tell(words, store.run);
  setText(find("hint"), words.say(store.steps.length ? "zoom_hint" : "waiting_for_curves"));
  root.dataset.redraws = Number(root.dataset.redraws) + 1;
}

function onReply(reply) {
  root.dataset.polls = Number(root.dataset.polls) + 1;
  find("banner").hidden = true;
  if (reply.reset) {
    Object.assign(view, { zoom: null, hover: null });
    find("reset").hidden = true;
  }
  const changed = store.apply(reply);
  const overlaid = overlays.take(reply.over || []);
  if (changed.charts || overlaid) showAll();
  else if (changed.words && store.run !== null) showHeader();
  root.dataset.cursor = store.cursor;
  const state = `${store.status} ${store.run} ${store.queued}`; // others on the page show the queue
  if (state !== announced) trigger('statechange', { run_id: store.run, status: store.status });
  announced = state;
}

function onFailure(failures, sentence) {
  const banner = find("banner");
  banner.hidden = !sentence && failures < 2;
  if (!banner.hidden) setText(banner, sentence || words.say("connection_lost"));
}

function relabel() {
  words = makeWords(props);
  showLabels();
  showAll();
}

function news() {
  const usage = small.isOpen() ? { usage: store.usageCursor } : {};
  const over = overlays.questions(store, small.isOpen());
  const known = { have: store.run, cursor: store.cursor, called: store.about?.name };
  return ask({ run: follow, ...known, ...usage, ...(over.length ? { over } : {}) });
}

const isOver = () => store.isOver() && overlays.isOver(store);
const askNow = startPolling(element, news, { onReply, onFailure, isOver });

for (const [i, name] of ["loss", "accuracy", ...SMALL_CHARTS.map(({ key }) => key)].entries()) {
  const complain = (sentence) => onFailure(2, sentence);
  [...charts, ...small.charts][i].tools.append(csvButton(name, () => overlays.runs(store), ask, complain));
}

// All props are watched without naming them: a name in quotes would become an attribute of the Python component.
let laid = JSON.stringify(props.overlays ?? []);
watch(Object.keys(props), () => {
  const before = [follow, laid];
  follow = wantedRun();
  laid = JSON.stringify(props.overlays ?? []);
  if (laid !== before[1]) overlays.choose((props.overlays ?? []).filter((id) => typeof id === "string"));
  relabel();
  askNow();
});
new MutationObserver(relabel).observe(document.documentElement, { attributeFilter: ["lang"] });
find("log-scale").addEventListener("change", showCharts);
find("smoothing").addEventListener("input", showCharts);
find("axis").addEventListener("change", showCharts);
find("clear").addEventListener("click", () => {
  overlays.choose([]);
  chooser.show();
});
find("reset").addEventListener("click", () => {
  view.zoom = null;
  view.changed("zoom");
});
closeOutside(find("compare"));
showLabels();
showAll();
