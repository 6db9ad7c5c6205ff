"""How long a run of the benchmarks may take, and how the benchmarks share that time."""

import math

import pytest

from benchmarks.__main__ import _parser, minutes, shares


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], 15.0),
        (["--precision", "fp32"], 15.0),
        (["--minutes", "3"], 3.0),
        (["photo", "--minutes", "0.5"], 0.5),
        (["photo"], math.inf),
        (["--long"], math.inf),
        (["--blocks", "2"], math.inf),
    ],
)
def test_all_short_ones_take_a_quarter_of_an_hour_and_others_what_they_need(arguments: list[str], expected: float):
    assert minutes(_parser().parse_args(arguments)) == expected


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "soon"])
def test_minutes_that_are_no_duration_are_refused(wrong: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        _parser().parse_args(["--minutes", wrong])
    assert "--minutes" in capsys.readouterr().err


def test_what_one_benchmark_leaves_over_goes_to_those_after_it():
    assert list(shares(4, 1.0)) == pytest.approx([15, 20, 30, 60], abs=1)


def test_without_a_limit_each_has_all_the_time_there_is():
    assert list(shares(2, math.inf)) == [math.inf, math.inf]
