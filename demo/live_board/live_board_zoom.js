// Reading and zooming. Pointer or finger: move to read, drag across to zoom, double-click or double-tap to see all.
// Keyboard: arrows read, + and − zoom about what is read, Shift and arrows move the window, Escape or 0 show all.

const SHORTEST_DRAG = 8;
const CLOSER = 0.5; // one press of + shows half as much
const NARROWEST = 1e-4; // share of the whole axis; nothing zooms in further
const DOUBLE_TAP = 350;

// `speak` tells a reading that was asked for by key, or null for none.
function listenTo(svg, view, modelNow, scaleNow, cross, speak) {
  let [start, tapped] = [null, -Infinity];
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
    const { size, height } = scaleNow();
    const box = { x: Math.min(start, here), width: Math.abs(here - start), y: size.top, height };
    cross.append(svgNode("rect", { class: "lb-selection", ...box }));
  });
  svg.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const [from, here] = [start, pixel(event)];
    start = null;
    if (Math.abs(here - from) >= SHORTEST_DRAG) {
      tapped = -Infinity;
      const range = [scaleNow().toX(Math.min(from, here)), scaleNow().toX(Math.max(from, here))];
      if (isWide(range, modelNow())) zoom(range);
      else view.changed("hover"); // the frame that was drawn goes
    } else if (event.pointerType === "touch") {
      if (event.timeStamp - tapped < DOUBLE_TAP) zoom(null);
      tapped = event.timeStamp;
    }
  });
  svg.addEventListener("pointercancel", () => {
    start = null;
    hover(null);
  });
  svg.addEventListener("pointerleave", (event) => {
    if (start === null && event.pointerType !== "touch") hover(null); // a finger leaves its reading behind
  });
  svg.addEventListener("dblclick", () => zoom(null));
  svg.addEventListener("blur", () => {
    hover(null);
    speak(null);
  });
  const read = (x) => {
    hover(x);
    speak(x);
  };
  svg.addEventListener("keydown", (event) => onKey(event, view, modelNow(), read, zoom));
}

function onKey(event, view, model, read, zoom) {
  if (!model || event.ctrlKey || event.metaKey || event.altKey) return;
  const back = event.key === "ArrowLeft";
  if (event.key === "Escape" || event.key === "0") {
    read(null);
    zoom(null);
  } else if (event.key === "+" || event.key === "=") zoom(closer(view, model, CLOSER));
  else if (event.key === "-" || event.key === "−") zoom(closer(view, model, 1 / CLOSER));
  else if ((back || event.key === "ArrowRight") && event.shiftKey) zoom(moved(view, model, back ? -0.25 : 0.25));
  else if ((back || event.key === "ArrowRight") && model.stops.length) {
    const here = view.hover ?? (back ? Infinity : -Infinity);
    const inside = model.stops.filter((x) => !view.zoom || (x >= view.zoom[0] && x <= view.zoom[1]));
    const onward = back ? inside.findLast((x) => x < here - 1e-9) : inside.find((x) => x > here + 1e-9);
    if (onward !== undefined) read(onward);
  } else return;
  event.preventDefault();
}

// The window `factor` times as wide about the place that is read, or about its middle; all of it is no window.
function closer(view, model, factor) {
  const [first, last] = [model.start || 0, model.edge];
  const [low, high] = view.zoom || [first, last];
  const inside = view.hover !== null && view.hover >= low && view.hover <= high;
  const at = inside ? view.hover : (low + high) / 2;
  const range = [Math.max(first, at - (at - low) * factor), Math.min(last, at + (high - at) * factor)];
  if (!isWide(range, model)) return view.zoom;
  return range[0] <= first && range[1] >= last ? null : range;
}

function isWide([low, high], model) {
  return high - low >= NARROWEST * (model.edge - (model.start || 0));
}

function moved(view, model, share) {
  if (!view.zoom) return null;
  const [low, high] = view.zoom;
  const wanted = (high - low) * share;
  const way = Math.max((model.start || 0) - low, Math.min(Math.max(0, model.edge - high), wanted));
  return [low + way, high + way];
}
