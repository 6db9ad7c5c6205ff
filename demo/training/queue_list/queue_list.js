// The runs that wait. `element`, `trigger`, `props` and `watch` come from Gradio; `WORDS` from queue_list.py.
// A row: { id, title, detail, epochs }, 0 epochs: chosen when it starts. Text reaches the page through textContent only.

const find = (part) => element.querySelector(`.ql-${part}`);
const root = element.querySelector(".ql");
const SHAPES = { up: "M2 8l4-5 4 5", down: "M2 4l4 5 4-5", drop: "M2.5 2.5l7 7M9.5 2.5l-7 7" };
const DRAWING = "http://www.w3.org/2000/svg";

function say(key, filling = {}) {
  const named = [document.documentElement.lang, navigator.language].find((l) => l) || "en";
  const table = WORDS[named.toLowerCase().startsWith("zh") ? "zh" : "en"];
  return table[key].replace(/\{(\w+)\}/g, (_, part) => String(filling[part] ?? ""));
}

function waiting() {
  try {
    const rows = JSON.parse(props.value || "[]");
    return Array.isArray(rows) ? rows.filter((row) => row && typeof row.id === "string") : [];
  } catch {
    return [];
  }
}

function make(tag, className, content = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = content;
  return node;
}

// `place` is where the run shall stand, 0 for nowhere; pressed twice it is still the same place.
function button(row, action, place, possible) {
  const [node, drawing, line] = [make("button", `ql-${action}`), ...["svg", "path"].map((n) => document.createElementNS(DRAWING, n))];
  node.type = "button";
  node.disabled = !possible;
  node.title = say(action, { name: row.title });
  node.setAttribute("aria-label", node.title);
  drawing.setAttribute("viewBox", "0 0 12 12");
  drawing.setAttribute("aria-hidden", "true");
  line.setAttribute("d", SHAPES[action]);
  drawing.append(line);
  node.append(drawing);
  node.addEventListener("click", () => trigger('act', { run_id: row.id, place }));
  return node;
}

function rowNode(row, index, rows) {
  const [item, text, buttons] = [make("li", "ql-row"), make("div", "ql-text"), make("div", "ql-buttons")];
  item.dataset.run = row.id;
  const title = make("span", "ql-title", row.title);
  title.title = row.id;
  const epochs = row.epochs ? ` · ${say("epochs", { n: row.epochs })}` : "";
  text.append(title, make("span", "ql-detail", row.detail + epochs));
  buttons.append(button(row, "up", index, index > 0), button(row, "down", index + 2, index + 1 < rows.length));
  buttons.append(button(row, "drop", 0, true));
  item.append(make("span", "ql-place", String(index + 1)), text, buttons);
  return item;
}

// Who moves a run by keyboard stays on its button.
function focused() {
  const active = document.activeElement;
  const row = element.contains(active) ? active.closest(".ql-row") : null;
  return row ? [row.dataset.run, active.className] : null;
}

function show() {
  const [rows, before] = [waiting(), focused()];
  root.dataset.count = rows.length;
  find("empty").textContent = say("empty");
  find("empty").hidden = rows.length > 0;
  find("rows").replaceChildren(...rows.map(rowNode));
  if (!before) return;
  const same = [...find("rows").children].find((row) => row.dataset.run === before[0]);
  const wanted = same?.querySelector(`.${before[1]}`);
  (wanted?.disabled ? same.querySelector("button:not(:disabled)") : wanted)?.focus();
}

watch(Object.keys(props), show);
new MutationObserver(show).observe(document.documentElement, { attributeFilter: ["lang"] });
show();
