"""Keeps what was measured: raw samples as JSON lines, rows as JSON, all rows together as one table."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness import Benchmark
from benchmarks.machine import Machine
from benchmarks.registry import NAMES
from benchmarks.rows import Row
from benchmarks.table import table_text

FOLDER = Path(__file__).parent / "results"


class Results:
    """The folder of results; samples of earlier runs stay, rows and the table show the last run of each benchmark."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, benchmark: Benchmark, run: str, record: dict[str, Any]) -> None:
        """Appends one raw record to the benchmark's samples."""
        line = json.dumps({"run": run, **record}, ensure_ascii=False, default=str)
        with (self.folder / f"{benchmark.name}.jsonl").open("a", encoding="utf-8") as opened:
            opened.write(line + "\n")

    def write(self, benchmark: Benchmark, rows: list[Row], machine: Machine, **about: Any) -> None:
        """Writes the benchmark's rows and the table of everything measured so far."""
        content = {"benchmark": benchmark.name, "claim": benchmark.claim, **about, "machine": asdict(machine)}
        text = json.dumps({**content, "rows": [asdict(row) for row in rows]}, indent=2, ensure_ascii=False, default=str)
        (self.folder / f"{benchmark.name}.json").write_text(text + "\n", encoding="utf-8")
        (self.folder / "table.md").write_text(self.table(), encoding="utf-8")

    def table(self, names: list[str] | None = None) -> str:
        """The table of these benchmarks, or of all that have a result here."""
        found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in self.folder.glob("*.json")}
        order = [*NAMES, *sorted(set(found) - set(NAMES))]
        chosen = [found[name] for name in order if name in found and "rows" in found[name]]
        return table_text([one for one in chosen if names is None or one["benchmark"] in names])
