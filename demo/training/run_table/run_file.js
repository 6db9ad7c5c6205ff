// The table as a file for spreadsheets: the runs that are listed, in their order.

const CSV_COLUMNS = [
  ["run_id", (row) => row.id], ["name", (row) => row.name], ["status", (row) => row.status],
  ["dataset", (row) => row.dataset], ["network", (row) => row.model], ["epochs_done", (row) => row.done],
  ["epochs", (row) => row.epochs], ["best_val_top1", (row) => row.best], ["best_epoch", (row) => row.best_epoch],
  ["started", (row) => (row.started ? new Date(1000 * row.started).toISOString() : "")],
  ["disk_bytes", (row) => row.size], ["tags", (row) => row.tags.join(", ")], ["note", (row) => row.note],
];

// Spreadsheets run a text that begins with one of these signs as a formula.
function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csvText(rows) {
  const lines = [CSV_COLUMNS.map(([title]) => title), ...rows.map((row) => CSV_COLUMNS.map(([, read]) => read(row)))];
  return `\ufeff${lines.map((line) => line.map(csvCell).join(",")).join("\r\n")}\r\n`;
}

function download(rows) {
  const link = make("a");
  const address = URL.createObjectURL(new Blob([csvText(rows)], { type: "text/csv;charset=utf-8" }));
  const now = new Date(Date.now() - 60000 * new Date().getTimezoneOffset()).toISOString();
  link.href = address;
  link.download = `runs-${now.slice(0, 10)}-${now.slice(11, 16).replace(":", "")}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
