// The parts of a chart as SVG: grid, lines, the best epoch, the crosshair's spots, the legend.

function gridNodes(model, scale) {
  const { left, top, height } = scale.size;
  const bottom = top + scale.height;
  const right = left + scale.width;
  const yStep = scale.y.ticks.length > 1 ? scale.y.ticks[1] - scale.y.ticks[0] : 1;
  const nodes = [];
  for (const tick of scale.y.ticks) {
    const y = scale.py(tick);
    const label = showTick(tick, model.log ? tick : yStep) + model.unit;
    nodes.push(svgNode("line", { x1: left, x2: right, y1: y, y2: y }));
    nodes.push(svgNode("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, label));
  }
  for (const tick of scale.x.ticks) {
    const x = scale.px(tick);
    nodes.push(svgNode("line", { class: "lb-tick", x1: x, x2: x, y1: bottom, y2: bottom + 4 }));
    nodes.push(svgNode("text", { x, y: bottom + 18, "text-anchor": "middle" }, showTick(tick, scale.x.step)));
  }
  nodes.push(svgNode("line", { class: "lb-base", x1: left, x2: right, y1: bottom, y2: bottom }));
  if (height - bottom > 33) {
    const place = { class: "lb-axis-name", x: right, y: bottom + 33, "text-anchor": "end" };
    nodes.push(svgNode("text", place, model.axis));
  }
  return nodes;
}

// The points on screen and one neighbour on each side, so that a line runs on to the edge.
function onScreen(points, { low, high }) {
  let from = points.findIndex(([x]) => x >= low);
  if (from < 0) from = points.length;
  const to = points.findLastIndex(([x]) => x <= high);
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
  const nodes = [svgNode("path", { class: classesOf("line", one), d: path })];
  const roomy = one.dots && points.length <= scale.width / 12;
  for (const [x, y] of roomy ? points.filter((point) => scale.drawable(point[1])) : lonely) {
    const place = { cx: scale.px(x), cy: scale.py(y), r: one.dots ? 3 : 1.5 };
    nodes.push(svgNode("circle", { class: classesOf("dot", one), ...place }));
  }
  return one.key === "step" ? [...nodes, ...lostNodes(points, scale)] : nodes;
}

// A loss that was not a number has no place on the axis: a cross at the top edge tells when it happened.
function lostNodes(points, scale) {
  const lost = points.filter(([x, y]) => y === null && x >= scale.x.low && x <= scale.x.high).slice(0, 30);
  const y = scale.size.top + 4;
  return lost.map(([x]) => {
    const arms = `M${scale.px(x) - 4} ${y - 4}l8 8m0 -8l-8 8`;
    return svgNode("path", { class: "lb-lost", d: arms });
  });
}

function bestNodes(best, scale) {
  if (!best || best.x < scale.x.low || best.x > scale.x.high) return [];
  const { left, top } = scale.size;
  const x = scale.px(best.x);
  const share = (x - left) / scale.width;
  const anchor = share > 0.75 ? "end" : share < 0.25 ? "start" : "middle";
  const nodes = [
    svgNode("line", { class: "lb-best-line", x1: x, x2: x, y1: top - 6, y2: top + scale.height }),
    svgNode("text", { class: "lb-best-label", x, y: top - 10, "text-anchor": anchor }, best.label),
  ];
  if (scale.drawable(best.y)) nodes.push(svgNode("circle", { class: "lb-best-ring", cx: x, cy: scale.py(best.y), r: 6.5 }));
  return nodes;
}

function crossNodes(x, found, model, scale) {
  const [at, top] = [scale.px(x), scale.size.top];
  const nodes = [svgNode("line", { class: "lb-crosshair", x1: at, x2: at, y1: top, y2: top + scale.height })];
  found.forEach((point, i) => {
    if (!point || !model.series[i].label || !scale.shows(point)) return;
    const place = { cx: scale.px(point[0]), cy: scale.py(point[1]), r: 4 };
    nodes.push(svgNode("circle", { class: classesOf("spot", model.series[i]), ...place }));
  });
  return nodes;
}

// A short piece of the line, as it stands in legends and tables.
function sampleNode(one) {
  const sample = svgNode("svg", { class: "lb-sample", width: 22, height: 10, "aria-hidden": "true" });
  sample.append(svgNode("path", { class: classesOf("line", one), d: "M1 5H21" }));
  if (one.dots) sample.append(svgNode("circle", { class: classesOf("dot", one), cx: 11, cy: 5, r: 3 }));
  return sample;
}

function legendNode(one, point, show) {
  const item = htmlNode("span", "lb-key");
  const name = htmlNode("span", "lb-key-name", one.label);
  name.title = one.label;
  item.append(sampleNode(one), name, htmlNode("span", "lb-key-value", point ? show(point[1]) : "–"));
  return item;
}
