// The strip below a chart: what happened, as marks on the chart's own axis; hover, touch or arrow keys tell each.
// The shape tells the kind where colour does not. The further back in KINDS, the more it matters where marks meet.

const KINDS = ["last", "best", "resume", "pause", "end", "start", "again", "change", "fork", "interrupted"];
// paths in a box from −5 to 5
const GLYPHS = {
  start: "M-3.5 -4.5L4.5 0L-3.5 4.5Z", again: "M-3.5 -4.5L4.5 0L-3.5 4.5Z", resume: "M-3.5 -4.5L4.5 0L-3.5 4.5Z",
  pause: "M-2.5 -4V4M2.5 -4V4", change: "M0 -5L5 0L0 5L-5 0Z", best: "M0 -2.2L2.2 0L0 2.2L-2.2 0Z",
  last: "M-4 -4H4V4H-4Z", end: "M-3.5 -3.5H3.5V3.5H-3.5Z", interrupted: "M-4 -4L4 4M4 -4L-4 4",
  fork: "M-3 5V-5M-3 3C-3 -1 3 1 3 -5",
};
const MEETING = 9; // px within which marks become one
const REACH = 14; // px within which a pointer finds a mark
const MOST_TOLD = 5;

function makeTimeline(figure, view) {
  const strip = htmlNode("div", "lb-strip");
  const svg = svgNode("svg", { class: "lb-strip-svg", height: 16, "aria-hidden": "true" });
  const tip = htmlNode("div", "lb-tip");
  strip.tabIndex = 0;
  strip.setAttribute("role", "group");
  tip.setAttribute("role", "status");
  tip.hidden = true;
  strip.append(svg);
  figure.append(strip, tip);
  let [groups, width, told] = [[], 0, null];

  function draw(marks, scale, total) {
    width = total;
    const shown = marks.filter((mark) => mark.x >= scale.x.low && mark.x <= scale.x.high);
    groups = meeting(shown.map((mark) => ({ ...mark, px: scale.px(mark.x) })).sort((a, b) => a.px - b.px));
    strip.hidden = groups.length === 0;
    svg.setAttribute("width", width);
    svg.replaceChildren(...groups.map(glyphNode));
    strip.setAttribute("aria-label", view.words?.().say("timeline") ?? "");
    const again = told && groups.find((group) => group.marks.some((mark) => mark.text === told));
    if (again) tell(again);
    else hide();
  }

  function tell(group) {
    told = group.marks[0].text;
    const more = group.marks.length - MOST_TOLD;
    const lines = group.marks.slice(0, MOST_TOLD).map((mark) => htmlNode("div", "lb-tip-line", mark.text));
    if (more > 0) lines.push(htmlNode("div", "lb-tip-line", view.words().say("more_marks", { n: more })));
    tip.replaceChildren(...lines);
    tip.hidden = false;
    const left = strip.offsetLeft + group.px - tip.offsetWidth / 2;
    tip.style.left = `${Math.max(2, Math.min(left, figure.clientWidth - tip.offsetWidth - 2))}px`;
    tip.style.top = `${strip.offsetTop - tip.offsetHeight - 4}px`;
    svg.childNodes.forEach((node, i) => node.classList.toggle("lb-told", groups[i] === group));
  }

  function hide() {
    told = null;
    tip.hidden = true;
    svg.childNodes.forEach((node) => node.classList.remove("lb-told"));
  }

  function atPointer(event) {
    const x = event.clientX - svg.getBoundingClientRect().left;
    const close = groups.filter((group) => Math.abs(group.px - x) <= REACH);
    const found = close.sort((a, b) => Math.abs(a.px - x) - Math.abs(b.px - x))[0];
    if (found) tell(found);
    else hide();
  }

  strip.addEventListener("pointermove", atPointer);
  strip.addEventListener("pointerdown", atPointer);
  strip.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && hide());
  strip.addEventListener("focus", () => groups.length && !told && tell(groups[groups.length - 1]));
  strip.addEventListener("blur", hide);
  strip.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") hide();
    if (!step || !groups.length) return;
    event.preventDefault();
    const here = groups.findIndex((group) => group.marks[0].text === told);
    tell(groups[here < 0 ? groups.length - 1 : Math.min(groups.length - 1, Math.max(0, here + step))]);
  });
  return { draw };
}

// Marks that would cover each other become one; what matters most gives it its shape.
function meeting(marks) {
  const groups = [];
  for (const mark of marks) {
    const last = groups[groups.length - 1];
    if (last && mark.px - last.px < MEETING) last.marks.push(mark);
    else groups.push({ px: mark.px, marks: [mark] });
  }
  for (const group of groups) {
    const rank = (mark) => KINDS.indexOf(mark.kind);
    group.kind = group.marks.reduce((most, mark) => (rank(mark) > rank(most) ? mark : most)).kind;
  }
  return groups;
}

function glyphNode(group) {
  const node = svgNode("g", { class: `lb-mark lb-mark-${group.kind}`, transform: `translate(${group.px.toFixed(1)} 8)` });
  node.append(svgNode("path", { d: GLYPHS[group.kind] }));
  return node;
}

// The marks of a run as words, placed by `axis`; `forks` are runs on screen that grew out of it: [{ name, epoch }].
function timelineMarks(store, axis, words, forks) {
  const from = store.about?.forked_from;
  const begun = (mark, i) => i === 0 && from && mark[0] === "again"; // how a fork starts
  const told = store.marks.filter((mark, i) => !begun(mark, i)).flatMap((mark) => spoken(mark, store, words));
  const marks = told.map(({ kind, step, text }) => ({ kind, text, x: axis.ofStep(step) }));
  if (from) marks.unshift({ kind: "fork", x: axis.of(from[1]), text: words.say("mark.forked", { run: from[0], epoch: from[1] }) });
  for (const fork of forks) {
    marks.push({ kind: "fork", x: axis.of(fork.epoch), text: words.say("mark.fork", { run: fork.name, epoch: fork.epoch }) });
  }
  if (store.status === "interrupted") {
    marks.push({ kind: "interrupted", x: axis.of(store.position()), text: words.say("mark.interrupted", { step: store.step() }) });
  }
  return marks;
}

function spoken([kind, step, time, first, second, counted], store, words) {
  const say = (key, filling) => [showClock(time), words.say(key, filling)].filter(Boolean).join(" ");
  const one = (text) => [{ kind, step, text }];
  if (kind === "again") {
    const n = counted ?? first - step;
    const lost = { kind: "interrupted", step: first, text: say(n > 0 ? "mark.lost" : "mark.lost_none", { step, n }) };
    const taken = { kind, step, text: say("mark.again", { step }) };
    return first && !second ? [lost, taken] : [taken];
  }
  if (kind === "change") return one(say("mark.change", { epoch: first, settings: second }));
  if (kind === "best" || kind === "last") return one(say(`mark.${kind}`, { epoch: first }));
  if (kind === "end") return one(say(`mark.${["finished", "stopped", "failed"].includes(first) ? first : "stopped"}`, { reason: second }));
  return one(say(`mark.${kind}`, { step }));
}
