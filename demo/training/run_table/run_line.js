// One line of the table. Names, notes and tags come from people: they are only ever text.

const AT_REST = ["finished", "stopped", "failed", "interrupted"];

// Each icon is a path in a 12 × 12 box, the same shapes as on the board: they tell the status where colour does not.
const ICONS = {
  queued: "M2 6h.1M6 6h.1M10 6h.1", preparing: "M6 1.5v2M6 8.5v2M1.5 6h2M8.5 6h2", running: "M3 1.5l7 4.5-7 4.5z",
  paused: "M4 2v8M8 2v8", stopping: "M2.5 2.5h7v7h-7z", finished: "M1.5 6.5l3 3 6-7", stopped: "M2.5 2.5h7v7h-7z",
  failed: "M2.5 2.5l7 7M9.5 2.5l-7 7", interrupted: "M6 1.5v5.5M6 10h.1",
};
const SVG = "http://www.w3.org/2000/svg";

function statusNode(status, words) {
  const node = make("span", `rt-state rt-state-${status in ICONS ? status : "other"}`);
  const [icon, path] = [document.createElementNS(SVG, "svg"), document.createElementNS(SVG, "path")];
  icon.setAttribute("viewBox", "0 0 12 12");
  icon.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[status] || ICONS.queued);
  icon.append(path);
  node.append(icon, make("span", "", words.say(`status.${status}`)));
  return node;
}

function nameCell(row, title, words, act) {
  const cell = make("td", "rt-col-name");
  const name = make("span", "rt-name", title);
  name.title = row.id;
  cell.append(name);
  if (row.tags.length) {
    const tags = make("span", "rt-tags");
    tags.append(...row.tags.map((tag) => makeButton("rt-tag", tag, () => act.findTag(tag), `#${tag}`)));
    cell.append(tags);
  }
  if (row.note) {
    const note = make("span", "rt-note", row.note);
    note.title = row.note;
    cell.append(note);
  }
  cell.append(make("span", "rt-under", underLine(row, words)), actions(row, title, words, act));
  return cell;
}

// What the other columns say, for a screen that has no room for them.
function underLine(row, words) {
  const epochs = `${row.done}/${row.epochs || "–"}`;
  return [words.say(`status.${row.status}`), row.dataset, row.model, epochs, words.when(row.started), words.size(row.size)]
    .filter(Boolean).join(" · ");
}

function actions(row, title, words, act) {
  const line = make("span", "rt-actions");
  const remove = makeButton("rt-link rt-delete", words.say("delete"), () => act.remove(row), words.say("delete_run", { name: title }));
  if (!AT_REST.includes(row.status)) {
    remove.disabled = true;
    remove.title = words.say("under_way");
  }
  line.append(
    makeButton("rt-link rt-show", words.say("show"), () => act.show(row), words.say("show_run", { name: title })),
    makeButton("rt-link rt-edit", words.say("edit"), () => act.edit(row), words.say("edit_run", { name: title })),
    remove,
  );
  return line;
}

function markCell(row, title, marked, words, act) {
  const [cell, box] = [make("td", "rt-col-mark"), make("input", "rt-mark")];
  box.type = "checkbox";
  box.checked = marked;
  box.setAttribute("aria-label", words.say("mark", { name: title }));
  box.addEventListener("change", () => act.mark(row, box.checked));
  cell.append(box);
  return cell;
}

function runLine(row, title, marked, words, act) {
  const line = make("tr", "rt-row");
  line.dataset.run = row.id;
  const status = make("td", "rt-col-status");
  status.append(statusNode(row.status, words));
  const best = make("td", "rt-col-best", words.share(row.best));
  if (row.best_epoch) best.append(make("span", "rt-small", words.say("best_at", { epoch: row.best_epoch })));
  const started = make("td", "rt-col-started", words.when(row.started));
  started.title = words.exact(row.started);
  line.append(
    markCell(row, title, marked, words, act), nameCell(row, title, words, act), status,
    make("td", "rt-col-dataset", row.dataset), make("td", "rt-col-model", row.model),
    make("td", "rt-col-epochs", `${row.done} / ${row.epochs || "–"}`), best, started,
    make("td", "rt-col-size", words.size(row.size)),
  );
  return line;
}
