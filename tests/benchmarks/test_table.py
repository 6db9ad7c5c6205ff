"""What people read: one line a comparison, numbers in three figures, reasons in place of numbers, machines below."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import Machine
from benchmarks.results import Results
from benchmarks.rows import Row
from benchmarks.table import HEAD, cells, number, table_text
from tests.benchmarks.tiny import BENCHMARK

MEASURED = Row(
    metric="resnet18",
    unit="ms",
    side="ours",
    peer="eager",
    ours=28.123,
    theirs=84.0,
    median=2.987,
    low=2.9,
    high=3.1,
    claim=2.9,
    goal=1.5,
    moonshot=4.0,
    goal_is="at least",
    verdict="meets",
    kept=4,
    dropped=1,
)
MACHINE = Machine(
    processor="Some | Processor",
    cores=2,
    physical_cores=None,
    memory_gb=None,
    flags=["avx2"],
    capability="AVX2",
    gpu=None,
    system="Linux x86_64",
    python="3.11",
    torch="2.15",
    torchvision=None,
    torch_threads=2,
)


def changed(**fields: Any) -> Row:
    return dataclasses.replace(MEASURED, **fields)


def test_a_measured_row_shows_both_sides_the_interval_and_the_goals() -> None:
    assert cells(MEASURED) == (
        "resnet18, ms",
        "28.1",
        "eager 84",
        "2.99× (2.9 to 3.1)",
        "2.9×",
        "at least 1.5×",
        "at least 4×",
        "meets",
        "4 of 5",
    )


def test_an_absolute_number_has_no_times_sign() -> None:
    row = changed(peer=None, theirs=None, goal_is="at most", goal=1200.0, moonshot=None, claim=1234.5, side="idle app")
    shown = cells(row)
    assert shown[1:6] == ("idle app 28.1", "–", "2.99 (2.9 to 3.1)", "1,234", "at most 1,200")
    assert "×" not in "".join(shown)


def test_one_block_is_not_shown_as_an_interval() -> None:
    assert cells(changed(kept=1, dropped=1))[3] == "2.99× (one block, no interval)"


def test_a_moonshot_is_told() -> None:
    assert cells(changed(moonshot_reached=True))[7] == "meets, moonshot too"


def test_what_was_not_measured_shows_the_reason_and_no_number() -> None:
    row = Row(
        metric="resnet18",
        unit="ms",
        side="ours",
        peer="openvino",
        goal=1.5,
        goal_is="at least",
        verdict="not measured",
        reason="openvino is not installed",
    )
    shown = cells(row)
    assert shown[7] == "not measured: openvino is not installed"
    assert (shown[3], shown[4], shown[8]) == ("–", "–", "–")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.01234, "0.0123"),
        (9.999, "10"),
        (99.96, "100"),
        (1234567.8, "1,234,568"),
        (-3.2, "-3.2"),
    ],
)
def test_numbers_have_three_figures(value: float | None, text: str) -> None:
    assert number(value) == text


def result(name: str, *rows: Row) -> dict[str, Any]:
    return {
        "benchmark": name,
        "when": "2026-01-01 12:00",
        "precision": "fp32",
        "load": 0.1,
        "machine": dataclasses.asdict(MACHINE),
        "rows": [dataclasses.asdict(row) for row in rows],
    }


def test_the_table_is_rectangular_and_names_each_machine_once() -> None:
    text = table_text([result("photo", MEASURED, changed(metric="a|b")), result("startup", MEASURED)])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {len(HEAD) + 1}
    assert len(lines) == 2 + 3
    assert text.count("Some") == 1
    assert "photo (2026-01-01 12:00, precision fp32, load 0.1); startup (" in text


def test_a_later_run_replaces_its_own_lines_only(tmp_path: Path) -> None:
    results = Results(tmp_path)
    about = {"when": "2026-01-01 12:00", "precision": "fp32", "load": 0.1}
    other = dataclasses.replace(BENCHMARK, name="other")
    results.write(other, [changed(metric="another")], MACHINE, **about)
    for metric in ("first", "second"):
        results.write(BENCHMARK, [changed(metric=metric)], MACHINE, **about)
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "another" in text
    assert "second" in text
    assert "first" not in text
    assert "another" not in results.table(["tiny"])


def test_samples_of_earlier_runs_stay(tmp_path: Path) -> None:
    results = Results(tmp_path)
    for run in ("one", "two"):
        results.keep(BENCHMARK, run, {"kind": "sample", "path": tmp_path, "sides": ("a", "b")})
    records = [json.loads(line) for line in (tmp_path / "tiny.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["run"] for record in records] == ["one", "two"]


def test_a_result_of_an_older_form_is_left_out(tmp_path: Path) -> None:
    results = Results(tmp_path)
    (tmp_path / "photo.json").write_text('{"benchmark": "photo", "val_top1": [0.5]}', encoding="utf-8")
    assert "| photo |" not in results.table()
