"""One side of one benchmark in this process: `python -m benchmarks.worker NAME SIDE --output FILE`.

The parent starts it afresh for every sample, so that no side inherits warm caches, threads or memory of another.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from benchmarks.harness import PRECISIONS, CannotMeasure, Options
from benchmarks.registry import load_benchmark


def measure(name: str, side: str, options: Options) -> dict[str, Any]:
    """What the side measured as JSON-ready fields, or {"failed": why} in one line."""
    try:
        measured = load_benchmark(name).sides[side](options)
    except CannotMeasure as reason:
        return {"failed": str(reason)}
    except Exception as error:  # whatever a foreign package raises belongs in the table, not on the screen
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return {"values": dict(measured.values), "answers": list(measured.answers), "notes": dict(measured.notes)}


def main() -> int:
    """Measures one side and writes or prints the result; 1 where it failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("side")
    parser.add_argument("--output", type=Path, help="a JSON file; standard output without it")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    result = measure(asked.name, asked.side, Options(precision=asked.precision, data_dir=asked.data_dir))
    text = json.dumps(result, default=str)
    if asked.output is None:
        print(text)
    else:
        asked.output.write_text(text, encoding="utf-8")
    return int("failed" in result)


if __name__ == "__main__":
    sys.exit(main())
