// One chart: axes, lines, the best epoch, a crosshair, marks on its time axis. It draws a model, knowing nothing of runs:
//   { title, axis, unit, log, edge, floor, ceiling, summary, stops: [x, …], at: (x) => string, show: (y) => string,
//     best: { x, y, label } | null, marks: [{ x, kind, text }] | null,
//     series: [{ key, label, points: [[x, y], …], dots, reach }] }   key: its classes; without a label: not in the legend
// `view` is shared by all charts of the board: { zoom: [x, x] | null, hover: x | null, changed(what) }.

const SVG = "http://www.w3.org/2000/svg";
const LARGE = { height: 240, left: 50, right: 14, top: 24, bottom: 38, ticks: 5 };
const SMALL = { height: 116, left: 44, right: 10, top: 8, bottom: 22, ticks: 3 };

function svgNode(name, attributes = {}, content) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (content !== undefined) node.textContent = content;
  return node;
}

function htmlNode(name, className, content) {
  const node = document.createElement(name);
  node.className = className;
  if (content !== undefined) node.textContent = content;
  return node;
}

function classesOf(kind, one) {
  return [`lb-${kind}`, ...one.key.split(" ").map((key) => `lb-${key}`)].join(" ");
}

function makeChart(figure, view, size = LARGE) {
  const clip = `lb-clip-${Math.random().toString(36).slice(2)}`;
  const caption = htmlNode("figcaption", "lb-caption");
  const [title, at, tools] = [htmlNode("h4", "lb-chart-title"), htmlNode("span", "lb-at"), htmlNode("span", "lb-tools")];
  const [legend, plot] = [htmlNode("div", "lb-legend"), htmlNode("div", "lb-plot")];
  const svg = svgNode("svg", { class: "lb-svg", role: "img", tabindex: "0", height: size.height });
  const clipBox = svgNode("rect", { x: size.left, y: size.top - 4 });
  const clipPath = svgNode("clipPath", { id: clip });
  const layers = ["grid", "lines", "marks", "cross"].map((name) => svgNode("g", { class: `lb-${name}` }));
  const [grid, lines, marks, cross] = layers;
  lines.setAttribute("clip-path", `url(#${clip})`);
  clipPath.append(clipBox);
  svg.append(clipPath, ...layers);
  caption.append(title, at, tools);
  plot.append(svg);
  const spoken = htmlNode("p", "lb-spoken"); // for screen readers, which cannot see the crosshair
  spoken.setAttribute("role", "status");
  figure.replaceChildren(caption, legend, plot, spoken);
  const timeline = size === LARGE ? makeTimeline(figure, view) : null;

  let [model, scale] = [null, null];

  function draw(next) {
    if (next) model = next;
    const width = plot.clientWidth;
    if (!model || !width) return;
    scale = makeScale(model, view.zoom, width, size);
    svg.setAttribute("width", width);
    svg.setAttribute("aria-label", model.summary);
    clipBox.setAttribute("width", scale.width + 4);
    clipBox.setAttribute("height", scale.height + 8);
    title.textContent = model.title;
    grid.replaceChildren(...gridNodes(model, scale));
    lines.replaceChildren(...model.series.flatMap((one) => lineNodes(one, scale)));
    marks.replaceChildren(...bestNodes(model.best, scale));
    if (timeline) timeline.draw(model.marks || [], scale, width);
    drawCross();
  }

  const isInside = (x) => x !== null && x >= scale.x.low && x <= scale.x.high;

  function speak(x) {
    const values = scale && isInside(x) ? model.series.filter((one) => one.label).map((one) => [one, within(one, x)]) : [];
    const told = values.filter(([, point]) => point).map(([one, point]) => `${one.label} ${model.show(point[1])}`);
    spoken.textContent = values.length ? [model.at(x), ...told].join(", ") : "";
  }

  function drawCross() {
    if (!scale) return;
    const x = view.hover;
    const inside = isInside(x);
    const found = model.series.map((one) => (inside ? within(one, x) : lastValue(one.points)));
    at.textContent = inside ? model.at(x) : "";
    const told = model.series.map((one, i) => [one, found[i]]).filter(([one]) => one.label);
    legend.replaceChildren(...told.map(([one, point]) => legendNode(one, point, model.show)));
    cross.replaceChildren(...(inside ? crossNodes(x, found, model, scale) : []));
  }

  listenTo(svg, view, () => model, () => scale, cross, speak);
  new ResizeObserver(() => draw()).observe(plot);
  return { draw, drawCross, tools };
}

// The nearest point, unless the line does not reach there: a run of three epochs has no value at the ninth.
function within(one, x) {
  const point = nearest(one.points, x);
  return point && one.reach !== undefined && Math.abs(point[0] - x) > one.reach ? null : point;
}

function lastValue(points) {
  for (let i = points.length - 1; i >= 0; i -= 1) if (points[i][1] !== null) return points[i];
  return null;
}

function makeScale(model, zoom, total, size) {
  const [width, height] = [total - size.left - size.right, size.height - size.top - size.bottom];
  const [from, to] = zoom || [model.start || 0, model.edge];
  const wanted = Math.min(10, width / 64);
  const x = { low: from, high: to, ticks: linearTicks(from, to, wanted), step: tickStep(to - from, wanted) };
  const y = verticalAxis(model, from, to, zoom !== null, size.ticks);
  const px = (v) => size.left + ((v - from) / (to - from)) * width;
  const py = (v) => size.top + (1 - y.at(v)) * height;
  const drawable = (v) => v !== null && (!model.log || v > 0);
  const shows = ([at, v]) => drawable(v) && at >= from && at <= to;
  const toX = (pixel) => from + ((pixel - size.left) / width) * (to - from);
  return { width, height, size, x, y, px, py, drawable, shows, toX };
}

function verticalAxis(model, from, to, tight, wanted) {
  const counts = ([x, y]) => y !== null && x >= from && x <= to && (!model.log || y > 0);
  const seen = model.series.flatMap((one) => one.points.filter(counts));
  const found = bounds(seen.map((point) => point[1]));
  let [low, high] = found || [model.log ? 0.1 : 0, model.ceiling ?? 1];
  const empty = found ? {} : { ticks: [] }; // no values, no numbers: an axis that measures nothing would invent some
  if (model.log) return { ...axisOf(low, high, true, wanted), ...empty };
  if (!tight && model.floor !== null && low < 0.6 * high) low = model.floor;
  const size = Math.abs(high) || 1;
  if (high - low < 1e-9 * size) [low, high] = [low - 0.05 * size, high + 0.05 * size];
  if (model.floor !== null) low = Math.max(low, model.floor);
  if (model.ceiling !== null) high = Math.min(high, model.ceiling);
  return { ...axisOf(low, high, false, wanted), ...empty };
}
