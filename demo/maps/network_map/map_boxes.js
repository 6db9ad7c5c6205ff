// The boxes: what an outline looks like. Heights follow the edge of the maps, widths the number of channels.

const SHOWN_AT_MOST = 8; // blocks of a stage drawn one by one; more are drawn as one box and how many it stands for
const THIN = new Set(["BatchNorm2d", "ReLU", "Identity", "Flatten"]);

function sizeOf(shape, largestEdge) {
  const edge = shape.length > 1 ? Math.max(shape[1], shape[2] ?? 1) : 1;
  const tall = Math.log2(1 + edge) / Math.log2(1 + largestEdge);
  const wide = 8 + 3 * Math.log2(Math.max(2, shape[0] || 2));
  return [wide, 20 + 44 * tall];
}

function makeBox(box, { largestEdge, onPick, onPoint, thin }) {
  const cell = make("span", "nm-cell");
  const button = make("button", "nm-box");
  const [wide, tall] = sizeOf(box.output_shape, largestEdge);
  button.type = "button";
  button.style.setProperty("--nm-width", `${thin ? 14 : wide + (box.repeat > 1 ? 22 : 0)}px`);
  button.style.setProperty("--nm-height", `${tall}px`);
  button.classList.toggle("nm-unreached", !box.output_shape.length);
  button.classList.toggle("nm-warned", Boolean(box.warning));
  button.setAttribute("aria-label", onPoint.words(box));
  button.title = onPoint.words(box);
  button.addEventListener("click", () => onPick(box));
  for (const kind of ["pointerenter", "focus"]) button.addEventListener(kind, () => onPoint(box));
  for (const kind of ["pointerleave", "blur"]) button.addEventListener(kind, () => onPoint(null));
  if (box.skip && box.skip !== "none") {
    const arc = make("span", "nm-skip");
    arc.dataset.skip = box.skip;
    cell.append(arc);
  }
  if (box.repeat > 1) button.append(make("span", "nm-many", `× ${box.repeat}`));
  cell.append(button);
  return { cell, button, box };
}

// Blocks one by one where they are few; else the runs of equal ones as the server has told them.
function boxesOf(stage) {
  const all = stage.blocks.reduce((sum, block) => sum + block.repeat, 0);
  return stage.blocks.flatMap((block) => {
    const first = Number(block.name.split(".")[1]);
    const told = { ...block, stage: stage.name, first, block: true };
    if (all > SHOWN_AT_MOST || block.repeat === 1) return [told];
    return Array.from({ length: block.repeat }, (_, step) => ({
      ...told, first: first + step, repeat: 1, name: `${stage.name}.${first + step}`,
    }));
  });
}

function makeGroup(name, shape, cells, onStage) {
  const [group, row, label] = [make("div", "nm-group"), make("div", "nm-row"), make("div", "nm-label")];
  const head = make(onStage ? "button" : "span", "nm-name", name);
  if (onStage) {
    head.type = "button";
    head.addEventListener("click", onStage);
  }
  row.append(...cells);
  label.append(head, make("span", "nm-shape", shapeOf(shape)));
  group.append(row, label);
  return { group, head };
}

// Draws it all into `flow`; what comes back finds the button of a layer or block.
function drawMap(flow, outline, handlers) {
  const groups = [outline.stem, ...outline.stages, outline.head];
  const largestEdge = Math.max(...outline.image_size, ...groups.map((each) => each.output_shape[1] ?? 1));
  const boxes = [];
  const put = (box, thin) => {
    boxes.push(makeBox(box, { ...handlers, largestEdge, thin }));
    return boxes[boxes.length - 1].cell;
  };
  const plain = (name, part) =>
    part.parts.length
      ? [makeGroup(say(name), part.output_shape, part.parts.map((each) => put(each, THIN.has(each.kind)))).group]
      : [];
  const stages = outline.stages.map((stage) => ({
    name: stage.name,
    box: stage,
    ...makeGroup(stage.name, stage.output_shape, boxesOf(stage).map((box) => put(box)), () => handlers.onPick(stage)),
  }));
  for (const { head, box } of stages) {
    for (const kind of ["pointerenter", "focus"]) head.addEventListener(kind, () => handlers.onPoint(box));
    for (const kind of ["pointerleave", "blur"]) head.addEventListener(kind, () => handlers.onPoint(null));
  }
  flow.replaceChildren(
    ...plain("stem", outline.stem), ...stages.map(({ group }) => group), ...plain("head", outline.head),
  );
  return { boxes, stages };
}

// The block "layer1.57" that a layer's name lies in, or "".
function blockIn(name) {
  return /^[^.]+\.\d+/.exec(name || "")?.[0] ?? "";
}

function standsFor(box, name) {
  if (!box.block) return box.name === name;
  const [stage, index] = name.split(".");
  return stage === box.stage && Number(index) >= box.first && Number(index) < box.first + box.repeat;
}
