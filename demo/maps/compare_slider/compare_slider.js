// Two pictures and the line between them. A range input that nobody sees takes the arrow keys; pointers are followed on
// the pictures themselves, since an input's thumb stops short of both ends. `element`, `props` and `watch` are Gradio's.

const find = (name) => element.querySelector(`.cs-${name}`);
let told = { words: {} };

const say = (key) => told.words[key] || "";

function move() {
  const share = Number(find("handle").value);
  element.querySelector(".cs").style.setProperty("--cs-at", `${share}%`);
  find("handle").setAttribute("aria-valuetext", `${told.leftTitle || ""} ${share}%, ${told.rightTitle || ""} ${100 - share}%`);
}

function point(event) {
  if (event.button > 0 || (event.type === "pointermove" && event.buttons === 0)) return;
  const box = find("stage").getBoundingClientRect();
  find("handle").value = Math.round((100 * (event.clientX - box.left)) / box.width);
  if (event.type === "pointerdown") find("stage").setPointerCapture(event.pointerId);
  move();
}

function paragraph(text) {
  const node = document.createElement("p");
  node.textContent = text;
  return node;
}

function take(value) {
  told = value && value.words ? value : { words: {} };
  find("empty").textContent = told.left ? "" : told.empty || "";
  find("body").hidden = !told.left;
  if (!told.left) return;
  for (const node of element.querySelectorAll("[data-word]")) node.textContent = say(node.dataset.word);
  for (const side of ["left", "right"]) {
    find(side).src = told[side];
    find(side).alt = told[`${side}Title`];
    find(`${side}-says`).textContent = told[`${side}Says`];
  }
  find("notes").replaceChildren(...told.notes.map(paragraph));
  find("handle").setAttribute("aria-label", say("handle"));
  move();
}

find("handle").addEventListener("input", move);
for (const kind of ["pointerdown", "pointermove"]) find("stage").addEventListener(kind, point);
find("stage").addEventListener("dragstart", (event) => event.preventDefault()); // of the pictures
watch(Object.keys(props), () => take(props.value));
take(props.value);
