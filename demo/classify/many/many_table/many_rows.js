// The rows that have come, and which of them are shown in which order.

const PAGE_ROWS = 50;

function makeRows() {
  const store = { about: { classes: [], colors: [], threshold: null }, rows: [], tally: null };
  const collator = new Intl.Collator(undefined, { numeric: true });
  const view = { filter: "all", key: "", down: false, page: 0 };

  const broken = (row) => row.ranked.length === 0;
  const kindOf = (row) => (broken(row) ? "broken" : row.unknown ? "unknown" : "known");
  const isWrong = (row) => row.truth !== null && !broken(row) && (row.unknown || row.ranked[0][0] !== row.truth);

  function fits(row) {
    if (view.filter === "all") return true;
    if (view.filter === "unsure") return kindOf(row) === "known" && row.ranked[0][1] < LIMITS.unsureBelow;
    if (view.filter === "wrong") return isWrong(row);
    if (view.filter.startsWith("class:")) return kindOf(row) === "known" && `class:${row.ranked[0][0]}` === view.filter;
    return kindOf(row) === view.filter;
  }

  const labelAt = (row, place) => (row.ranked[place] ? store.about.classes[row.ranked[place][0]] : "");
  const NUMBERED = ["probability", "second"];
  const RANK = { known: 0, unknown: 1, broken: 2 };
  const COMPARE = {
    file: (a, b) => collator.compare(a.name, b.name),
    answer: (a, b) => RANK[kindOf(a)] - RANK[kindOf(b)] || collator.compare(labelAt(a, 0), labelAt(b, 0)),
    probability: (a, b) => (a.ranked[0] ? a.ranked[0][1] : -1) - (b.ranked[0] ? b.ranked[0][1] : -1),
    second: (a, b) => collator.compare(labelAt(a, 1), labelAt(b, 1)),
    remark: (a, b) => RANK[kindOf(a)] - RANK[kindOf(b)] || collator.compare(remarkText(a), remarkText(b)),
  };

  function remarkText(row) {
    return [row.reason || "", ...(row.notes || [])].join(" ");
  }

  store.clear = () => {
    Object.assign(store, { about: { classes: [], colors: [], threshold: null }, rows: [], tally: null });
    Object.assign(view, { filter: "all", key: "", down: false, page: 0 });
  };

  // Rows come in order; one that is here already is not taken twice.
  store.apply = (reply) => {
    if (reply.about) store.about = reply.about;
    for (const row of reply.rows) if (row.n === store.rows.length) store.rows.push(row);
    store.tally = reply.tally;
  };

  store.wanted = () => {
    const chosen = store.rows.filter(fits);
    if (view.key) {
      const sign = view.down ? -1 : 1;
      const last = (row) => Number(NUMBERED.includes(view.key) && broken(row)); // no number to sort by: at the end
      chosen.sort((a, b) => last(a) - last(b) || sign * COMPARE[view.key](a, b) || a.n - b.n);
    }
    return chosen;
  };

  store.sortBy = (key) => {
    if (view.key !== key) Object.assign(view, { key, down: key === "probability" });
    else view.down = !view.down;
    view.page = 0;
  };

  store.filterBy = (filter) => Object.assign(view, { filter, page: 0 });
  return Object.assign(store, { view, kindOf, isWrong, labelAt });
}
