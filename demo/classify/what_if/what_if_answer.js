// Bars and sentence: what the network says of the edited picture beside what it said of the photo.
// Class names reach the page through textContent only.

const SHOWN = 5; // bars; the answer of the moment gets one more if it is none of them
const STILL = 0.005; // a change below this is none

function htmlNode(tag, name, content) {
  const node = document.createElement(tag);
  node.className = name;
  if (content !== undefined) node.textContent = content;
  return node;
}

function sharesOf(answer) {
  return new Map(answer.predictions.map(({ label, probability }) => [label, probability]));
}

function tenths(share) {
  return `${(100 * share).toFixed(1)}%`;
}

function makeBars(list, colors) {
  const rows = new Map();

  function addRow(label) {
    const row = htmlNode("li", "wi-row");
    const track = htmlNode("span", "bar-track");
    const [bar, mark, number] = [htmlNode("span", "bar"), htmlNode("span", "wi-mark"), htmlNode("span", "bar-number")];
    bar.style.background = colors[label] || "var(--wi-accent)";
    track.append(bar, mark);
    row.append(htmlNode("span", "bar-label", label), track, number);
    row.dataset.label = label;
    list.append(row);
    rows.set(label, { row, bar, mark, number });
  }

  return {
    show(before, now) {
      const first = now.keys().next().value;
      if (!rows.size) [...before.keys()].slice(0, SHOWN).forEach(addRow);
      if (!rows.has(first)) addRow(first);
      for (const [label, { row, bar, mark, number }] of rows) {
        const share = now.get(label) ?? 0;
        bar.style.width = tenths(Math.max(0.004, share));
        mark.style.left = tenths(Math.min(0.995, before.get(label) ?? 0));
        number.textContent = tenths(share < 1 ? Math.min(0.999, share) : share);
        row.classList.toggle("wi-row-first", label === first);
      }
    },
  };
}

function whatHappened(say, before, now, { unknown, edited }) {
  if (!edited) return say("start");
  const [label, share] = before.entries().next().value;
  const [other, most] = now.entries().next().value;
  const after = now.get(label) ?? 0;
  const blanks = { label, before: perCent(share), now: perCent(after) };
  const still = Math.abs(after - share) < STILL || blanks.before === blanks.now;
  const parts = [say(still ? "same" : after < share ? "fell" : "rose", blanks)];
  if (other !== label) parts.push(say("other", { label: other, now: perCent(most) }));
  if (unknown) parts.push(say("unknown"));
  return parts.join(" ");
}
