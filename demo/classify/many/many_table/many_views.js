// What is on the page for the rows: counts, confusion, the table's rows, one picture by itself. Text only as text.

const MOST_BARS = 12;

function setBar(fill, share, color) {
  fill.style.width = `${Math.max(share > 0 ? 1 : 0, 100 * share).toFixed(1)}%`;
  fill.style.background = color;
}

function barRow(label, share, color, number) {
  const [name, track, fill] = [make("span", "mt-bar-label", label), make("span", "mt-bar-track"), make("span", "mt-bar")];
  name.title = label;
  setBar(fill, share, color);
  track.append(fill);
  return [name, track, make("span", "mt-bar-number", number)];
}

// A bar a class, one for what is not known and one for what is broken; each shows its pictures when pressed.
function drawCounts(list, store, words, onPick) {
  const { tally, about, view } = store;
  let kinds = about.classes.map((label, index) => (
    { filter: `class:${index}`, label, color: about.colors[index], count: tally.counts[index] }
  ));
  if (kinds.length > MOST_BARS) kinds = kinds.filter((k) => k.count).sort((a, b) => b.count - a.count).slice(0, MOST_BARS);
  kinds.push({ filter: "unknown", label: words.say("unknown"), color: "#777777", count: tally.unknown });
  kinds.push({ filter: "broken", label: words.say("broken"), color: "var(--mt-bad)", count: tally.broken });
  const most = Math.max(1, ...kinds.map((kind) => kind.count));
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const before = new Map([...list.children].map((item) => [item.firstElementChild.dataset.filter, item]));
  kinds.forEach((kind, place) => {
    const item = before.get(kind.filter) || countItem(kind.filter, view, onPick);
    before.delete(kind.filter);
    fillCount(item.firstElementChild, kind, kind.count / most, view, words);
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] || null);
  });
  for (const item of before.values()) item.remove();
  if (focused && focused.isConnected && document.activeElement !== focused) focused.focus(); // it was moved
}

// The buttons stay the same from one drawing to the next: a new one would lose the click on its way, and the focus.
function countItem(filter, view, onPick) {
  const [item, button] = [make("li"), make("button", "mt-count")];
  button.type = "button";
  button.dataset.filter = filter;
  button.addEventListener("click", () => onPick(view.filter === filter ? "all" : filter));
  button.append(...barRow("", 0, "", ""));
  item.append(button);
  return item;
}

function fillCount(button, kind, share, view, words) {
  const [name, track, number] = button.children;
  setText(name, kind.label);
  name.title = kind.label;
  setText(number, words.count(kind.count));
  setBar(track.firstElementChild, share, kind.color);
  button.setAttribute("aria-pressed", String(view.filter === kind.filter));
}

function drawFilter(select, store, words) {
  const fixed = ["all", "unsure", "unknown", "broken", ...(store.tally?.judged ? ["wrong"] : [])];
  const kinds = [
    ...fixed.map((kind) => [kind, words.say(kind)]),
    ...store.about.classes.map((label, index) => [`class:${index}`, label]),
  ];
  const key = JSON.stringify(kinds);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    select.replaceChildren(...kinds.map(([filter, label]) => Object.assign(make("option", "", label), { value: filter })));
  }
  select.value = store.view.filter;
}

function drawConfusion(table, store, words) {
  const { confusion } = store.tally;
  const names = store.about.classes;
  const head = make("tr");
  head.append(make("th"), ...[...names, words.say("unknown")].map((name) => {
    const cell = make("th", "", name);
    cell.scope = "col";
    return cell;
  }));
  const body = confusion.map((row, truth) => {
    const line = make("tr");
    const title = make("th", "", names[truth]);
    title.scope = "row";
    const all = Math.max(1, row.reduce((sum, n) => sum + n, 0));
    line.append(title, ...row.map((count, answer) => {
      const cell = make("td", answer === truth ? "mt-agrees" : "", count ? words.count(count) : "·");
      cell.style.setProperty("--share", `${Math.round((60 * count) / all)}%`);
      return cell;
    }));
    return line;
  });
  table.replaceChildren(head, ...body);
}

function pictureSource(row) {
  return row.thumb ? `data:image/jpeg;base64,${row.thumb}` : "";
}

function remarksOf(row, store, words) {
  const said = [];
  if (row.reason) said.push(row.reason);
  if (store.kindOf(row) === "unknown") said.push(words.say("nearest", { label: store.labelAt(row, 0) }));
  if (store.isWrong(row)) said.push(words.say("folder_says", { label: store.about.classes[row.truth] }));
  return said.concat(row.notes || []).join(" · ");
}

function answerOf(row, store, words) {
  const kind = store.kindOf(row);
  return kind === "known" ? store.labelAt(row, 0) : words.say(kind);
}

function tableRow(row, store, words, onOpen) {
  const line = make("tr", `mt-row mt-${store.kindOf(row)}`);
  line.dataset.n = row.n;
  const open = make("button", "mt-thumb");
  open.type = "button";
  open.setAttribute("aria-label", words.say("enlarge", { name: row.name }));
  if (row.thumb) {
    const picture = make("img");
    picture.alt = "";
    picture.src = pictureSource(row);
    open.append(picture);
  } else open.append(make("span", "mt-no-thumb", "×"));
  const remark = remarksOf(row, store, words);
  const file = make("td", "mt-col-file");
  file.append(make("span", "mt-name", row.name), make("span", "mt-under mt-quiet", remark));
  file.title = row.name;
  const answer = make("td", "mt-col-answer");
  if (store.kindOf(row) === "known") {
    const dot = make("span", "mt-dot");
    dot.style.background = store.about.colors[row.ranked[0][0]];
    answer.append(dot);
  }
  answer.append(make("span", "mt-answer", answerOf(row, store, words)));
  const second = row.ranked[1] ? `${store.labelAt(row, 1)} ${words.share(row.ranked[1][1])}` : "";
  const picture = make("td", "mt-col-picture");
  picture.append(open);
  line.append(
    picture, file, answer,
    make("td", "mt-col-probability", row.ranked[0] ? words.share(row.ranked[0][1]) : "–"),
    make("td", "mt-col-second", second), make("td", "mt-col-remark", remark),
  );
  line.addEventListener("click", () => onOpen(row));
  return line;
}

function fillLarge(find, row, store, words) {
  setText(find("large-name"), row.name);
  setText(find("large-answer"), answerOf(row, store, words));
  setText(find("large-remark"), remarksOf(row, store, words));
  find("bars").replaceChildren(...row.ranked.map(([index, share]) => {
    const item = make("li");
    item.append(...barRow(store.about.classes[index], share, store.about.colors[index], words.share(share)));
    return item;
  }));
}
