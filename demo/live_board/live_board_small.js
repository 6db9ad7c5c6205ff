// The small charts: learning rate, images a second, memory, load. Measured lines come with a cursor of their own and
// only while somebody looks; runs of older versions have the speed of their epochs and no more.

const SMALL_CHARTS = [
  { key: "rate", lines: [{ key: "train", word: "line.rate", of: ratePoints }], show: (y) => showRate(y) },
  { key: "speed", lines: [{ key: "train", word: "line.speed", of: speedPoints }], show: (y) => showNumber(y) },
  {
    key: "memory", show: (y) => `${y.toFixed(2)} GB`,
    lines: [
      { key: "train", word: "line.memory", of: (scene, run) => usagePoints(scene, run, 2, 1) },
      { key: "val", word: "line.device_memory", of: (scene, run) => usagePoints(scene, run, 3, 1) },
    ],
  },
  {
    key: "load", unit: " %", ceiling: 100, show: (y) => `${y.toFixed(0)} %`,
    lines: [
      { key: "train", word: "line.load", of: (scene, run) => usagePoints(scene, run, 4, 100) },
      { key: "val", word: "line.device_load", of: (scene, run) => usagePoints(scene, run, 5, 100) },
    ],
  },
];

function ratePoints(scene, run) {
  return stepPoints(scene, run, 2);
}

function speedPoints(scene, run) {
  if (run.store.usage.length) return usagePoints(scene, run, 1, 1);
  const axis = axisOfRun(scene, run);
  return epochRows(run.store).map((row) => [axis.of(row[0]), row[SPEED] ?? null]);
}

function usagePoints(scene, run, column, factor) {
  const axis = axisOfRun(scene, run);
  return run.store.usage.map((row) => [axis.ofStep(row[0]), scaled(row[column], factor)]);
}

const hasValues = (points) => points.some((point) => point[1] !== null);

function smallModel(scene, spec) {
  const series = scene.runs.length > 1 ? overlaidSmall(scene, spec) : aloneSmall(scene, spec);
  const title = scene.words.say(`chart.${spec.key}`);
  const last = series.length ? lastValue(series[0].points) : null;
  const summary = last
    ? scene.words.say("summary_small", { title, value: spec.show(last[1]) })
    : scene.words.say("summary_none", { title });
  return { ...baseModel(scene, series), title, summary, unit: spec.unit || "", show: spec.show, ceiling: spec.ceiling ?? null };
}

function aloneSmall(scene, spec) {
  const [run] = scene.runs;
  const lines = spec.lines.map(({ key, word, of }) => ({ key, label: scene.words.say(word), points: of(scene, run) }));
  return lines.filter((line, i) => i === 0 || hasValues(line.points)); // without a GPU there is no line of its memory
}

// One line a run: the GPU's where one of the runs has it.
function overlaidSmall(scene, spec) {
  const fitting = spec.lines.findLast(({ of }) => scene.runs.some((run) => hasValues(of(scene, run)))) || spec.lines[0];
  return scene.runs.map((run, i) => ({
    key: `r${i}`, label: run.store.name(), points: fitting.of(scene, run), reach: reachOf(scene, run),
  }));
}

// The disclosure that holds them; whether it is open is remembered by the browser.
function makeSmallCharts(details, view, onOpen) {
  const place = "resnet-lab-speed-and-memory";
  const row = details.querySelector(".lb-small-charts");
  const figures = SMALL_CHARTS.map(({ key }) => {
    const figure = htmlNode("figure", "lb-chart lb-small");
    figure.dataset.chart = key;
    return figure;
  });
  row.replaceChildren(...figures);
  const charts = figures.map((figure) => makeChart(figure, view, SMALL));
  details.open = remembered(place) === "open";
  details.addEventListener("toggle", () => {
    remember(place, details.open ? "open" : "closed");
    if (details.open) onOpen();
  });
  const draw = (scene) => details.open && charts.forEach((chart, i) => chart.draw(smallModel(scene, SMALL_CHARTS[i])));
  return { charts, draw, isOpen: () => details.open };
}

// Some browsers refuse to keep anything; then nothing is remembered, and nothing else is lost.
function remembered(place, store = () => window.localStorage) {
  try {
    return store().getItem(place);
  } catch {
    return null;
  }
}

function remember(place, value, store = () => window.localStorage) {
  try {
    store().setItem(place, value);
  } catch {
    /* private window */
  }
}
