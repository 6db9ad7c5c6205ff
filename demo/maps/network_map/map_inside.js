// What a block is made of, as buttons in the order of the arithmetic: branch, plus skip, ReLU.

function inOrder(parts) {
  const skip = parts.filter((part) => part.name.startsWith("downsample"));
  const branch = parts.filter((part) => !part.name.startsWith("downsample"));
  const last = branch.length && branch[branch.length - 1].kind === "ReLU" ? [branch.pop()] : [];
  return { branch, skip, last };
}

function partButton(part, name, { chosen, onPick, onPoint }) {
  const button = make("button", "nm-part", part.name);
  button.type = "button";
  if (part.detail) button.append(" ", make("small", "", part.detail));
  if (name === chosen) button.setAttribute("aria-current", "true");
  const told = { ...part, name };
  button.addEventListener("click", () => onPick(told));
  for (const kind of ["pointerenter", "focus"]) button.addEventListener(kind, () => onPoint(told));
  for (const kind of ["pointerleave", "blur"]) button.addEventListener(kind, () => onPoint(null));
  return button;
}

function whichOfThem(box, name, onPick) {
  const label = make("label", "nm-setting", say("which", { first: box.first, last: box.first + box.repeat - 1 }));
  const field = make("input", "nm-which");
  Object.assign(field, { type: "number", min: box.first, max: box.first + box.repeat - 1, value: name.split(".")[1] });
  field.addEventListener("change", () => {
    const index = Math.min(box.first + box.repeat - 1, Math.max(box.first, Math.round(Number(field.value) || 0)));
    onPick({ ...box, repeat: 1, first: index, name: `${box.stage}.${index}` });
  });
  label.append(field);
  return label;
}

function showInside(place, box, name, handlers) {
  place.hidden = !box;
  if (!box) return place.replaceChildren();
  const { branch, skip, last } = inOrder(box.parts);
  const buttons = (parts) => parts.map((part) => partButton(part, `${name}.${part.name}`, handlers));
  const sum = box.skip === "none" ? [] : [make("span", "nm-plus", skip.length ? "+" : `+ ${say("x")}`)];
  const nodes = [...buttons(branch), ...sum, ...buttons(skip), ...buttons(last)];
  const choosing = document.activeElement?.classList.contains("nm-which");
  if (box.repeat > 1) nodes.unshift(whichOfThem(box, name, handlers.onPick));
  place.replaceChildren(...nodes);
  if (choosing) place.querySelector(".nm-which")?.focus();
}
