// Bars and switches. `element`, `props`, `trigger` and `watch` come from Gradio, `WORDS` from switchboard.py.

const find = (name) => element.querySelector(`.sw-${name}`);
const root = element.querySelector(".sw");
const language = [document.documentElement.lang, navigator.language].find((l) => l)?.toLowerCase().startsWith("zh") ? "zh" : "en";
const say = (key, filling = {}) =>
  (WORDS[language][key] ?? key).replace(/\{(\w+)\}/g, (_, part) => String(filling[part] ?? ""));
const NUMBERED = 24; // blocks up to which every bar carries its number
const KEYS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

let [model, off, columns, chosen] = ["", {}, [], ""];

function make(tag, className, content) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (content !== undefined) node.textContent = content;
  return node;
}

function choose(name) {
  chosen = name;
  showState();
  trigger("choose", { block: name });
}

function flip(name, what, on) {
  if (on) off[name] = what;
  else delete off[name];
  showState();
  trigger("switch", { off: JSON.stringify(off) });
}

function makeSwitch(name, what) {
  const box = make("input");
  box.type = "checkbox";
  box.dataset.block = name;
  box.dataset.what = what;
  box.setAttribute("aria-label", say("of", { what: say(what), block: name }));
  box.title = say("of", { what: say(what), block: name });
  box.addEventListener("change", () => flip(name, what, box.checked));
  return box;
}

function makeColumn({ name, ratio }, largest, numbered) {
  const bar = make("button", "sw-bar");
  bar.type = "button";
  const shown = ratio === null ? "–" : ratio.toFixed(2);
  bar.style.setProperty("--sw-height", `${ratio === null ? 0 : Math.round((66 * ratio) / largest)}px`);
  bar.title = say("choose", { block: name, ratio: shown });
  bar.setAttribute("aria-label", bar.title);
  bar.dataset.block = name;
  bar.append(make("i"));
  if (numbered && ratio !== null) bar.append(make("b", "", shown));
  bar.addEventListener("click", () => choose(name));
  const label = make("span", "sw-name", name.replace(/^layer/, ""));
  const switches = ratio === null ? [make("span"), make("span")] : ["branch", "skip"].map((what) => makeSwitch(name, what));
  return { name, bar, label, switches };
}

function showState() {
  for (const { name, bar, label, switches } of columns) {
    const mine = name === chosen;
    if (mine) bar.setAttribute("aria-current", "true");
    else bar.removeAttribute("aria-current");
    bar.tabIndex = mine || (!columns.some((each) => each.name === chosen) && name === columns[0].name) ? 0 : -1;
    label.dataset.chosen = String(mine);
    if (off[name]) bar.dataset.off = off[name];
    else delete bar.dataset.off;
    for (const box of switches) if (box.dataset.what) box.checked = off[name] === box.dataset.what;
  }
  root.dataset.off = Object.keys(off).length;
  find("reset").hidden = Object.keys(off).length === 0;
}

function draw(blocks) {
  const ratios = blocks.map(({ ratio }) => ratio ?? 0);
  const largest = Math.max(1e-9, ...ratios);
  const focused = document.activeElement?.dataset ?? {};
  columns = blocks.map((block) => makeColumn(block, largest, blocks.length <= NUMBERED));
  const heads = ["", "", say("branch"), say("skip")].map((content) => make("span", "sw-row", content));
  find("grid").replaceChildren(
    ...heads, ...columns.flatMap(({ bar, label, switches }) => [bar, label, ...switches]),
  );
  const again = columns.flatMap(({ bar, switches }) => [bar, ...switches]).find(
    (node) => focused.block && node.dataset.block === focused.block && node.dataset.what === focused.what,
  );
  again?.focus({ preventScroll: true });
}

function take(value) {
  const blocks = value?.blocks ?? [];
  const switchable = blocks.some(({ ratio }) => ratio !== null);
  if (value?.model !== model) off = { ...(value?.off ?? {}) }; // else what was just switched here is newer
  model = value?.model ?? "";
  chosen = value?.chosen ?? "";
  find("scroll").hidden = !switchable;
  find("empty").hidden = switchable;
  find("empty").textContent = blocks.length ? say("plain") : say("empty");
  if (switchable) draw(blocks);
  else columns = [];
  showState();
}

find("title").textContent = say("title");
find("reset").textContent = say("all_on");
find("reset").addEventListener("click", () => {
  off = {};
  showState();
  trigger("switch", { off: "{}" });
});
find("grid").addEventListener("keydown", (event) => {
  if (!(event.key in KEYS) || !event.target.classList.contains("sw-bar")) return;
  event.preventDefault();
  const at = columns.findIndex(({ bar }) => bar === event.target) + KEYS[event.key];
  columns[Math.min(columns.length - 1, Math.max(0, at))].bar.focus();
});
watch(Object.keys(props), () => take(props.value));
take(props.value);
