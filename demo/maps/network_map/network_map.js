// The page: what is drawn, what is chosen. `element`, `props`, `watch`, `trigger` and `server` come from Gradio.

const find = (name) => element.querySelector(`.nm-${name}`);
const root = element.querySelector(".nm");
const SETTLE = 250; // ms without another keystroke before the map follows

let [outline, drawn, sized, asking, again, timer] = [null, null, "", false, false, 0];
let looked = { model: "", layer: "", block: "" };
let marked = ""; // what was picked in a drawing that is not the opened model's

const opened = () => Boolean(outline?.opened);
const chosenLayer = () => (opened() ? looked.layer : marked);
const chosenBlock = () => blockIn(chosenLayer()) || (opened() ? looked.block : "");
const wanted = () => ({
  model: looked.model, network: find("network").value, size: Number(sized) || 0, pooled: !find("unpooled").checked,
});

function pick(box) {
  marked = box.name;
  showChosen();
  if (opened()) trigger("choose", { layer: box.name, block: blockIn(box.name) });
}

function boxOfChosen() {
  const [layer, block] = [chosenLayer(), chosenBlock()];
  if (!drawn) return null;
  const single = [...drawn.stages, ...drawn.boxes].find(({ box }) => !box.block && box.name === layer);
  return single?.box ?? drawn.boxes.find(({ box }) => box.block && block && standsFor(box, block))?.box ?? null;
}

function namedChosen(box) {
  const layer = chosenLayer();
  const part = box.block && box.parts.find((each) => `${chosenBlock()}.${each.name}` === layer);
  if (part) return { ...part, name: layer };
  return box.block ? { ...box, name: chosenBlock() } : box;
}

function point(box) {
  const chosen = box ?? (boxOfChosen() && namedChosen(boxOfChosen()));
  find("facts").textContent = chosen ? factsOf(chosen, outline.macs) : say(opened() ? "hint" : "hint_drawn");
}
point.words = (box) => factsOf(box, outline.macs);

function showChosen() {
  if (!drawn) return;
  const [layer, block] = [chosenLayer(), chosenBlock()];
  for (const { button, box } of drawn.boxes) {
    const mine = box.block ? Boolean(block) && standsFor(box, block) : box.name === layer;
    mark(button, mine && (!box.block || layer === block));
    button.classList.toggle("nm-holds", mine && Boolean(box.block) && layer !== block);
  }
  for (const stage of drawn.stages) mark(stage.head, stage.name === layer);
  const inside = drawn.boxes.find(({ box }) => box.block && block && standsFor(box, block))?.box;
  showInside(find("inside"), inside, block, { chosen: layer, onPick: pick, onPoint: point });
  point(null);
}

function mark(node, on) {
  if (on) node.setAttribute("aria-current", "true");
  else node.removeAttribute("aria-current");
}

function complain(sentence) {
  find("fault").hidden = !sentence;
  find("fault").textContent = sentence;
}

function show(reply) {
  find("flow").classList.remove("nm-stale");
  if (reply.error) return complain(reply.error);
  outline = reply;
  const warnings = outline.stages.flatMap(({ blocks }) => blocks.map(({ warning }) => warning)).filter(Boolean);
  complain([outline.fault, ...warnings].filter(Boolean).join(" "));
  if (document.activeElement !== find("size")) find("size").value = outline.image_size[0];
  const told = { parameters: rounded(outline.parameters), macs: rounded(outline.macs) };
  const title = find("title");
  title.textContent = `${outline.title} `;
  title.append(make("span", "", say(outline.fault ? "totals_fault" : "totals", told)));
  drawn = drawMap(find("flow"), outline, { onPick: pick, onPoint: point });
  root.dataset.size = outline.image_size[0];
  showChosen();
}

// One question at a time; what changes meanwhile is asked next.
async function draw() {
  clearTimeout(timer);
  if (asking) {
    again = true;
    return;
  }
  [asking, again] = [true, false];
  root.dataset.state = "asking";
  find("flow").classList.add("nm-stale");
  try {
    show(await server.draw_map(wanted()));
  } catch {
    complain(say("lost"));
  }
  asking = false;
  if (again) return draw();
  root.dataset.state = "drawn";
}

function take(value) {
  const before = looked.model;
  looked = { model: "", layer: "", block: "", ...(value || {}) };
  if (looked.model && looked.model !== before) {
    if (!find("network").value) sized = "";
    draw();
  } else showChosen();
}

function fillNetworks() {
  const select = find("network");
  const option = (value, content) => Object.assign(make("option", "", content), { value });
  const named = (name) => option(name, name.replace("/", ", ").replace("as-published", say("published")).replace("plain", say("plain")));
  const group = (key, names) => {
    const box = make("optgroup");
    box.label = say(key);
    box.append(...names.map(named));
    return box;
  };
  select.append(option("", say("opened")), group("networks", NETWORKS.networks), group("plain_twins", NETWORKS.plain));
}

for (const node of element.querySelectorAll("[data-word]")) node.textContent = say(node.dataset.word);
find("flow").setAttribute("aria-label", say("map"));
find("facts").textContent = say("drawing");
fillNetworks();
find("network").addEventListener("change", () => {
  [sized, marked] = ["", ""];
  draw();
});
find("unpooled").addEventListener("change", draw);
find("size").addEventListener("input", () => {
  sized = find("size").value;
  clearTimeout(timer);
  timer = setTimeout(draw, SETTLE);
});
watch(Object.keys(props), () => take(props.value));
take(props.value);
