"""The self-test: what it finds decides, what it remembered is believed only if it can be, and it disturbs nobody."""

import dataclasses
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_core import self_test, trial
from resnet_core.processor import Cores
from resnet_core.self_test import Findings, Machine, find_out, measure, recall, remember, remembered_at

HERE = Machine(processor="Test 9000 ü", cores=2, physical=2, bf16=False, instructions="AVX2", torch="2.15.0")
FOUND = Findings(training_gain=1.25, inference_gain=0.9, seconds=0.8)
TWO_CORES = Cores(present=2, allowed=2, physical=2)

gains = st.floats(0.0011, 999.0)


class Clock:
    """Time that passes only while a step of the trial runs, as long as `costs` says for its kind."""

    def __init__(self, **costs: float) -> None:
        self.seconds, self.costs, self.runs = 0.0, costs, [""]

    def step(self, kind: str) -> Callable[[], None]:
        def run() -> None:
            self.runs.append(kind)
            self.seconds += self.costs[kind]

        return run


@pytest.fixture(autouse=True)
def _nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(self_test, "_known", {})
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Clock]:
    def make(*, error: float = 0.004, **costs: float) -> Clock:
        clock = Clock(**{"contiguous": 0.02, "channels_last": 0.02, "bf16": 0.02, **costs})
        names = {layout: name for name, layout in trial.LAYOUTS.items()}

        def training(layout: torch.memory_format, *, bf16: bool = False) -> Callable[[], None]:
            return clock.step("bf16" if bf16 else names[layout])

        monkeypatch.setattr(trial, "now", lambda: clock.seconds)
        monkeypatch.setattr(trial, "worked", lambda: clock.seconds)
        monkeypatch.setattr(trial, "_training", training)
        monkeypatch.setattr(trial, "_answering", lambda layout: clock.step(names[layout]))
        monkeypatch.setattr(trial, "bf16_error", lambda: error)
        return clock

    return make


def measured(*, bf16: bool = False, cores: Cores = TWO_CORES) -> Findings:
    return measure(dataclasses.replace(HERE, bf16=bf16), cores)


@pytest.mark.parametrize(
    ("contiguous", "channels_last", "contiguous_pays"),
    [(0.020, 0.010, False), (0.020, 0.020, False), (0.0196, 0.020, False), (0.019, 0.020, True), (0.01, 0.02, True)],
)
def test_contiguous_must_be_clearly_faster(
    make_clock: Callable[..., Clock], contiguous: float, channels_last: float, contiguous_pays: bool
) -> None:
    make_clock(contiguous=contiguous, channels_last=channels_last)
    found = measured()
    assert found.training_gain == pytest.approx(contiguous / channels_last)
    assert found.inference_gain == pytest.approx(contiguous / channels_last)
    assert found.contiguous_pays is contiguous_pays


@pytest.mark.parametrize(
    ("bf16", "error", "pays", "right"),
    [
        (0.005, 0.004, True, True),
        (0.0083, 0.02, True, True),
        (0.0084, 0.004, False, True),
        (0.200, 0.004, False, True),
        (0.005, 0.021, False, False),
        (0.005, 1.0, False, False),
    ],
)
def test_bf16_must_be_faster_and_right(
    make_clock: Callable[..., Clock], bf16: float, error: float, pays: bool, right: bool
) -> None:
    make_clock(contiguous=0.010, channels_last=0.012, bf16=bf16, error=error)
    found = measured(bf16=True)
    assert found.bf16_gain == pytest.approx(0.010 / bf16), "against the better of the float32 formats"
    assert (found.bf16_pays, found.bf16_right, found.bf16_error) == (pays, right, error)


def test_bf16_is_not_tried_without_the_hardware(
    make_clock: Callable[..., Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden() -> float:
        raise AssertionError("emulated bf16 is 20 times slower than fp32")

    clock = make_clock(bf16=0.0001)
    monkeypatch.setattr(trial, "bf16_error", forbidden)
    found = measured(bf16=False)
    assert "bf16" not in clock.runs
    assert (found.bf16_gain, found.bf16_error, found.bf16_pays) == (None, None, False)


@pytest.mark.parametrize(("many", "pays"), [(0.010, True), (0.0185, False), (0.04, False)])
def test_hyperthreads_must_be_clearly_faster(
    make_clock: Callable[..., Clock], monkeypatch: pytest.MonkeyPatch, many: float, pays: bool
) -> None:
    clock = make_clock()
    count = [0]
    monkeypatch.setattr(torch, "set_num_threads", lambda number: count.__setitem__(0, number))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)

    def step() -> None:
        clock.seconds += many if count[0] == 8 else 0.02

    monkeypatch.setattr(trial, "_training", lambda *arguments, **named: step)
    found = measured(cores=Cores(present=8, allowed=8, physical=4))
    assert found.hyperthread_gain == pytest.approx(0.02 / many)
    assert found.hyperthreads_pay is pays
    assert count == [7], "the caller's number of threads is given back"


def test_a_busy_moment_does_not_decide(make_clock: Callable[..., Clock]) -> None:
    clock = make_clock()
    busy = {0: 9.0, 3: 0.4, 5: 7.0}  # by call: another process takes the cores now and then

    def side(name: str, cost: float) -> Callable[[], None]:
        calls = [0]

        def run() -> None:
            clock.runs.append(name)
            clock.seconds += cost + (busy.get(calls[0], 0) if name == "fast" else 0)
            calls[0] += 1

        return run

    times = trial.fastest(
        {"slow": side("slow", 0.03), "fast": side("fast", 0.02)}, rounds=6, budget=100, clock=trial.now
    )
    assert times == pytest.approx({"slow": 0.03, "fast": 0.02})
    timed = clock.runs[3:]
    assert {tuple(timed[i : i + 2]) for i in range(0, len(timed), 2)} == {("slow", "fast"), ("fast", "slow")}


def test_a_slow_machine_gets_a_short_self_test(make_clock: Callable[..., Clock]) -> None:
    clock = make_clock(contiguous=30.0, channels_last=20.0)
    assert measured().training_gain == 1.5
    assert len(clock.runs) == 1 + 2 * 4, "each side twice in training and in answering: to begin with and to be timed"


def test_a_clock_that_stands_still_divides_by_nothing(make_clock: Callable[..., Clock]) -> None:
    make_clock(contiguous=0.0, channels_last=0.0, bf16=0.0)
    assert measured(bf16=True).training_gain == 1


def test_the_trial_trains_and_answers_as_the_layouts_say() -> None:
    answers = {}
    for name, layout in trial.LAYOUTS.items():
        images, layers = trial._make_network(width=8, batch=2, side=64, layout=layout)
        assert images.is_contiguous(memory_format=layout)
        assert all(filters.is_contiguous(memory_format=layout) for filters, _, _ in layers)
        answers[name] = trial._forward(images, layers, training=True)
        assert trial._forward(images, layers, training=False).shape == (2, 64)
    assert answers["contiguous"].shape == (2, 64)
    assert torch.allclose(answers["contiguous"], answers["channels_last"], atol=1e-3)
    assert len(layers) == 1 + 4 * 2 + 3


def test_bf16_agrees_and_a_wrong_kernel_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1e-4 < trial.bf16_error() < self_test.BF16_ERROR_LIMIT / 2
    real = torch.nn.functional.conv2d
    for wrong in (1.05, math.nan, math.inf):

        def broken(inputs: torch.Tensor, *arguments: Any, _wrong: float = wrong, **named: Any) -> torch.Tensor:
            outputs = real(inputs, *arguments, **named)
            return outputs * _wrong if inputs.dtype == torch.bfloat16 else outputs

        monkeypatch.setattr(trial.functional, "conv2d", broken)
        assert self_test.BF16_ERROR_LIMIT < trial.bf16_error() <= 1


def small_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not below 8 channels: there the strided 1×1 convolution's gradient breaks the heap (oneDNN issue 6035).
    whole_size = trial._make_network
    monkeypatch.setattr(trial, "_make_network", lambda **size: whole_size(**{**size, "width": 8, "side": 32}))


def test_threads_that_come_during_the_trial_keep_their_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    small_trial(monkeypatch)
    seen: dict[str, int] = {}
    timed = trial.time_training

    def look_and_time(bf16: bool) -> dict[str, float]:
        newcomer = threading.Thread(target=lambda: seen.update(newcomer=torch.get_num_threads()))
        newcomer.start()
        newcomer.join()
        seen["trial"] = torch.get_num_threads()
        return timed(bf16)

    monkeypatch.setattr(trial, "time_training", look_and_time)
    torch.set_num_threads(2)
    measured()
    assert seen == {"newcomer": 2, "trial": 1}
    assert torch.get_num_threads() == 2


def test_the_self_test_leaves_the_caller_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    small_trial(monkeypatch)
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            found = measured()
            assert torch.is_inference_mode_enabled()
            assert torch.is_autocast_enabled("cpu")
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.rand(4), expected)
    assert torch.get_num_threads() == 1
    assert recall_after(found) == found


def recall_after(found: Findings) -> Findings | None:
    remember(HERE, found)
    return recall(HERE)


@given(
    training=gains,
    inference=gains,
    bf16=st.none() | st.tuples(gains, st.floats(0, 1)),
    hyperthreads=st.none() | gains,
    seconds=st.floats(0, 1e6),
)
def test_findings_survive_being_remembered(
    training: float, inference: float, bf16: tuple[float, float] | None, hyperthreads: float | None, seconds: float
) -> None:
    gain, error = bf16 or (None, None)
    found = Findings(
        training_gain=training,
        inference_gain=inference,
        bf16_gain=gain,
        bf16_error=error,
        hyperthread_gain=hyperthreads,
        seconds=seconds,
    )
    assert recall_after(found) == found


CHANGES = [
    {"processor": "Test 9001"},
    {"cores": 1},
    {"physical": 1},
    {"bf16": True},
    {"instructions": "AVX512"},
    {"torch": "2.15.1"},
    {"version": 0},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_findings_hold_for_one_machine_only(change: dict[str, Any]) -> None:
    other = dataclasses.replace(HERE, **change)
    remember(HERE, FOUND)
    assert recall(other) is None
    os.replace(remembered_at(HERE), remembered_at(other))  # as if the names had collided
    assert recall(other) is None
    assert recall(HERE) is None


def whole(**changes: Any) -> str:
    return json.dumps({"machine": dataclasses.asdict(HERE), "findings": {**dataclasses.asdict(FOUND), **changes}})


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "cut": whole().encode()[:-9],
    "zeros": bytes(400),
    "no text": b"\xff\xfe\x80{",
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "a text": b'"machine"',
    "no findings": json.dumps({"machine": dataclasses.asdict(HERE)}).encode(),
    "findings are a list": json.dumps({"machine": dataclasses.asdict(HERE), "findings": [1.0]}).encode(),
    "deep": b"[" * 30_000,
    "long": whole().encode() + b" " * 100_000,
    "not a number": whole(training_gain=math.nan).encode(),
    "endless": whole(training_gain=math.inf).encode(),
    "beyond floats": whole(training_gain=10**400).encode(),
    "beyond numbers": whole().replace("1.25", "1" * 5000).encode(),
    "nothing": whole(training_gain=None).encode(),
    "zero": whole(inference_gain=0).encode(),
    "negative": whole(training_gain=-1.25).encode(),
    "absurd": whole(bf16_gain=1e9).encode(),
    "true": whole(bf16_gain=True).encode(),
    "text": whole(bf16_gain="2.0").encode(),
    "a list inside": whole(bf16_error=[0.1]).encode(),
    "negative time": whole(seconds=-1).encode(),
    "unknown field": whole(surprise=1.0).encode(),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_memory_that_cannot_be_believed_is_measured_again(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    path = stand_here(monkeypatch)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert find_out() == FOUND
    assert json.loads(path.read_text(encoding="utf-8"))["findings"]["training_gain"] == FOUND.training_gain


def stand_here(monkeypatch: pytest.MonkeyPatch, found: Findings = FOUND) -> Path:
    """Makes this machine HERE and its self-test find `found`; returns where that is remembered."""
    monkeypatch.setattr(self_test, "processor_name", lambda: HERE.processor)
    monkeypatch.setattr(self_test, "has_bf16", lambda: False)
    monkeypatch.setattr(self_test, "read_cores", lambda: TWO_CORES)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: HERE.instructions)
    monkeypatch.setattr(torch, "__version__", HERE.torch)
    monkeypatch.setattr(self_test, "measure", lambda machine, cores: found)
    assert HERE.version == self_test.VERSION
    return remembered_at(HERE)


def test_what_is_remembered_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_here(monkeypatch, dataclasses.replace(FOUND, training_gain=3.0))
    remember(HERE, FOUND)
    assert find_out() == FOUND
    remembered_at(HERE).unlink()
    assert find_out() == FOUND, "known to the process"


@pytest.mark.skipif(os.name != "posix", reason="pipes in the file system are a POSIX thing")
def test_a_pipe_in_the_place_of_the_memory_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    path = stand_here(monkeypatch)
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert find_out() == FOUND


@pytest.mark.parametrize("kind", ["a folder in its place", "a file above", "a link in a circle", "no such name"])
def test_a_memory_that_cannot_be_written_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    path = stand_here(monkeypatch)
    if kind == "a folder in its place":
        (path / "inside").mkdir(parents=True)
    elif kind == "a file above":
        path.parent.parent.write_text("not a folder")
    elif kind == "a link in a circle":
        try:
            path.parent.parent.symlink_to(path.parent.parent.name)
        except OSError:
            pytest.skip("This system grants no links.")
    else:
        monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / ("x" * 5000)))
    assert find_out() == FOUND
    assert not list(tmp_path.rglob("*.part"))


def test_a_torch_that_cannot_run_it_gets_the_usual_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(machine: Machine, cores: Cores) -> Findings:
        raise RuntimeError("could not create a primitive")

    path = stand_here(monkeypatch)
    monkeypatch.setattr(self_test, "measure", refuse)
    found = find_out()
    assert (found.bf16_pays, found.contiguous_pays, found.hyperthreads_pay) == (False, False, False)
    assert not path.exists(), "the next start tries again"


def test_threads_that_ask_at_once_share_one_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_here(monkeypatch)
    asked: list[Machine] = []
    begun = threading.Barrier(8)

    def slow(machine: Machine, cores: Cores) -> Findings:
        asked.append(machine)
        threading.Event().wait(0.05)
        return FOUND

    answers: list[Findings] = []

    def ask() -> None:
        begun.wait()
        answers.append(find_out())

    monkeypatch.setattr(self_test, "measure", slow)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [FOUND] * 8
    assert asked == [HERE]


WRITER = """
import dataclasses, sys
from resnet_core.self_test import Findings, Machine, recall, remember
machine = Machine(processor="P", cores=2, physical=2, bf16=False, instructions="AVX2", torch="2.15.0")
mine = Findings(training_gain=float(sys.argv[1]), inference_gain=1.0)
for _ in range(40):
    remember(machine, mine)
    found = recall(machine)
    assert found is not None and found.training_gain in (2.0, 3.0), found
"""


def test_processes_that_write_at_once_leave_whole_findings() -> None:
    command = [sys.executable, "-c", WRITER]
    root = Path(__file__).parents[1]
    writers = [subprocess.Popen([*command, gain], cwd=root, stderr=subprocess.PIPE) for gain in ("2", "3")]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors.decode()
