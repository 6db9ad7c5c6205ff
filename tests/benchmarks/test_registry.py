"""Every registered benchmark can be listed for nothing and declares something that can be judged."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness import Benchmark, Comparison
from benchmarks.registry import NAMES, load_benchmark

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "gradio", "openvino", "onnxruntime", "matplotlib", "fastai", "lightning", "pandas")
IMPORT_ALL = """
import json, sys
from benchmarks.registry import NAMES, load_benchmark
loaded, before = {}, set(sys.modules)
for name in NAMES:
    try:
        load_benchmark(name)
    except (ImportError, AttributeError) as error:
        loaded[name] = [str(error)]
    else:
        loaded[name] = [heavy for heavy in sys.argv[1:] if heavy in set(sys.modules) - before]
    before = set(sys.modules)
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded_modules() -> dict[str, list[str]]:
    """Name of each benchmark -> the heavy packages that came with it, all imported in one fresh process."""
    command = [sys.executable, "-c", IMPORT_ALL, *HEAVY]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(answer.stdout))


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_is_listed_without_loading_what_it_measures(
    name: str, loaded_modules: dict[str, list[str]]
) -> None:
    assert loaded_modules[name] == []


@pytest.fixture(params=NAMES)
def benchmark_of(request: pytest.FixtureRequest) -> Benchmark:
    return load_benchmark(request.param)


def test_it_has_its_own_name_and_a_claim(benchmark_of: Benchmark) -> None:
    assert benchmark_of.name in NAMES
    assert benchmark_of.claim.endswith(".")
    assert benchmark_of.timeout >= 10


def test_each_side_is_compared_somewhere(benchmark_of: Benchmark) -> None:
    used = {side for row in benchmark_of.comparisons for side in (row.ours, row.peer)}
    assert set(benchmark_of.sides) <= used


def test_its_goals_make_sense(benchmark_of: Benchmark) -> None:
    assert any(_goals(row) for row in benchmark_of.comparisons), "nothing is promised"
    assert len({(row.metric, row.ours, row.peer) for row in benchmark_of.comparisons}) == len(benchmark_of.comparisons)
    for row in benchmark_of.comparisons:
        assert row.unit
        assert all(goal >= 0 for goal in _goals(row))  # "at most 0 errors" is a goal
        if row.moonshot is not None and row.at_most is not None:
            assert row.moonshot <= row.at_most
        elif row.moonshot is not None:
            assert all(row.moonshot >= goal for goal in _goals(row))


def test_an_absolute_number_is_judged_in_its_own_direction(benchmark_of: Benchmark) -> None:
    for row in benchmark_of.comparisons:
        if row.peer is None:
            assert row.larger_is_better != (row.at_most is not None) or not _goals(row)


def _goals(row: Comparison) -> list[float]:
    goals = (row.at_least, row.at_least_fp32, row.at_least_cuda, row.at_most)
    return [goal for goal in goals if goal is not None]
