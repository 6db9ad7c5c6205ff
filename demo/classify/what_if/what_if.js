// The page: brush, sliders, and the answers that follow. `element`, `props` and `watch` come from Gradio.

const find = (name) => element.querySelector(`.wi-${name}`);
const root = element.querySelector(".wi");
const view = find("canvas");
const SLIDERS = { turn: 0, blur: 0, light: 0, quality: 100 };
const LONGEST_EDGE = 420; // px of the photo on the page
const STEP = 0.04; // of the photo's edge that an arrow key moves the brush

let [told, edits, before, bars] = [{ words: {} }, null, null, null];
let [shown, spot, pointer, frame] = [null, null, null, 0]; // picture on view, brush, finger that paints, planned redraw
let lastMoved = props.moved;
let epoch = null; // that `before` is of, where the model is a run's

const say = (key, blanks = {}) => (told.words[key] || "").replace(/\{(\w+)\}/g, (_, name) => String(blanks[name] ?? ""));
const slider = (name) => Number(find(name).value);
const settings = () => Object.fromEntries(Object.keys(SLIDERS).map((name) => [name, slider(name)]));
const brushSize = () => (slider("width") / 100) * Math.max(edits.width, edits.height);

const ask = makeAsking({
  onAnswer(question, answer, file) {
    if (question.told !== told) return; // of a photo or an epoch that has gone
    const now = sharesOf(answer);
    if (before && answer.model && answer.model.epoch !== epoch) return askAnew();
    if (!question.edited) [before, epoch] = [before ?? now, answer.model ? answer.model.epoch : null];
    bars.show(before, now);
    sayIt(whatHappened(say, before, now, { unknown: answer.unknown, edited: question.edited }));
    if (question.quality < 100) showCompressed(question, file);
    root.dataset.answers = Number(root.dataset.answers) + 1;
    if (question.first) changed(); // now for the picture as it is edited
  },
  onFailure: (sentence) => sayIt(sentence || say("lost"), true),
  onRest: () => { root.dataset.settled = frame ? "false" : "true"; },
});

function sayIt(sentence, problem = false) {
  find("sentence").textContent = sentence;
  find("sentence").classList.toggle("wi-problem", problem);
}

async function showCompressed(question, file) {
  const picture = await createImageBitmap(file);
  if (shown !== question.canvas) return; // edited again meanwhile
  shown = picture;
  drawView();
}

function drawView() {
  const context = view.getContext("2d");
  context.drawImage(shown, 0, 0);
  if (!spot) return;
  for (const [color, wide] of [["#000000", 3], ["#ffffff", 1.5]]) {
    context.beginPath();
    context.arc(...spot, brushSize() / 2, 0, 2 * Math.PI);
    Object.assign(context, { strokeStyle: color, lineWidth: wide });
    context.stroke();
  }
}

function changed() {
  if (!edits) return;
  root.dataset.settled = "false";
  if (!frame) frame = requestAnimationFrame(redraw);
}

function redraw() {
  frame = 0;
  if (!edits) return;
  const now = settings();
  shown = edits.result(now);
  drawView();
  showNumbers(now);
  const edited = edits.strokes() > 0 || Object.entries(SLIDERS).some(([name, usual]) => now[name] !== usual);
  find("undo").disabled = edits.strokes() === 0;
  const asked = { told, model: told.model, threshold: ownThreshold(props.moved, told.model) };
  if (edited && !before) ask({ ...asked, edited: false, first: true, canvas: edits.photo(), quality: 100 });
  else ask({ ...asked, edited, canvas: shown, quality: now.quality });
}

function showNumbers({ turn, blur, light, quality }) {
  const numbers = {
    turn: `${turn}°`, blur: `${blur} px`, light: `${Math.round(100 * 2 ** light)}%`,
    quality: quality < 100 ? String(quality) : say("whole"),
  };
  for (const [name, text] of Object.entries(numbers)) find(name).nextElementSibling.textContent = text;
}

function showWords() {
  for (const node of element.querySelectorAll("[data-word]")) node.textContent = say(node.dataset.word);
  find("empty").textContent = say("empty");
  view.setAttribute("aria-label", say("canvas"));
  find("brushes").setAttribute("aria-label", say("brush"));
}

function start(image) {
  edits = makeEdits(image);
  Object.assign(view, { width: edits.width, height: edits.height });
  view.style.width = `${Math.round((LONGEST_EDGE * edits.width) / Math.max(edits.width, edits.height))}px`;
  spot = null;
  sayIt("");
  compareAnew();
  reset();
}

// A newer epoch answers: what the photo was before is asked of it as well.
function askAnew() {
  compareAnew();
  changed();
}

function compareAnew() {
  find("bars").replaceChildren();
  bars = makeBars(find("bars"), told.colors || {});
  before = null;
}

function reset() {
  pointer = null;
  edits.forget();
  for (const [name, usual] of Object.entries(SLIDERS)) find(name).value = usual;
  changed();
}

function take(value) {
  const same = edits && value && value.picture === told.picture && value.model === told.model;
  if (same && value.stamp === told.stamp) return; // opened again
  told = value && value.words ? value : { words: {} };
  if (same) return askAnew(); // what was painted stays
  edits = null;
  showWords();
  find("empty").hidden = Boolean(told.picture);
  find("body").hidden = !told.picture;
  if (!told.picture) return;
  const [image, mine] = [new Image(), told];
  image.onload = () => { if (told === mine) start(image); };
  image.src = told.picture;
}

// On the view, and there on the photo itself, which may be turned.
function placeOf(event) {
  const box = view.getBoundingClientRect();
  return [((event.clientX - box.left) * view.width) / box.width, ((event.clientY - box.top) * view.height) / box.height];
}

const onPhoto = (place) => turnedBack(place, slider("turn"), edits.width, edits.height);
const brush = () => element.querySelector("input[type=radio]:checked").value;

function dab(place) {
  edits.begin(brush(), brushSize(), onPhoto(place));
  changed();
}

view.addEventListener("pointerdown", (event) => {
  if (!edits || pointer !== null || event.button > 0) return;
  pointer = event.pointerId;
  view.setPointerCapture(pointer);
  spot = placeOf(event);
  dab(spot);
});
view.addEventListener("pointermove", (event) => {
  if (!edits || !shown) return;
  spot = placeOf(event);
  if (pointer !== event.pointerId) drawView();
  else {
    for (const each of event.getCoalescedEvents?.() || [event]) edits.extend(onPhoto(placeOf(each)));
    changed();
  }
});
for (const kind of ["pointerup", "pointercancel"]) {
  view.addEventListener(kind, (event) => { if (event.pointerId === pointer) pointer = null; });
}
view.addEventListener("pointerleave", () => { spot = null; if (edits && shown) drawView(); });
view.addEventListener("keydown", (event) => {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!edits || !shown || !(event.key in ways || [" ", "Enter"].includes(event.key))) return;
  event.preventDefault();
  const [x, y] = spot || [view.width / 2, view.height / 2];
  const [across, down] = ways[event.key] || [0, 0];
  const far = STEP * Math.max(view.width, view.height);
  spot = [Math.min(view.width, Math.max(0, x + far * across)), Math.min(view.height, Math.max(0, y + far * down))];
  if (event.key in ways) drawView();
  else dab(spot);
});
root.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "z" && edits && edits.strokes()) find("undo").click();
});
for (const name of Object.keys(SLIDERS)) find(name).addEventListener("input", changed);
find("undo").addEventListener("click", () => {
  pointer = null; // a stroke under way ends with it
  edits.undo();
  changed();
});
find("reset").addEventListener("click", reset);
watch(Object.keys(props), () => {
  take(props.value);
  if (props.moved === lastMoved) return;
  lastMoved = props.moved;
  changed();
});
take(props.value);
