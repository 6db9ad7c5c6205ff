// Draws the state of the batch; nothing here asks or sends.

const nodes = new Map(); // table rows by number, made when they are first shown
const spoken = { job: "", step: -1 };

function showLabels() {
  const plain = {
    invite: "invite", "pick-files": "pick_files", "pick-folder": "pick_folder", cancel: "cancel", csv: "csv",
    "counts-title": "counts", "confusion-title": "confusion", "confusion-hint": "confusion_hint", close: "close",
    "filter-name": "filter", previous: "previous", next: "next", nothing: "empty_filter", "picture-title": "picture",
  };
  for (const [part, key] of Object.entries(plain)) setText(find(part), words.say(key));
  setText(find("limits"), words.say("limits", { most: words.count(LIMITS.most) }));
  for (const head of element.querySelectorAll("th[data-key] button")) {
    setText(head, words.say(head.parentElement.dataset.key));
  }
  find("track").setAttribute("aria-label", words.say("progress"));
  root.lang = words.language;
}

function showSending(name, share) {
  if (share < 1) setText(find("progress"), words.say("sending", { name, share: Math.floor(100 * share) }));
}

function progressSentence() {
  const [done, total] = [words.count(last.done), words.count(last.total)];
  if (last.state !== "running") return words.say(last.state, { done, reason: last.reason });
  const parts = [words.say("of", { done, total })];
  if (last.rate) parts.push(words.say("rate", { rate: words.count(Math.round(last.rate)) }));
  if (last.left) parts.push(words.say("left", { time: words.duration(last.left) }));
  return parts.join(" · ");
}

// A screen reader hears the start, each further quarter and the end; the line that is seen changes too often for it.
function announce() {
  const step = last.state === "running" ? Math.floor((4 * last.done) / Math.max(1, last.total)) : 5;
  if (spoken.job !== last.job) Object.assign(spoken, { job: last.job, step: -1 });
  if (step <= spoken.step) return;
  spoken.step = step;
  setText(find("spoken"), progressSentence());
}

function showWork() {
  find("work").hidden = !last && !isRunning();
  find("drop").classList.toggle("mt-small", Boolean(last));
  find("cancel").hidden = !isRunning();
  if (!isRunning()) find("cancel").disabled = false;
  for (const part of ["pick-files", "pick-folder"]) find(part).disabled = isRunning();
  const share = last ? (last.state === "running" ? last.done / Math.max(1, last.total) : 1) : 0;
  find("fill").style.width = `${(100 * share).toFixed(1)}%`;
  find("track").setAttribute("aria-valuenow", Math.round(100 * share));
  find("track").hidden = !isRunning();
  if (!last) return;
  if (last.total || last.state !== "running") {
    setText(find("progress"), progressSentence());
    announce();
  }
  const most = words.count(LIMITS.most);
  const left = [
    last.refused ? words.say("refused", { count: words.count(last.refused), most }) : "",
    last.ignored ? words.say("ignored", { count: words.count(last.ignored) }) : "",
  ].filter(Boolean).join(" ");
  setText(find("left-out"), left);
  find("left-out").hidden = !left;
  const own = store.about ? store.about.threshold : null;
  setText(find("threshold"), own === null ? "" : words.say("threshold", { share: Math.round(100 * own) }));
  find("threshold").hidden = own === null;
}

function showTruth() {
  const { judged, right, confusion } = store.tally;
  find("truth").hidden = !judged;
  if (!judged) return;
  const share = ((100 * right) / judged).toFixed(1);
  setText(find("judged"), words.say("judged", { right: words.count(right), judged: words.count(judged), share }));
  find("details").hidden = !confusion.length;
  if (confusion.length) drawConfusion(find("confusion"), store, words);
}

function showTable() {
  const wanted = store.wanted();
  const pages = Math.max(1, Math.ceil(wanted.length / PAGE_ROWS));
  const page = Math.min(store.view.page, pages - 1);
  const shown = wanted.slice(page * PAGE_ROWS, (page + 1) * PAGE_ROWS);
  const body = find("rows");
  const key = shown.map((row) => row.n).join();
  if (body.dataset.shown !== key) {
    body.dataset.shown = key;
    body.replaceChildren(...shown.map((row) => {
      if (!nodes.has(row.n)) nodes.set(row.n, tableRow(row, store, words, open));
      return nodes.get(row.n);
    }));
  }
  for (const head of element.querySelectorAll("th[data-key]")) {
    const mine = head.dataset.key === store.view.key;
    head.setAttribute("aria-sort", mine ? (store.view.down ? "descending" : "ascending") : "none");
  }
  find("nothing").hidden = wanted.length > 0;
  find("pager").hidden = pages === 1;
  const range = { first: words.count(page * PAGE_ROWS + 1), last: words.count(page * PAGE_ROWS + shown.length) };
  setText(find("page"), words.say("page", { ...range, total: words.count(wanted.length) }));
  [find("previous").disabled, find("next").disabled] = [page === 0, page === pages - 1];
  store.view.page = page;
}

function showAll() {
  showWork();
  const something = store.rows.length > 0 && store.tally !== null;
  find("body").hidden = !something;
  root.dataset.rows = store.rows.length;
  if (!something) return;
  drawCounts(find("counts"), store, words, filterBy);
  drawFilter(find("filter"), store, words);
  showTruth();
  showTable();
}

function filterBy(filter) {
  store.filterBy(filter);
  showAll();
}
