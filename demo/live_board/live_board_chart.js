// One chart: axes, lines, the best epoch, a crosshair and zoom. It draws a model and knows nothing of runs:
//   { title, axis, unit, log, edge, floor, ceiling, summary, stops: [x, …], at: (x) => string,
//     best: { x, y, label } | null, series: [{ key, label, points: [[x, y], …], dots }] }
// `view` is shared by all charts of the board: { zoom: [x, x] | null, hover: x | null, changed(what) }.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 50, right: 14, top: 24, bottom: 42 };
const CHART_HEIGHT = 252;
const SHORTEST_DRAG = 8;

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

function makeChart(figure, view) {
  const clip = `lb-clip-${Math.random().toString(36).slice(2)}`;
  const caption = htmlNode("figcaption", "lb-caption");
  const [title, at] = [htmlNode("h4", "lb-chart-title"), htmlNode("span", "lb-at")];
  const [legend, plot] = [htmlNode("div", "lb-legend"), htmlNode("div", "lb-plot")];
  const svg = svgNode("svg", { class: "lb-svg", role: "img", tabindex: "0", height: CHART_HEIGHT });
  const clipBox = svgNode("rect", { x: MARGIN.left, y: MARGIN.top - 4 });
  const clipPath = svgNode("clipPath", { id: clip });
  const layers = ["grid", "lines", "marks", "cross"].map((name) => svgNode("g", { class: `lb-${name}` }));
  const [grid, lines, marks, cross] = layers;
  lines.setAttribute("clip-path", `url(#${clip})`);
  clipPath.append(clipBox);
  svg.append(clipPath, ...layers);
  caption.append(title, at);
  plot.append(svg);
  figure.replaceChildren(caption, legend, plot);

  let [model, scale] = [null, null];

  function draw(next) {
    if (next) model = next;
    const width = plot.clientWidth;
    if (!model || !width) return;
    scale = makeScale(model, view.zoom, width);
    svg.setAttribute("width", width);
    svg.setAttribute("aria-label", model.summary);
    clipBox.setAttribute("width", scale.width + 4);
    clipBox.setAttribute("height", scale.height + 8);
    title.textContent = model.title;
    grid.replaceChildren(...gridNodes(model, scale));
    lines.replaceChildren(...model.series.flatMap((one) => lineNodes(one, scale)));
    marks.replaceChildren(...bestNodes(model.best, scale));
    drawCross();
  }

  function drawCross() {
    if (!scale) return;
    const x = view.hover;
    const inside = x !== null && x >= scale.x.low && x <= scale.x.high;
    const found = model.series.map((one) => (inside ? nearest(one.points, x) : lastValue(one.points)));
    at.textContent = inside ? model.at(x) : "";
    legend.replaceChildren(...model.series.map((one, i) => legendNode(one, found[i], model.unit)));
    cross.replaceChildren(...(inside ? crossNodes(x, found, model, scale) : []));
  }

  listenTo(svg, view, () => model, () => scale, cross);
  new ResizeObserver(() => draw()).observe(plot);
  return { draw, drawCross };
}

function crossNodes(x, found, model, scale) {
  const [at, bottom] = [scale.px(x), MARGIN.top + scale.height];
  const nodes = [svgNode("line", { class: "lb-crosshair", x1: at, x2: at, y1: MARGIN.top, y2: bottom })];
  found.forEach((point, i) => {
    if (!point || !scale.shows(point)) return;
    const place = { cx: scale.px(point[0]), cy: scale.py(point[1]), r: 4 };
    nodes.push(svgNode("circle", { class: `lb-spot lb-${model.series[i].key}`, ...place }));
  });
  return nodes;
}

function lastValue(points) {
  for (let i = points.length - 1; i >= 0; i -= 1) if (points[i][1] !== null) return points[i];
  return null;
}

function makeScale(model, zoom, total) {
  const [width, height] = [total - MARGIN.left - MARGIN.right, CHART_HEIGHT - MARGIN.top - MARGIN.bottom];
  const [from, to] = zoom || [0, model.edge];
  const wanted = Math.min(10, width / 64);
  const x = { low: from, high: to, ticks: linearTicks(from, to, wanted), step: tickStep(to - from, wanted) };
  const y = verticalAxis(model, from, to, zoom !== null);
  const px = (v) => MARGIN.left + ((v - from) / (to - from)) * width;
  const py = (v) => MARGIN.top + (1 - y.at(v)) * height;
  const drawable = (v) => v !== null && (!model.log || v > 0);
  const shows = ([at, v]) => drawable(v) && at >= from && at <= to;
  const toX = (pixel) => from + ((pixel - MARGIN.left) / width) * (to - from);
  return { width, height, x, y, px, py, drawable, shows, toX };
}

function verticalAxis(model, from, to, tight) {
  const counts = ([x, y]) => y !== null && x >= from && x <= to && (!model.log || y > 0);
  const seen = model.series.flatMap((one) => one.points.filter(counts));
  let [low, high] = bounds(seen.map((point) => point[1])) || [model.log ? 0.1 : 0, model.ceiling ?? 1];
  if (model.log) return axisOf(low, high, true, 5);
  if (!tight && model.floor !== null && low < 0.6 * high) low = model.floor;
  const size = Math.max(1, Math.abs(high));
  if (high - low < 1e-9 * size) [low, high] = [low - 0.05 * size, high + 0.05 * size];
  if (model.floor !== null) low = Math.max(low, model.floor);
  if (model.ceiling !== null) high = Math.min(high, model.ceiling);
  return axisOf(low, high, false, 5);
}

function gridNodes(model, scale) {
  const bottom = MARGIN.top + scale.height;
  const right = MARGIN.left + scale.width;
  const yStep = scale.y.ticks.length > 1 ? scale.y.ticks[1] - scale.y.ticks[0] : 1;
  const nodes = [];
  for (const tick of scale.y.ticks) {
    const y = scale.py(tick);
    const label = showTick(tick, model.log ? tick : yStep) + model.unit;
    nodes.push(svgNode("line", { x1: MARGIN.left, x2: right, y1: y, y2: y }));
    nodes.push(svgNode("text", { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" }, label));
  }
  for (const tick of scale.x.ticks) {
    const x = scale.px(tick);
    nodes.push(svgNode("line", { class: "lb-tick", x1: x, x2: x, y1: bottom, y2: bottom + 4 }));
    nodes.push(svgNode("text", { x, y: bottom + 18, "text-anchor": "middle" }, showTick(tick, scale.x.step)));
  }
  nodes.push(svgNode("line", { class: "lb-base", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom }));
  nodes.push(svgNode("text", { class: "lb-axis", x: right, y: bottom + 35, "text-anchor": "end" }, model.axis));
  return nodes;
}

// The points on screen and one neighbour on each side, so that a line runs on to the edge.
function onScreen(points, { low, high }) {
  let from = points.findIndex(([x]) => x >= low);
  if (from < 0) from = points.length;
  let to = points.findLastIndex(([x]) => x <= high);
  return points.slice(Math.max(0, from - 1), to + 2);
}

function lineNodes(one, scale) {
  const points = thinned(onScreen(one.points, scale.x), 2 * scale.width);
  let [path, pen] = ["", "M"];
  const lonely = [];
  points.forEach(([x, y], i) => {
    if (!scale.drawable(y)) {
      pen = "M";
      return;
    }
    if (pen === "M" && !scale.drawable(points[i + 1]?.[1] ?? null)) lonely.push([x, y]);
    path += `${pen}${scale.px(x).toFixed(1)} ${scale.py(y).toFixed(1)}`;
    pen = "L";
  });
  const nodes = [svgNode("path", { class: `lb-line lb-${one.key}`, d: path })];
  const roomy = one.dots && points.length <= scale.width / 12;
  for (const [x, y] of roomy ? points.filter((point) => scale.drawable(point[1])) : lonely) {
    const place = { cx: scale.px(x), cy: scale.py(y), r: one.dots ? 3 : 1.5 };
    nodes.push(svgNode("circle", { class: `lb-dot lb-${one.key}`, ...place }));
  }
  return one.key === "step" ? [...nodes, ...lostNodes(points, scale)] : nodes;
}

// A loss that was not a number has no place on the axis: a cross at the top edge tells when it happened.
function lostNodes(points, scale) {
  const lost = points.filter(([x, y]) => y === null && x >= scale.x.low && x <= scale.x.high).slice(0, 30);
  const y = MARGIN.top + 4;
  return lost.map(([x]) => {
    const arms = `M${scale.px(x) - 4} ${y - 4}l8 8m0 -8l-8 8`;
    return svgNode("path", { class: "lb-lost", d: arms });
  });
}

function bestNodes(best, scale) {
  if (!best || best.x < scale.x.low || best.x > scale.x.high) return [];
  const x = scale.px(best.x);
  const share = (x - MARGIN.left) / scale.width;
  const anchor = share > 0.75 ? "end" : share < 0.25 ? "start" : "middle";
  const nodes = [
    svgNode("line", { class: "lb-best-line", x1: x, x2: x, y1: MARGIN.top - 6, y2: MARGIN.top + scale.height }),
    svgNode("text", { class: "lb-best-label", x, y: MARGIN.top - 10, "text-anchor": anchor }, best.label),
  ];
  if (scale.drawable(best.y)) nodes.push(svgNode("circle", { class: "lb-best-ring", cx: x, cy: scale.py(best.y), r: 6.5 }));
  return nodes;
}

function legendNode(one, point, unit) {
  const item = htmlNode("span", "lb-key");
  const sample = svgNode("svg", { class: "lb-sample", width: 22, height: 10, "aria-hidden": "true" });
  sample.append(svgNode("path", { class: `lb-line lb-${one.key}`, d: "M1 5H21" }));
  if (one.dots) sample.append(svgNode("circle", { class: `lb-dot lb-${one.key}`, cx: 11, cy: 5, r: 3 }));
  const value = point ? (unit ? point[1].toFixed(1) : showNumber(point[1])) + unit : "–";
  item.append(sample, htmlNode("span", "lb-key-name", one.label), htmlNode("span", "lb-key-value", value));
  return item;
}

// Pointer: move to read, drag across to zoom, double-click to see all. Keyboard: arrows read, Escape shows all.
function listenTo(svg, view, modelNow, scaleNow, cross) {
  let start = null;
  const pixel = (event) => {
    const { low, high } = scaleNow().x;
    const x = event.clientX - svg.getBoundingClientRect().left;
    return Math.min(Math.max(x, scaleNow().px(low)), scaleNow().px(high));
  };
  const hover = (x) => {
    view.hover = x;
    view.changed("hover");
  };
  const zoom = (range) => {
    view.zoom = range;
    view.changed("zoom");
  };

  svg.addEventListener("pointerdown", (event) => {
    if (!scaleNow() || event.button !== 0) return;
    start = pixel(event);
    svg.setPointerCapture(event.pointerId);
    hover(scaleNow().toX(start));
  });
  svg.addEventListener("pointermove", (event) => {
    if (!scaleNow()) return;
    const here = pixel(event);
    hover(scaleNow().toX(here));
    if (start === null || Math.abs(here - start) < SHORTEST_DRAG) return;
    const box = { x: Math.min(start, here), width: Math.abs(here - start), y: MARGIN.top, height: scaleNow().height };
    cross.append(svgNode("rect", { class: "lb-selection", ...box }));
  });
  svg.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const [from, here] = [start, pixel(event)];
    start = null;
    if (Math.abs(here - from) < SHORTEST_DRAG) return;
    zoom([scaleNow().toX(Math.min(from, here)), scaleNow().toX(Math.max(from, here))]);
  });
  svg.addEventListener("pointercancel", () => {
    start = null;
    hover(null);
  });
  svg.addEventListener("pointerleave", () => start === null && hover(null));
  svg.addEventListener("dblclick", () => zoom(null));
  svg.addEventListener("blur", () => hover(null));
  svg.addEventListener("keydown", (event) => {
    const stops = modelNow()?.stops || [];
    if (event.key === "Escape") {
      hover(null);
      zoom(null);
    } else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && stops.length) {
      event.preventDefault();
      const back = event.key === "ArrowLeft";
      const here = view.hover ?? (back ? Infinity : -Infinity);
      const onward = back ? stops.findLast((x) => x < here - 1e-9) : stops.find((x) => x > here + 1e-9);
      if (onward !== undefined) hover(onward);
    }
  });
}
