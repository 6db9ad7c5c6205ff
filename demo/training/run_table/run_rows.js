// The runs that are known, their order, and which are marked for comparing.

const PAGE_ROWS = 50;

function makeRows() {
  const store = { version: "", rows: [], bin: [], count: 0, size: 0, live: false, marked: new Set() };
  const view = { key: "started", down: true, most: PAGE_ROWS };
  const collator = new Intl.Collator(undefined, { numeric: true });
  const MISSING = { best: null, started: null }; // what these are where a run has none
  const titleOf = (row) => row.name || row.id;
  const READ = {
    name: titleOf, status: (row) => row.status, dataset: (row) => row.dataset, model: (row) => row.model,
    epochs: (row) => row.done, best: (row) => row.best, started: (row) => row.started, size: (row) => row.size,
  };

  function compare(a, b) {
    const [one, other] = [READ[view.key](a), READ[view.key](b)];
    if (view.key in MISSING && (one === null || other === null)) return Number(one === null) - Number(other === null);
    const order = typeof one === "number" ? one - other : collator.compare(one, other);
    return (view.down ? -order : order) || collator.compare(b.id, a.id);
  }

  store.apply = (reply) => {
    store.version = reply.version;
    if (!reply.rows) return false;
    Object.assign(store, { rows: reply.rows, bin: reply.bin, count: reply.count, size: reply.size, live: reply.live });
    return true;
  };

  store.sorted = () => [...store.rows].sort(compare);

  store.sortBy = (key) => {
    if (view.key === key) view.down = !view.down;
    else Object.assign(view, { key, down: ["best", "started", "size", "epochs"].includes(key) });
  };

  // A run that is not listed (deleted, or not found by the search) stays marked only while it exists somewhere.
  store.mark = (id, on) => (on ? store.marked.add(id) : store.marked.delete(id));
  store.chosen = () => [...store.marked];
  return Object.assign(store, { view, titleOf });
}
