// A map one can walk over. The server has sent what every row and every column can see, so nothing is asked again.
// `element`, `props` and `watch` come from Gradio.

const find = (name) => element.querySelector(`.cm-${name}`);
let told = { words: {} };
let place = [0, 0]; // row, column

const say = (key, blanks = {}) => (told.words[key] || "").replace(/\{(\w+)\}/g, (_, name) => String(blanks[name] ?? ""));

function lay(node, top, left, height, width, whole) {
  const share = (part, edge) => `${(100 * part) / edge}%`;
  Object.assign(node.style, {
    top: share(top, whole[0]), left: share(left, whole[1]), height: share(height, whole[0]), width: share(width, whole[1]),
  });
}

function show() {
  const [row, column] = place;
  const shape = [told.rows.length, told.columns.length];
  const [top, bottom] = told.rows[row];
  const [left, right] = told.columns[column];
  const [height, width] = [bottom - top + 1, right - left + 1];
  lay(find("spot"), row, column, 1, 1, shape);
  lay(find("field"), top, left, height, width, [told.side, told.side]);
  const value = told.values[row][column];
  const blanks = { row, column, height, width, value: value === null ? "–" : value };
  find("sentence").textContent = say(shape[0] * shape[1] === 1 ? "whole" : "place", blanks);
  find("map").dataset.place = place.join(",");
}

function placeOf(event) {
  const box = find("map").getBoundingClientRect();
  const step = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
  return [
    step((event.clientY - box.top) / box.height, told.rows.length),
    step((event.clientX - box.left) / box.width, told.columns.length),
  ];
}

function take(value) {
  told = value && value.words ? value : { words: {} };
  find("empty").textContent = told.map ? "" : told.empty || "";
  find("body").hidden = !told.map;
  if (!told.map) return;
  for (const node of element.querySelectorAll("[data-word]")) node.textContent = say(node.dataset.word);
  find("tile").src = told.map;
  find("photo").src = told.photo;
  find("photo").alt = say("photo");
  find("map").setAttribute("aria-label", say("map"));
  place = told.peak;
  show();
}

for (const kind of ["pointerdown", "pointermove"]) {
  find("map").addEventListener(kind, (event) => {
    if (!told.map || (kind === "pointermove" && event.buttons === 0)) return;
    place = placeOf(event);
    show();
  });
}
find("map").addEventListener("keydown", (event) => {
  const ways = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  if (!told.map || !(event.key in ways)) return;
  event.preventDefault();
  const [down, across] = ways[event.key];
  place = [
    Math.min(told.rows.length - 1, Math.max(0, place[0] + down)),
    Math.min(told.columns.length - 1, Math.max(0, place[1] + across)),
  ];
  show();
});
watch(Object.keys(props), () => take(props.value));
take(props.value);
