// The page: header, charts, log. `element`, `trigger`, `props`, `server` and `watch` come from Gradio.
// Data reaches the page through textContent and createElementNS only.

// Columns of an epoch row: [epoch, train loss, val loss, train top1, val top1, best].
const VAL_TO_TRAIN = { 2: 1, 4: 3 };

const find = (name) => element.querySelector(`.lb-${name}`);
const root = element.querySelector(".lb");
const store = makeStore();
let words = makeWords(props);
let follow = wantedRun();
let announced = null;

const view = {
  zoom: null,
  hover: null,
  changed(what) {
    if (what === "zoom") find("reset").hidden = view.zoom === null;
    for (const chart of charts) what === "hover" ? chart.drawCross() : chart.draw();
  },
};
const charts = [...element.querySelectorAll(".lb-chart")].map((figure) => makeChart(figure, view));

// Each icon is a path in a 12 × 12 box: the shape tells the status where colour does not.
const ICONS = {
  queued: "M2 6h.1M6 6h.1M10 6h.1", preparing: "M6 1.5v2M6 8.5v2M1.5 6h2M8.5 6h2", running: "M3 1.5l7 4.5-7 4.5z",
  paused: "M4 2v8M8 2v8", stopping: "M2.5 2.5h7v7h-7z", finished: "M1.5 6.5l3 3 6-7", stopped: "M2.5 2.5h7v7h-7z",
  failed: "M2.5 2.5l7 7M9.5 2.5l-7 7", interrupted: "M6 1.5v5.5M6 10h.1",
};

function wantedRun() {
  return typeof props.value === "string" && props.value ? props.value : null;
}

function setText(node, content) {
  if (node.textContent !== content) node.textContent = content;
}

function showLabels() {
  const plain = {
    empty: "empty", "log-scale-label": "log_scale", "smoothing-label": "smoothing",
    reset: "reset_zoom", "log-title": "log_title",
  };
  for (const [part, key] of Object.entries(plain)) setText(find(part), words.say(key));
  find("track").setAttribute("aria-label", words.say("progress"));
  find("log").setAttribute("aria-label", words.say("log_title"));
  root.lang = words.language;
}

function showHeader() {
  const about = store.about;
  setText(find("title"), about?.name || store.run || "");
  setText(find("status"), words.say(`status.${store.status}`));
  root.dataset.status = store.status;
  root.dataset.run = store.run ?? "";
  const icon = ICONS[store.status] || ICONS.queued;
  find("icon").replaceChildren(svgNode("path", { d: icon }));
  setText(find("about"), aboutSentence());
  showParts(find("progress"), progressParts());
  showProgress();
  setText(find("best"), bestSentence());
  find("queued").hidden = store.queued.length === 0;
  setText(find("queued"), store.queued.length ? words.say("queued_after", { names: store.queued.join(", ") }) : "");
}

function aboutSentence() {
  const about = store.about;
  if (!about) return "";
  const images = about.n_train ? words.say("images", { n: words.count(about.n_train) }) : "";
  return [about.model, about.dataset, images, about.device, about.precision].filter(Boolean).join(" · ");
}

function bestSentence() {
  const best = store.best();
  if (!best || best[4] === null) return "";
  return words.say(hasEnded() ? "best_of_all" : "best_so_far", { epoch: best[0], accuracy: showPercent(best[4]) });
}

function hasEnded() {
  return ["finished", "stopped", "failed", "interrupted"].includes(store.status);
}

function showProgress() {
  const share = store.about?.epochs ? Math.min(1, store.position() / store.about.epochs) : 0;
  find("fill").style.width = `${(100 * share).toFixed(2)}%`;
  find("track").setAttribute("aria-valuenow", Math.round(100 * share));
}

// Parts keep together when the line wraps on a narrow screen.
function showParts(node, parts) {
  if (node.textContent === parts.join(" · ")) return;
  node.replaceChildren(...parts.flatMap((part, i) => [i ? " · " : "", htmlNode("span", "lb-part", part)]));
}

function progressParts() {
  const about = store.about;
  const parts = store.detail ? [store.detail] : [];
  if (about?.epochs) {
    const epoch = Math.min(about.epochs, Math.max(1, Math.ceil(store.position() - 1e-9)));
    parts.push(words.say("epoch_of", { epoch: words.count(epoch), epochs: words.count(about.epochs) }));
    const steps = words.count(store.totalSteps());
    if (store.totalSteps()) parts.push(words.say("step_of", { step: words.count(store.step()), steps }));
  }
  const rate = store.imagesPerSecond();
  if (rate) parts.push(words.say("rate", { rate: words.count(Number(rate.toPrecision(3))) }));
  if (store.waited() >= 0.05) parts.push(words.say("waited", { share: Math.round(100 * store.waited()) }));
  const left = store.status === "running" ? store.secondsLeft() : null;
  if (left) parts.push(words.say("time_left", { time: words.duration(left) }));
  return parts;
}

function showLog() {
  const lines = store.log.map((row) => [row, logSentence(row, store, words)]).filter((line) => line[1]);
  find("log-title").hidden = lines.length === 0;
  find("log").hidden = lines.length === 0;
  find("log").replaceChildren(...lines.reverse().map(([row, sentence]) => {
    const item = htmlNode("li", `lb-entry lb-entry-${row[1] === "end" ? row[2] : row[1]}`);
    item.append(htmlNode("span", "lb-time", showClock(row[0])));
    if (row[1] === "warning" || row[2] === "failed") item.append(htmlNode("span", "lb-sign", "!"));
    item.append(htmlNode("span", "lb-sentence", sentence));
    return item;
  }));
}

function epochLine(column, factor) {
  return store.epochs.map((row) => [row[0], row[column] === null ? null : row[column] * factor]);
}

function readAt(x) {
  const perEpoch = store.about?.steps_per_epoch;
  const step = perEpoch ? nearest(store.steps, x * perEpoch) : null;
  if (!step) return words.say("at_epoch", { epoch: Math.max(0, Math.round(x)) });
  const rate = step[2] === null ? "–" : String(Number(step[2].toPrecision(2)));
  return words.say("at_step", { epoch: (step[0] / perEpoch).toFixed(1), step: words.count(step[0]), rate });
}

function chartModel(title, unit, series, column) {
  const edge = Math.max(store.position(), 0.001);
  return {
    title, unit, series, axis: words.say("axis"), at: readAt, floor: 0, ceiling: unit ? 100 : null,
    log: !unit && find("log-scale").checked,
    edge: hasEnded() ? edge : calmEdge(edge, store.about?.epochs),
    stops: store.epochs.length ? store.epochs.map((row) => row[0]) : series[0].points.map((point) => point[0]),
    best: bestMark(column, unit),
    summary: chartSummary(title, unit, column),
  };
}

function bestMark(column, unit) {
  const best = store.best();
  if (!best || best[4] === null) return null;
  const y = best[column] === null ? null : best[column] * (unit ? 100 : 1);
  return { x: best[0], y, label: words.say("best_mark", { epoch: best[0], accuracy: showPercent(best[4]) }) };
}

// What someone who cannot see the chart is told; `column` is the validation column.
function chartSummary(title, unit, column) {
  const [best, last] = [store.best(), store.epochs[store.epochs.length - 1]];
  if (!last) return words.say("summary_none", { title });
  const shown = (v) => (unit ? showPercent(v) + unit : showNumber(v));
  const [train, val] = [shown(last[VAL_TO_TRAIN[column]]), shown(last[column])];
  const now = words.say("summary", { title, epoch: last[0], train, val });
  return best ? `${now} ${words.say("summary_best", { epoch: best[0], val: shown(best[column]) })}` : now;
}

function showCharts() {
  const perEpoch = store.about?.steps_per_epoch || 1;
  const raw = store.steps.map(([step, loss]) => [step / perEpoch, loss]);
  const both = (train, val, factor) => [
    { key: "train", label: words.say("line.train"), points: epochLine(train, factor), dots: true },
    { key: "val", label: words.say("line.val"), points: epochLine(val, factor), dots: true },
  ];
  const amount = Number(find("smoothing").value);
  setText(find("smoothing-value"), amount.toFixed(2));
  const steps = [{ key: "step", label: words.say("line.step"), points: raw }];
  if (amount > 0) steps.push({ key: "smooth", label: words.say("line.smooth"), points: smoothed(raw, amount) });
  charts[0].draw(chartModel(words.say("loss"), "", [...steps, ...both(1, 2, 1)], 2));
  charts[1].draw(chartModel(words.say("accuracy"), " %", both(3, 4, 100), 4));
}

function showAll() {
  const something = store.run !== null;
  find("empty").hidden = something;
  find("body").hidden = !something;
  if (!something) return;
  showHeader();
  showCharts();
  showLog();
  setText(find("hint"), words.say(store.steps.length ? "zoom_hint" : "waiting_for_curves"));
  root.dataset.redraws = Number(root.dataset.redraws) + 1;
}

function onReply(reply) {
  root.dataset.polls = Number(root.dataset.polls) + 1;
  find("banner").hidden = true;
  if (reply.reset) Object.assign(view, { zoom: null, hover: null });
  const changed = store.apply(reply);
  if (reply.reset) find("reset").hidden = true;
  if (changed.charts) showAll();
  else if (changed.words && store.run !== null) showHeader();
  root.dataset.cursor = store.cursor;
  const state = `${store.status} ${store.run}`;
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

const ask = () => server.board_news({ run: follow, have: store.run, cursor: store.cursor });
const askNow = startPolling(element, ask, { onReply, onFailure });

// All props are watched without naming them: a name in quotes would become an attribute of the Python component.
watch(Object.keys(props), () => {
  const before = [words.language, follow];
  follow = wantedRun();
  relabel();
  if (before[1] !== follow) askNow();
});
new MutationObserver(relabel).observe(document.documentElement, { attributeFilter: ["lang"] });
find("log-scale").addEventListener("change", showCharts);
find("smoothing").addEventListener("input", showCharts);
find("reset").addEventListener("click", () => {
  view.zoom = null;
  view.changed("zoom");
});
showLabels();
showAll();
