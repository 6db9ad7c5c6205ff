// What stands on the page, and what keys and clicks do; the last of the files, it starts the table.

const HEADS = ["name", "status", "dataset", "model", "epochs", "best", "started", "size"];

function showLabels() {
  find("search").placeholder = words.say("search");
  find("search").setAttribute("aria-label", words.say("search_name"));
  find("search").maxLength = LIMITS.search;
  setText(find("mark-title"), words.say("chosen"));
  const fixed = { csv: "csv", "undo-go": "undo" };
  for (const [part, key] of Object.entries(fixed)) setText(find(part), words.say(key));
  for (const key of HEADS) setText(element.querySelector(`th[data-key=${key}] button`), words.say(key));
}

function showHeads() {
  for (const head of element.querySelectorAll("th[data-key]")) {
    const mine = head.dataset.key === store.view.key;
    head.setAttribute("aria-sort", mine ? (store.view.down ? "descending" : "ascending") : "none");
  }
}

// A line that has not changed stays the same node: a new one would lose the focus and a click on its way.
function lineOf(row) {
  const marked = store.marked.has(row.id);
  const key = JSON.stringify([row, words.language, new Date().toDateString()]);
  const before = lines.get(row.id);
  if (before && before.key === key) {
    before.line.querySelector(".rt-mark").checked = marked;
    return before.line;
  }
  const line = runLine(row, store.titleOf(row), marked, words, act);
  lines.set(row.id, { line, key });
  return line;
}

function showRows() {
  const sorted = store.sorted();
  const focused = find("rows").contains(document.activeElement) ? document.activeElement : null;
  const [part, run] = [focused?.classList[1] || focused?.classList[0], focused?.closest("tr")?.dataset.run];
  const wanted = [];
  for (const row of sorted.slice(0, store.view.most)) {
    wanted.push(lineOf(row));
    if (editor && editor.id === row.id) wanted.push(editor.line);
  }
  for (const node of [...find("rows").children]) if (!wanted.includes(node)) node.remove();
  wanted.forEach((node, place) => {
    if (find("rows").children[place] !== node) find("rows").insertBefore(node, find("rows").children[place] || null);
  });
  for (const id of [...lines.keys()]) if (!sorted.some((row) => row.id === id)) lines.delete(id);
  if (focused && document.activeElement !== focused) { // it was moved, or made anew
    (focused.isConnected ? focused : part && lines.get(run)?.line.querySelector(`.${part}`))?.focus();
  }
  find("table").hidden = sorted.length === 0;
  fitEditor();
  find("nothing").hidden = sorted.length > 0;
  setText(find("nothing"), words.say(store.count ? "none_found" : "none_yet"));
  const hidden = Math.max(0, sorted.length - store.view.most);
  find("more").hidden = hidden === 0;
  setText(find("more"), words.say("more", { count: Math.min(hidden, PAGE_ROWS) }));
  root.dataset.rows = sorted.length;
}

function fitEditor() {
  editor?.fit([...element.querySelectorAll("thead th")].filter((head) => getComputedStyle(head).display !== "none").length);
}

function showCompare() {
  const count = store.marked.size;
  setText(find("compare"), count ? words.say("compare_some", { count }) : words.say("compare"));
  find("compare").disabled = count < LIMITS.fewest || count > LIMITS.most;
  find("compare").title = words.say("compare_hint");
}

function showDisk() {
  const [count, found, size] = [store.count, store.rows.length, words.size(store.size)];
  const key = found !== count ? "found" : count === 1 ? "disk_one" : "disk";
  find("disk").hidden = count === 0;
  setText(find("disk"), words.say(key, { count, found, size }));
  find("csv").disabled = found === 0;
}

function showBin() {
  const size = words.size(store.bin.reduce((sum, run) => sum + run.size, 0));
  find("bin").hidden = store.bin.length === 0;
  setText(find("bin-title"), words.say(store.bin.length === 1 ? "bin_one" : "bin", { count: store.bin.length, size }));
  showEmpty();
  const now = JSON.stringify([store.bin, words.language]);
  if (now !== root.dataset.bin) showBinned();
  root.dataset.bin = now;
}

function showEmpty() {
  setText(find("empty"), words.say(sure ? "empty_sure" : "empty_bin"));
}

// Only when the bin has changed: new lines would lose the focus and a click on its way.
function showBinned() {
  const focused = find("bin-list").contains(document.activeElement);
  const run = document.activeElement?.closest("li")?.dataset.run;
  find("bin-list").replaceChildren(...store.bin.map((run) => {
    const [item, title] = [make("li"), run.name || run.id];
    item.dataset.run = run.id;
    item.append(
      make("span", "rt-bin-name", title), make("span", "rt-quiet", words.say("bin_until", { when: words.exact(run.deleted) })),
      make("span", "rt-quiet", words.size(run.size)),
      makeButton("rt-link rt-restore", words.say("restore"), () => restore(run), words.say("restore_run", { name: title })),
    );
    return item;
  }));
  if (!focused) return;
  const item = [...find("bin-list").children].find((one) => one.dataset.run === run);
  (item?.querySelector(".rt-restore") || find("bin-title")).focus();
}

function showAll() {
  const known = new Set(store.rows.map((row) => row.id));
  if (!find("search").value) for (const id of store.chosen()) if (!known.has(id)) store.mark(id, false);
  for (const show of [showHeads, showRows, showCompare, showDisk, showBin]) show();
}

for (const head of element.querySelectorAll("th[data-key]")) {
  head.firstElementChild.addEventListener("click", () => {
    store.sortBy(head.dataset.key);
    showHeads();
    showRows();
  });
}
let typing = 0;
find("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { complain(""); refresh(); }, 200);
});
find("compare").addEventListener("click", compare);
find("csv").addEventListener("click", () => download(store.sorted()));
find("undo-go").addEventListener("click", () => undone && restore(undone));
find("empty").addEventListener("click", emptyBin);
find("empty").addEventListener("blur", () => { sure = false; showEmpty(); });
find("more").addEventListener("click", () => { store.view.most += PAGE_ROWS; showRows(); });
document.addEventListener("visibilitychange", function wake() {
  if (!element.isConnected) document.removeEventListener("visibilitychange", wake);
  else refresh();
});
new ResizeObserver(fitEditor).observe(root);
new IntersectionObserver((seen) => { if (seen.some((entry) => entry.isIntersecting)) refresh(); }).observe(root);
watch(Object.keys(props), refresh); // not by name: a name in quotes would become an attribute of the component
new MutationObserver(() => {
  words = makeWords();
  showLabels();
  showAll();
}).observe(document.documentElement, { attributeFilter: ["lang"] });
showLabels();
showAll();
refresh();
