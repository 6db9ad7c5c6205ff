// Below the charts when several runs are on screen: what came out, and which settings are not the same. And curves as CSV.

// Rows [name, value of each run] of what came out.
function resultRows(runs, words) {
  const named = (key) => words.say(`result.${key}`);
  const each = (of) => runs.map((run) => of(run.store));
  const lowest = (store) => store.epochs.reduce((low, row) => (row[2] !== null && (!low || row[2] < low[2]) ? row : low), null);
  const atEpoch = (value, row) => words.say("result.at_epoch", { value, epoch: row[0] });
  return [
    [named("status"), each((store) => words.say(`status.${store.status}`))],
    [named("best"), each((store) => {
      const best = store.best();
      return best && best[4] !== null ? atEpoch(`${showPercent(best[4])} %`, best) : "–";
    })],
    [named("lowest"), each((store) => (lowest(store) ? atEpoch(showNumber(lowest(store)[2]), lowest(store)) : "–"))],
    [named("epochs"), each((store) => {
      const done = store.epochs.length ? store.epochs[store.epochs.length - 1][0] : 0;
      return `${words.count(done)} / ${store.about?.epochs ? words.count(store.about.epochs) : "–"}`;
    })],
    [named("time"), each((store) => (store.epochs.length ? words.duration(store.epochs[store.epochs.length - 1][SECONDS]) : "–"))],
    [named("speed"), each((store) => (store.imagesPerSecond() ? showNumber(store.imagesPerSecond()) : "–"))],
  ];
}

function showTable(box, runs, differences, words) {
  const table = htmlNode("table", "lb-table");
  const head = htmlNode("tr", "");
  head.append(htmlNode("td", ""), ...runs.map((run, i) => {
    const cell = htmlNode("th", "lb-column");
    cell.scope = "col";
    cell.append(sampleNode({ key: `r${i}` }), " ", htmlNode("span", "lb-column-name", run.store.name()));
    return cell;
  }));
  const settings = differences.map(([name, title, values]) => [words.setting(name, title), values.map((v) => words.value(name, v))]);
  const body = [...resultRows(runs, words).map((row) => rowNode(row, "lb-result")), ...settings.map((row) => rowNode(row, "lb-setting"))];
  table.append(head, ...body);
  box.replaceChildren(table);
  if (!settings.length) box.append(htmlNode("p", "lb-none", words.say("no_differences")));
}

function rowNode([name, values], className) {
  const row = htmlNode("tr", className);
  const title = htmlNode("th", "lb-row-name", name);
  title.scope = "row";
  row.append(title, ...values.map((value) => htmlNode("td", "", value)));
  return row;
}

// Asks for what differs when the runs on screen, or their settings, have changed.
function makeDifferences(ask, onNews) {
  let [rows, ids, known, busy] = [[], [], "", false];

  async function follow(runs) {
    const changes = (store) => store.marks.filter((mark) => mark[0] === "change").length;
    const state = JSON.stringify(runs.map(({ store }) => [store.run, Boolean(store.about), changes(store)]));
    if (state === known || busy || runs.length < 2) return;
    busy = true;
    const reply = await ask({ want: "differences", runs: runs.map((run) => run.store.run) }).catch(() => null);
    busy = false;
    if (!Array.isArray(reply?.rows)) return; // the next news asks again
    [rows, ids, known] = [reply.rows, reply.runs, state];
    onNews();
  }

  // The rows of exactly these runs, in their order.
  const of = (runs) => (runs.map((run) => run.store.run).join() === ids.join() ? rows : []);
  return { follow, of };
}

const CSV_CURVES = {
  loss: ["train/step_loss", "train/loss", "val/loss"], accuracy: ["train/top1", "val/top1"], rate: ["learning_rate"],
  speed: ["images_per_second", "epoch_images_per_second", "epoch_seconds"], memory: ["memory_bytes", "device_memory_bytes"],
  load: ["load", "device_load"],
};

// A button that saves every value of a chart's curves, of all runs on screen.
function csvButton(chart, runsNow, ask, onFailure) {
  const button = htmlNode("button", "lb-csv", "CSV");
  button.type = "button";
  button.addEventListener("click", async () => {
    const runs = runsNow();
    button.disabled = true;
    const question = { want: "csv", runs: runs.map((run) => run.store.run), curves: CSV_CURVES[chart] };
    const reply = await ask(question).catch(() => null);
    button.disabled = false;
    if (typeof reply?.csv === "string") saveText(reply.csv, fileName(runs[0].store, chart));
    else onFailure(reply?.error || "");
  });
  return button;
}

function fileName(store, chart) {
  const plain = store.name().replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 60);
  return `${plain || "run"}-${chart}.csv`;
}

function saveText(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
