"""`python -m benchmarks [NAME]`: prints a result and writes it to `benchmarks/results/NAME.json`."""

import argparse
import importlib
import json
import time
from pathlib import Path

from benchmarks.machine import describe_machine

BENCHMARKS = {
    "rendered-flowers": "default training on rendered flowers: accuracy and time",
    "photo": "one photo, from bytes to answer: ours against the tutorial's way",
    "feature-maps": "all channels of a layer as one picture: what drawing adds to the forward pass",
    "startup": "python app.py until the page answers, against importing torch and gradio",
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Runs the named benchmark, or lists them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", nargs="?", choices=BENCHMARKS)
    options = parser.parse_args()
    if options.name is None:
        for name, claim in BENCHMARKS.items():
            print(f"{name:<18} {claim}")
        return
    module = importlib.import_module(f"benchmarks.{options.name.replace('-', '_')}")
    result = {"benchmark": options.name, "when": time.strftime("%Y-%m-%d"), **describe_machine(), **module.run()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{options.name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
