// The head of the board, its log and its labels: words about the run on screen.

// Each icon is a path in a 12 × 12 box: the shape tells the status where colour does not.
const ICONS = {
  queued: "M2 6h.1M6 6h.1M10 6h.1", preparing: "M6 1.5v2M6 8.5v2M1.5 6h2M8.5 6h2", running: "M3 1.5l7 4.5-7 4.5z",
  paused: "M4 2v8M8 2v8", stopping: "M2.5 2.5h7v7h-7z", finished: "M1.5 6.5l3 3 6-7", stopped: "M2.5 2.5h7v7h-7z",
  failed: "M2.5 2.5l7 7M9.5 2.5l-7 7", interrupted: "M6 1.5v5.5M6 10h.1",
};

function setText(node, content) {
  if (node.textContent !== content) node.textContent = content;
}

function showLabels() {
  const plain = {
    empty: "empty", "log-scale-label": "log_scale", "smoothing-label": "smoothing", "axis-label": "axis_choice",
    reset: "reset_zoom", "log-title": "log_title", "more-label": "speed_and_memory", clear: "compare_none",
    "compare-label": "compare",
  };
  for (const [part, key] of Object.entries(plain)) setText(find(part), words.say(key));
  for (const option of find("axis").options) setText(option, words.say(`choice.${option.value}`));
  find("track").setAttribute("aria-label", words.say("progress"));
  find("log").setAttribute("aria-label", words.say("log_title"));
  find("runs").setAttribute("aria-label", words.say("compare"));
  find("differences").setAttribute("aria-label", words.say("what_differs"));
  find("search").placeholder = words.say("search_runs");
  find("search").setAttribute("aria-label", words.say("search_runs"));
  for (const button of element.querySelectorAll(".lb-csv")) button.title = words.say("csv_hint");
  root.lang = words.language;
}

function showHeader() {
  setText(find("title"), store.name());
  setText(find("status"), words.say(`status.${store.status}`));
  root.dataset.status = store.status;
  root.dataset.run = store.run ?? "";
  const icon = ICONS[store.status] || ICONS.queued;
  find("icon").replaceChildren(svgNode("path", { d: icon }));
  setText(find("about"), aboutSentence());
  showParts(find("progress"), progressParts());
  showProgress();
  setText(find("best"), bestSentence());
  const place = store.queued.indexOf(store.run) + 1; // 0: the run shown is not among those that wait
  const queue = place ? words.say("queued_place", { place }) : words.say("queued_after", { names: store.queued.join(", ") });
  find("queued").hidden = store.queued.length === 0;
  setText(find("queued"), store.queued.length ? queue : "");
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
  return words.say(store.hasEnded() ? "best_of_all" : "best_so_far", { epoch: best[0], accuracy: showPercent(best[4]) });
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
  if (store.lost) parts.push(words.say(store.lost === 1 ? "lost_one" : "lost_n", { n: words.count(store.lost) }));
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

// A panel that lies over the page closes when one goes on elsewhere.
function closeOutside(details) {
  element.addEventListener("pointerdown", (event) => {
    if (details.open && !details.contains(event.target)) details.open = false;
  });
  details.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    details.open = false;
    details.querySelector("summary").focus();
  });
}
