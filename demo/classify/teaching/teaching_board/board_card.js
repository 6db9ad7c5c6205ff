// One class: its name, its pictures, and the ways to get more. `on` holds what happens when somebody acts.

function makeCard(id, on) {
  const card = make("article", "tb-class");
  card.dataset.id = id;
  const head = make("div", "tb-head");
  const dot = make("span", "tb-dot");
  const name = make("input", "tb-name");
  name.type = "text";
  name.maxLength = 60;
  name.setAttribute("aria-label", say("class_name"));
  const remove = button("tb-button tb-remove", "✕", () => on.remove(id));
  head.append(dot, name, remove);
  const count = make("p", "tb-count");
  const ways = make("div", "tb-ways");
  const files = make("input", "tb-files");
  files.type = "file";
  files.multiple = true;
  files.accept = "image/*";
  files.hidden = true;
  const camera = button("tb-button tb-camera", say("camera"), () => on.camera(id));
  ways.append(button("tb-button tb-choose", say("choose_pictures"), () => files.click()), camera, files);
  const stage = make("div", "tb-stage");
  stage.hidden = true;
  const record = make("button", "tb-button tb-record", say("hold"));
  record.type = "button";
  stage.append(record, make("span", "tb-recorded"));
  const thumbs = make("ul", "tb-thumbs");
  card.append(head, count, ways, stage, thumbs, make("p", "tb-more"));

  name.addEventListener("change", () => on.rename(id, name.value));
  files.addEventListener("change", () => {
    on.files(id, [...files.files]);
    files.value = "";
  });
  holdable(record, () => on.record(id), on.release);
  droppable(card, (transfer) => on.dropped(id, transfer));
  return card;
}

function button(className, content, act) {
  const node = make("button", className, content);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
}

// Held by mouse, finger or key; letting go anywhere ends it.
function holdable(node, start, end) {
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    node.setPointerCapture(event.pointerId);
    node.focus();
    start();
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) node.addEventListener(kind, end);
  node.addEventListener("contextmenu", (event) => event.preventDefault());
  node.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (!event.repeat) start();
  });
  node.addEventListener("keyup", end);
}

function droppable(node, take) {
  node.addEventListener("dragover", (event) => {
    event.preventDefault();
    node.classList.add("tb-over");
  });
  node.addEventListener("dragleave", () => node.classList.remove("tb-over"));
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    node.classList.remove("tb-over");
    take(event.dataTransfer);
  });
}

function updateCard(card, facts, thumbnails, on) {
  const part = (name) => card.querySelector(`.tb-${name}`);
  card.dataset.count = facts.count;
  card.dataset.bursts = facts.bursts;
  part("dot").style.background = COLORS[facts.color % COLORS.length];
  if (document.activeElement !== part("name")) part("name").value = facts.name;
  part("remove").setAttribute("aria-label", say("remove_class", { name: facts.name }));
  part("remove").title = say("remove_class", { name: facts.name });
  const counted = sayCount("pictures", facts.count);
  part("count").textContent = facts.bursts ? `${counted} · ${sayCount("bursts", facts.bursts)}` : counted;
  const shown = facts.shown.map((number) => thumbnailOf(number, facts.id, thumbnails, on));
  part("thumbs").replaceChildren(...shown);
  const hidden = facts.count - facts.shown.length;
  part("more").textContent = hidden > 0 ? say("more", { n: hidden }) : "";
}

function thumbnailOf(number, id, thumbnails, on) {
  const item = make("li", "tb-thumb");
  const image = make("img");
  image.alt = "";
  image.width = image.height = 48;
  image.dataset.number = number;
  if (thumbnails.has(number)) image.src = thumbnails.get(number);
  const remove = button("tb-forget", "✕", () => on.forget(id, number));
  remove.setAttribute("aria-label", say("remove_picture"));
  item.append(image, remove);
  return item;
}
