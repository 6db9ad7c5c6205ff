// The last answers of this browser tab. `element`, `trigger`, `props` and `watch` come from Gradio; `WORDS` from history.py.
// An entry: { path, thumb, label, share, unknown, model, asked }, the model as it is shown and as it is asked by.
// Text reaches the page through textContent only.

const MEMORY = "resnet-lab-history";
const MOST = 20;

const find = (part) => element.querySelector(`.hs-${part}`);
const root = element.querySelector(".hs");
let entries = recall();
let taken = "";

function say(key, filling = {}) {
  const named = [document.documentElement.lang, navigator.language].find((l) => l) || "en";
  const table = WORDS[named.toLowerCase().startsWith("zh") ? "zh" : "en"];
  return table[key].replace(/\{(\w+)\}/g, (_, part) => String(filling[part] ?? ""));
}

function recall() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(MEMORY) || "[]");
    return Array.isArray(kept) ? kept.filter(isEntry).slice(0, MOST) : [];
  } catch {
    return [];
  }
}

function isEntry(entry) {
  const texts = ["path", "thumb", "label", "model", "asked"];
  return entry !== null && typeof entry === "object" && texts.every((key) => typeof entry[key] === "string");
}

function keep() {
  try {
    if (entries.length) sessionStorage.setItem(MEMORY, JSON.stringify(entries));
    else sessionStorage.removeItem(MEMORY);
  } catch { /* a browser that keeps nothing */ }
}

function add() {
  if (props.value === taken) return;
  taken = props.value;
  let entry = null;
  try { entry = JSON.parse(props.value || "null"); } catch { return; }
  if (!isEntry(entry)) return;
  const same = (other) => other.path === entry.path && other.asked === entry.asked;
  entries = [entry, ...entries.filter((other) => !same(other))].slice(0, MOST);
  keep();
  show();
}

function make(tag, className, content) {
  const node = document.createElement(tag);
  node.className = className;
  if (content !== undefined) node.textContent = content;
  return node;
}

function entryNode(entry) {
  const [item, button, picture] = [make("li", ""), make("button", "hs-entry"), make("img", "")];
  const [label, share] = [entry.unknown ? say("unknown") : entry.label, perCent(entry.share)];
  button.type = "button";
  button.classList.toggle("hs-unknown", Boolean(entry.unknown));
  button.title = `${label} · ${share} · ${entry.model}`;
  button.setAttribute("aria-label", say("again", { label, share, model: entry.model }));
  picture.alt = "";
  picture.src = `data:image/jpeg;base64,${entry.thumb}`;
  button.append(picture, make("span", "hs-label", label), make("span", "hs-share", share));
  button.append(make("span", "hs-model", entry.model));
  button.addEventListener("click", () => trigger('pick', { path: entry.path, asked: entry.asked }));
  item.append(button);
  return item;
}

function show() {
  root.hidden = entries.length === 0;
  root.dataset.count = entries.length;
  for (const part of ["title", "kept", "clear"]) find(part).textContent = say(part);
  find("strip").replaceChildren(...entries.map(entryNode));
}

find("clear").addEventListener("click", () => {
  entries = [];
  keep();
  show();
});
watch(Object.keys(props), add);
new MutationObserver(show).observe(document.documentElement, { attributeFilter: ["lang"] });
show();
