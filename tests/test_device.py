"""The device asked for or a sentence, settings that say why; a generator that nobody else can disturb."""

import builtins
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from resnet_core import device
from resnet_core.device import (
    DeviceChoice,
    choose_device,
    default_num_threads,
    find_device,
    import_torchvision,
    make_generator,
    prepare_backends,
    torchvision_cure,
)
from resnet_core.errors import DeviceError
from resnet_core.processor import Cores
from resnet_core.self_test import Findings

PLAIN = Findings(training_gain=1.1, inference_gain=1.1)
BFLOAT = Findings(training_gain=0.5, inference_gain=1.1, bf16_gain=2.0, bf16_error=0.004)


def draw(*parts: int | str) -> list[float]:
    return torch.rand(8, generator=make_generator(*parts)).tolist()


def test_a_generator_depends_on_its_parts_and_nothing_else() -> None:
    expected = draw("order", 7, 3)
    torch.manual_seed(123)
    assert draw("order", 7, 3) == expected
    noise = threading.Thread(target=lambda: [torch.manual_seed(i) and torch.rand(100) for i in range(200)])
    noise.start()
    repeated = [draw("order", 7, 3) for _ in range(50)]
    noise.join()
    assert repeated == [expected] * 50


def test_every_part_and_its_place_count() -> None:
    parts = [
        ("a", 1, 2),
        ("a", 2, 1),
        ("a", 12),
        ("a", "1", "2", ""),
        ("b", 1, 2),
        ("a", 1),
        ("a", -1, 2),
        ("a1", 2),
        (),
    ]
    assert len({tuple(draw(*each)) for each in parts}) == len(parts)
    assert draw("split", 0, os.fsdecode(b"caf\xe9")) != draw("split", 0, "caf\N{REPLACEMENT CHARACTER}")


def test_a_generator_is_the_same_on_every_machine() -> None:
    assert make_generator("order", 0, 1).initial_seed() == 7118692496828047457  # sha256sum, first 8 bytes


@pytest.mark.parametrize(
    "requested",
    ["gpu", "", " ", "cuda:99", "cuda:-1", "cuda:9999999999999999999999", "meta", "xla", "cpu:x", "ü", "\0"],
)
def test_an_unknown_or_absent_device_is_named(requested: str) -> None:
    with pytest.raises(DeviceError, match="use") as caught:
        choose_device(requested)
    assert f"“{requested}”" in str(caught.value)


def test_a_gpu_this_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for requested in ("cuda", "cuda:0", "mps"):
        with pytest.raises(DeviceError, match=r"no (Apple )?GPU"):
            choose_device(requested)
    assert choose_device("auto").device == torch.device("cpu")


@pytest.mark.parametrize("precision", ["fp16", "int8", "", "FP32"])
def test_a_precision_the_cpu_lacks_is_refused(precision: str) -> None:
    with pytest.raises(DeviceError, match="fp32"):
        choose_device("cpu", precision=precision)


Stand = Callable[..., None]


@pytest.fixture
def stand_on(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Makes this a machine without GPU, of these findings, abilities and cores."""

    def stand(found: Findings | None = PLAIN, *, bf16: bool = False, cores: Cores | None = None) -> None:
        def find_out() -> Findings:
            assert found is not None, "the self-test must not run"
            return found

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        monkeypatch.setattr(device, "find_out", find_out)
        monkeypatch.setattr(device, "has_bf16", lambda: bf16)
        monkeypatch.setattr(device, "read_cores", lambda: cores or Cores(present=4, allowed=4, physical=4))

    return stand


@pytest.mark.parametrize(
    ("found", "precision", "words"),
    [
        (BFLOAT, "bf16", "2.00× as fast as fp32 on this CPU with results within 0.4%"),
        (replace(BFLOAT, bf16_gain=1.2), "bf16", "1.20×"),
        (replace(BFLOAT, bf16_gain=1.19), "fp32", "only 1.19× as fast"),
        (replace(BFLOAT, bf16_gain=0.05), "fp32", "only 0.05× as fast"),
        (replace(BFLOAT, bf16_error=0.3), "fp32", "off by 30.0%"),
        (replace(BFLOAT, bf16_error=None, bf16_gain=None), "fp32", "could not try"),
    ],
)
def test_bf16_on_a_cpu_must_be_faster_and_right(stand_on: Stand, found: Findings, precision: str, words: str) -> None:
    stand_on(found, bf16=True)
    choice = choose_device("cpu")
    assert choice.precision == precision
    assert words in choice.reasons[1]


def test_bf16_is_never_chosen_without_the_hardware(stand_on: Stand) -> None:
    stand_on(replace(BFLOAT, bf16_gain=9.0), bf16=False)  # findings of another machine, say
    choice = choose_device("cpu")
    assert choice.precision == "fp32"
    assert "no bf16" in choice.reasons[1]


def test_whoever_asks_for_emulated_bf16_gets_it_with_a_warning(stand_on: Stand) -> None:
    stand_on(bf16=False)
    choice = choose_device("cpu", precision="bf16")
    assert choice.precision == "bf16"
    assert "many times slower" in choice.reasons[1]
    stand_on(bf16=True)
    assert choose_device("cpu", precision="bf16").reasons[1] == "Precision: bf16, as asked."


@pytest.mark.parametrize(
    ("gain", "expected", "words"),
    [
        (1.3, torch.channels_last, "channels-last, measured 1.30× as fast as contiguous"),
        (1.0, torch.channels_last, "channels-last, measured 1.00×"),
        (0.97, torch.channels_last, "no clear loss"),
        (0.95, torch.contiguous_format, "contiguous, measured 1.05× as fast as channels-last"),
        (0.5, torch.contiguous_format, "contiguous, measured 2.00×"),
    ],
)
def test_the_faster_memory_format_is_chosen(
    stand_on: Stand, gain: float, expected: torch.memory_format, words: str
) -> None:
    stand_on(replace(PLAIN, training_gain=gain))
    choice = choose_device("cpu")
    assert choice.memory_format == expected
    assert words in choice.reasons[2]


def test_bf16_comes_with_the_format_it_was_measured_in(stand_on: Stand) -> None:
    stand_on(BFLOAT, bf16=True)
    assert BFLOAT.contiguous_pays
    choice = choose_device("cpu")
    assert (choice.precision, choice.memory_format) == ("bf16", torch.channels_last)
    assert choose_device("cpu", precision="fp32").memory_format == torch.contiguous_format


@pytest.mark.parametrize("memory_format", ["", "nhwc", "channels_last", "Contiguous", "\0"])
def test_an_unknown_memory_format_is_refused(memory_format: str) -> None:
    with pytest.raises(DeviceError, match="use one of auto, channels-last, contiguous"):
        choose_device("cpu", memory_format=memory_format)


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_cannot_compute(threads: int) -> None:
    with pytest.raises(DeviceError, match="1 or more"):
        choose_device("cpu", num_threads=threads)


@pytest.mark.parametrize(("bf16", "format_"), [(False, "contiguous"), (True, "channels-last")])
def test_what_is_asked_for_always_wins_without_a_self_test(stand_on: Stand, bf16: bool, format_: str) -> None:
    stand_on(None, bf16=bf16, cores=Cores(present=8, allowed=8, physical=4))
    choice = choose_device("cpu", precision="bf16", memory_format=format_, num_threads=5)
    assert choice.precision == "bf16"
    assert choice.memory_format == {"contiguous": torch.contiguous_format}.get(format_, torch.channels_last)
    assert choice.num_threads == 5
    assert all("as asked" in reason for reason in choice.reasons if not reason.startswith("Device: CPU"))


def test_the_device_alone_needs_no_self_test(stand_on: Stand) -> None:
    stand_on(None)
    assert find_device() == find_device("cpu") == torch.device("cpu")
    with pytest.raises(DeviceError, match="no GPU"):
        find_device("cuda")


HYPERTHREADS = Cores(present=8, allowed=8, physical=4)


@pytest.mark.parametrize(
    ("cores", "gain", "threads", "words"),
    [
        (Cores(present=4, allowed=4, physical=4), None, 4, "one for each core."),
        (HYPERTHREADS, 1.0, 4, "physical core; all 8 hyperthreads were not clearly faster"),
        (HYPERTHREADS, 1.3, 8, "one for each hyperthread."),
        (HYPERTHREADS, None, 4, "physical core"),
        (replace(HYPERTHREADS, quota=3.0), 1.3, 3, "the time of 3 of 8 cores"),
        (replace(HYPERTHREADS, quota=6.0), 1.3, 6, "the time of 6 of 8 cores"),
        (replace(HYPERTHREADS, quota=1.5), None, 2, "the time of 1.5 of 8 cores"),
        (replace(HYPERTHREADS, quota=64.0), 1.0, 4, "physical core"),
        (Cores(present=64, allowed=2, physical=2), None, 2, "may run on 2 of 64 cores"),
    ],
)
def test_the_threads_fit_the_cores(stand_on: Stand, cores: Cores, gain: float | None, threads: int, words: str) -> None:
    stand_on(replace(PLAIN, hyperthread_gain=gain), cores=cores)
    choice = choose_device("cpu")
    assert choice.num_threads == threads
    assert choice.reasons[3].startswith(f"Threads: {threads}, ")
    assert words in choice.reasons[3]


@pytest.fixture
def cuda_settings() -> Iterator[Callable[[], tuple[bool, str, str]]]:
    """Reads what CUDA would go by; the settings exist without a GPU too, and are put back."""
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = torch.backends.cudnn.benchmark, [place.fp32_precision for place in places]
    yield lambda: (torch.backends.cudnn.benchmark, places[0].fp32_precision, places[1].fp32_precision)
    torch.backends.cudnn.benchmark = before[0]
    for place, value in zip(places, before[1], strict=True):
        place.fp32_precision = value


@pytest.fixture
def make_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A stand-in for GPUs of these compute capabilities."""

    def make(*capabilities: tuple[int, int], hip: str | None = None) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: "Test GPU")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda place: capabilities[place.index or 0])
        monkeypatch.setattr(torch.version, "hip", hip)
        monkeypatch.setattr(device, "find_out", lambda: pytest.fail("a GPU needs no self-test of the CPU"))

    return make


@pytest.mark.parametrize(
    ("capability", "hip", "precision"),
    [
        ((9, 0), None, "bf16"),
        ((8, 0), None, "bf16"),
        ((7, 5), None, "fp16"),
        ((7, 0), None, "fp16"),
        ((6, 1), None, "fp32"),
        ((9, 0), "6.2", "bf16"),
    ],
)
def test_a_gpu_gets_the_short_numbers_it_has_units_for(
    make_gpu: Callable[..., None], capability: tuple[int, int], hip: str | None, precision: str
) -> None:
    make_gpu(capability, hip=hip)
    choice = choose_device()
    assert (choice.device.type, choice.precision) == ("cuda", precision)
    assert choice.memory_format == torch.channels_last
    assert "Test GPU" in choice.reasons[0]
    assert precision in choice.reasons[1]
    contiguous = choose_device(precision="fp32", memory_format="contiguous")
    assert (contiguous.precision, contiguous.memory_format) == ("fp32", torch.contiguous_format)


def test_the_gpu_asked_for_decides_not_the_first(make_gpu: Callable[..., None]) -> None:
    make_gpu((9, 0), (7, 5))
    assert choose_device("cuda:1").precision == "fp16"
    assert choose_device("cuda:0").precision == "bf16"


def test_an_apple_gpu_computes_contiguous_in_fp32(monkeypatch: pytest.MonkeyPatch, stand_on: Stand) -> None:
    stand_on(None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    choice = choose_device()
    assert (choice.device.type, choice.precision) == ("mps", "fp32")
    assert choice.memory_format == torch.contiguous_format
    assert choose_device(memory_format="channels-last").memory_format == torch.channels_last


def test_cuda_is_prepared_for_the_precision(
    make_gpu: Callable[..., None], cuda_settings: Callable[[], tuple[bool, str, str]]
) -> None:
    make_gpu((9, 0))
    prepare_backends(choose_device("cuda", precision="fp32"))
    assert cuda_settings() == (True, "ieee", "ieee")
    prepare_backends(choose_device("cuda"))
    assert cuda_settings() == (True, "tf32", "tf32")


def test_a_cpu_leaves_cuda_alone(cuda_settings: Callable[[], tuple[bool, str, str]]) -> None:
    before = cuda_settings()
    prepare_backends(choose_device("cpu", precision="fp32", memory_format="contiguous"))
    assert cuda_settings() == before


def test_autocast_follows_the_precision() -> None:
    product = {}
    for precision in ("fp32", "bf16"):
        with choose_device("cpu", precision=precision).autocast():
            product[precision] = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    assert product == {"fp32": torch.float32, "bf16": torch.bfloat16}
    assert not torch.is_autocast_enabled("cpu")


def test_a_choice_gives_its_reasons(stand_on: Stand) -> None:
    stand_on()
    choice = choose_device("cpu", num_threads=3)
    assert choice == DeviceChoice(
        device=torch.device("cpu"),
        precision="fp32",
        memory_format=torch.channels_last,
        num_threads=3,
        reasons=choice.reasons,
    )
    starts = ("Device: cpu, ", "Precision: fp32, ", "Memory format: channels-last, ", "Threads: 3, ")
    assert len(choice.reasons) == len(starts)
    for reason, start in zip(choice.reasons, starts, strict=True):
        assert reason.startswith(start)
        assert reason.endswith(".")


def test_only_the_allowed_cores_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    monkeypatch.setattr(device, "find_out", lambda: PLAIN)
    assert default_num_threads() == choose_device("cpu").num_threads == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_num_threads() == 1


def test_this_machine_gets_settings_it_can_compute_with() -> None:
    choice = choose_device()
    assert choice.num_threads == min(choice.num_threads, default_num_threads())
    images = torch.ones(2, 3, 8, 8, device=choice.device).contiguous(memory_format=choice.memory_format)
    with choice.autocast():
        assert torch.nn.functional.conv2d(images, torch.ones(4, 3, 3, 3, device=choice.device)).shape == (2, 4, 6, 6)


def failing_import(error: Exception) -> Callable[..., Any]:
    real = builtins.__import__

    def fail(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "torchvision":
            raise error
        return real(name, *arguments, **named)

    return fail


@pytest.mark.parametrize(
    "error",
    [
        ImportError("/opt/venv/lib/torchvision/_C.so: undefined symbol: _ZN3c10"),
        RuntimeError("operator torchvision::nms does not exist\nmore"),
        AttributeError("partially initialized module 'torchvision' has no attribute 'extension'"),
        OSError("/opt/venv/lib/libcudart.so.12: cannot open shared object file"),
        RuntimeError(""),
    ],
)
def test_a_torchvision_of_another_build_is_named_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(builtins, "__import__", failing_import(error))
    with pytest.raises(DeviceError, match="pip install --force-reinstall torch torchvision") as caught:
        import_torchvision()
    assert "/opt" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_cure_names_the_problem() -> None:
    assert "torchvision::nms does not exist" in torchvision_cure("operator torchvision::nms does not exist\nTraceback")
    assert import_torchvision().__name__ == "torchvision"
