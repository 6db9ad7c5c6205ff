"""Every benchmark by name, in the order of the table."""

import importlib

from benchmarks.harness import Benchmark

NAMES = (
    "train-epoch",
    "train-peers",
    "time-to-accuracy",
    "cifar",
    "photo",
    "phone-photo",
    "feature-maps",
    "watchers",
    "serving",
    "startup",
    "memory",
    "limit",
    "rendered-flowers",
    "agreement",
    "teaching",
)


def load_benchmark(name: str) -> Benchmark:
    """The benchmark of that name. A name with a dot is a module elsewhere that ends with BENCHMARK (the tests' own)."""
    module = name if "." in name else f"benchmarks.{name.replace('-', '_')}"
    benchmark = importlib.import_module(module).BENCHMARK
    assert isinstance(benchmark, Benchmark), f"{module}.BENCHMARK is no Benchmark"
    return benchmark
