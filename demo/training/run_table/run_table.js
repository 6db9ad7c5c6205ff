// The page: asking, drawing, doing. `element`, `props`, `server`, `trigger` and `watch` come from Gradio.

const PERIOD = 5000; // ms between two looks while a run is under way; otherwise nothing is asked
const UNDO_SHOWN = 60000;

const find = (part) => element.querySelector(`.rt-${part}`);
const root = element.querySelector(".rt");
const store = makeRows();
const lines = new Map(); // run id -> { line, key }
let words = makeWords();
let [busy, again, timer, undoTimer, editor, undone, sure] = [false, false, 0, 0, null, null, false];

const isSeen = () => document.visibilityState === "visible" && element.offsetParent !== null;

async function ask(question) {
  const reply = await server.runs_ask(question);
  if (reply === null || typeof reply !== "object") throw new Error("no answer"); // Gradio swallows network errors
  return reply;
}

function complain(sentence) {
  setText(find("banner"), sentence || "");
  find("banner").hidden = !sentence;
}

// Asks what there is now; only while somebody can see it.
async function refresh() {
  clearTimeout(timer);
  if (!element.isConnected || !isSeen()) return;
  if (busy) { again = true; return; }
  busy = true;
  try {
    const search = find("search").value;
    const reply = await ask({ what: "list", search, version: store.version });
    root.dataset.asked = Number(root.dataset.asked) + 1;
    if (reply.error) complain(reply.error);
    else {
      if (find("banner").textContent === words.say("lost")) complain("");
      if (store.apply(reply)) showAll();
    }
  } catch {
    complain(words.say("lost"));
    timer = setTimeout(refresh, PERIOD);
  }
  busy = false;
  if (again) {
    again = false;
    refresh();
  } else if (store.live) timer = setTimeout(refresh, PERIOD);
}

// Does something to a run; true when it is done.
async function change(question) {
  let reply;
  try {
    reply = await ask(question);
  } catch {
    reply = { error: words.say("lost") };
  }
  complain(reply.error);
  if (reply.error) return false;
  await refresh();
  trigger('runschanged', {});
  return true;
}

const act = {
  show(row) {
    trigger('showrun', { run_id: row.id });
    toBoard();
  },
  mark(row, on) {
    store.mark(row.id, on);
    complain("");
    showCompare();
  },
  findTag(tag) {
    find("search").value = tag.includes(" ") ? `"${tag}"` : `#${tag}`;
    refresh();
  },
  edit(row) {
    leaveEditor();
    editor = { id: row.id, ...makeEditor(row, words, { onSave: (parts) => save(row, parts), onLeave: leaveEditor }) };
    showRows();
    editor.focus();
  },
  async remove(row) {
    const title = store.titleOf(row);
    if (!await change({ what: "delete", run: row.id })) return;
    store.mark(row.id, false);
    showCompare();
    offerUndo({ id: row.id, name: title });
  },
};

async function save(row, parts) {
  if (!Object.keys(parts).length) return leaveEditor();
  if (!await change({ what: "save", run: row.id, ...parts })) return null;
  setText(find("spoken"), words.say("saved"));
  return leaveEditor();
}

function leaveEditor() {
  if (!editor) return;
  const id = editor.id;
  editor.line.remove();
  editor = null;
  lines.get(id)?.line.querySelector(".rt-edit")?.focus();
}

function offerUndo(run) {
  undone = run;
  setText(find("undo-text"), words.say("deleted", { name: run.name }));
  find("undo").hidden = false;
  find("undo-go").focus();
  clearTimeout(undoTimer);
  undoTimer = setTimeout(() => { find("undo").hidden = true; }, UNDO_SHOWN);
}

async function restore(run) {
  if (!await change({ what: "restore", run: run.id })) return;
  if (undone && undone.id === run.id) find("undo").hidden = true;
  setText(find("spoken"), words.say("restored", { name: run.name || run.id }));
}

async function emptyBin() {
  if (!sure) {
    sure = true;
    showBin();
    return;
  }
  sure = false;
  find("undo").hidden = true;
  if (await change({ what: "empty" })) setText(find("spoken"), words.say("emptied"));
  showBin();
}

// The board above lays them over one another, with a table of what differs.
function compare() {
  trigger('comparison', { run_ids: store.chosen() });
  toBoard();
}

function toBoard() {
  document.getElementById("live-board")?.scrollIntoView({ block: "start" });
}
