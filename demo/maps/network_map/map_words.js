// Words and numbers of the map. All of it ends in textContent.

const zh = [document.documentElement.lang, navigator.language].find((l) => l)?.toLowerCase().startsWith("zh");
const LANGUAGE = zh ? "zh" : "en";
const say = (key, filling = {}) =>
  (WORDS[LANGUAGE][key] ?? key).replace(/\{(\w+)\}/g, (_, part) => String(filling[part] ?? ""));
const counted = new Intl.NumberFormat(LANGUAGE);

function make(tag, className, content) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (content !== undefined) node.textContent = content;
  return node;
}

function shapeOf(shape) {
  return shape.length ? shape.join("×") : "–";
}

// 25557032 → "25.6 M"
function rounded(number) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (number >= size) return `${(number / size).toPrecision(3)} ${unit}`;
  }
  return String(number);
}

// One line about a box: name, kind, shape, parameters, MACs and their share of the whole.
function factsOf(box, total) {
  const share = total ? (100 * box.macs) / total : 0;
  const parts = [
    [box.name, box.kind && [box.kind, box.detail].filter(Boolean).join(" ")].filter(Boolean).join(" · "),
    shapeOf(box.output_shape),
    say("parameters", { n: counted.format(box.parameters) }),
    box.macs ? say("macs", { n: counted.format(box.macs), share: share.toFixed(share < 10 ? 1 : 0) }) : say("no_macs"),
  ];
  if (box.skip) parts.push(say(`skip.${box.skip}`));
  if (!box.output_shape.length) parts.push(say("unreached"));
  return parts.join(" · ");
}
