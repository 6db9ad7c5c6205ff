"""The device asked for or a sentence; a generator that nobody else can disturb."""

import builtins
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from resnet_core import device
from resnet_core.device import (
    DeviceChoice,
    choose_device,
    default_num_threads,
    import_torchvision,
    make_generator,
    torchvision_cure,
)
from resnet_core.errors import DeviceError


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


@pytest.mark.parametrize(
    ("gain", "expected"), [(0.0, "fp32"), (0.05, "fp32"), (1.19, "fp32"), (1.2, "bf16"), (3.0, "bf16")]
)
def test_bf16_on_a_cpu_must_be_measurably_faster(monkeypatch: pytest.MonkeyPatch, gain: float, expected: str) -> None:
    monkeypatch.setattr(device, "cpu_bf16_gain", lambda: gain)
    assert choose_device("cpu").precision == expected


def test_bf16_is_not_even_timed_without_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(dtype: torch.dtype) -> float:
        raise AssertionError("emulated bf16 is 20 times slower than fp32")

    monkeypatch.setattr(device, "_cpu_has_bf16", lambda: False)
    monkeypatch.setattr(device, "_time_convolution", forbidden)
    assert device.cpu_bf16_gain.__wrapped__() == 0.0


def test_bf16_is_timed_with_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {torch.float32: 0.03, torch.bfloat16: 0.01}
    monkeypatch.setattr(device, "_cpu_has_bf16", lambda: True)
    monkeypatch.setattr(device, "_time_convolution", times.__getitem__)
    assert device.cpu_bf16_gain.__wrapped__() == pytest.approx(3.0)
    monkeypatch.undo()
    assert 0 < device._time_convolution(torch.float32) < 5


def test_autocast_follows_the_precision() -> None:
    product = {}
    for precision in ("fp32", "bf16"):
        with choose_device("cpu", precision=precision).autocast():
            product[precision] = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    assert product == {"fp32": torch.float32, "bf16": torch.bfloat16}
    assert not torch.is_autocast_enabled("cpu")


def test_a_choice_gives_its_reasons() -> None:
    choice = choose_device("cpu", num_threads=3)
    assert choice == DeviceChoice(
        device=torch.device("cpu"), precision=choice.precision, num_threads=3, reasons=choice.reasons
    )
    assert choice.memory_format == torch.channels_last
    assert len(choice.reasons) == 2
    assert all(reason.endswith(".") and ": " in reason for reason in choice.reasons)


def test_only_the_allowed_cores_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert default_num_threads() == choose_device("cpu").num_threads == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_num_threads() == 1


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
