"""One file, whole or refused: in a sentence, without a server path, before anything is overwritten."""

import json
import math
import os
import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import CheckpointError
from resnet_core.models.zoo import build_model
from resnet_core.training import checkpoint as module
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, read_checkpoint, save_checkpoint

NAMES = ("daisy", "Löwenzahn 🌼", "<img onerror=alert(1)>")


def trained(model: nn.Module, *, variance: float = 1e-6) -> nn.Module:
    """Weights and BatchNorm statistics as after a training; variances may be tiny."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(variance / 1000, variance, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.1, generator=generator)
        else:
            tensor.fill_(1234567)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return trained(build_model("resnet18", num_classes=3, width=8, stem="small"))


@pytest.fixture(scope="module")
def described(model: nn.Module) -> Checkpoint:
    return Checkpoint(
        architecture="resnet18",
        architecture_arguments=dict(model.architecture_arguments),  # type: ignore[arg-type]
        class_names=NAMES,
        preprocessing=Preprocessing(resize=40, crop=32, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
        flip_average=True,
        temperature=1.7,
        unknown_threshold=0.31,
        metrics={"val_top1": 0.9, "val_loss": 0.3},
        training={"config": {"epochs": 3}, "epoch": 2},
        data_fingerprint="abc",
    )


@pytest.fixture
def saved(tmp_path: Path, described: Checkpoint, model: nn.Module) -> Path:
    path = tmp_path / "own.safetensors"
    save_checkpoint(path, described, model.state_dict())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert len(message) < 300
    assert "\n" not in message
    assert str(path.parent) not in message
    return message


def rewrite(path: Path, **changes: Any) -> None:
    """The same file with another description, as a forger who knows the format would write it."""
    with safe_open(path, framework="pt") as opened:
        header = json.loads(opened.metadata()["resnet_lab"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    header |= changes
    header["description_sha256"] = module._description_checksum(header)
    save_file(tensors, path, metadata={"resnet_lab": json.dumps(header)})


def test_round_trip_is_exact(saved: Path, described: Checkpoint, model: nn.Module) -> None:
    loaded, other = load_checkpoint(saved)
    assert loaded == Checkpoint(**{**vars(described), "versions": loaded.versions})
    assert loaded.versions["torch"] == torch.__version__
    assert read_checkpoint(saved) == loaded
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(model(images), other(images))
    assert not other.training
    assert all(p.device.type == "cpu" and p.dtype == torch.float32 for p in other.parameters())
    assert all(p.requires_grad for p in other.parameters()), "it can be trained on"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet20", {}),
        ("resnet20", {"residual": False}),
        ("tutorial-cifar", {"as_published": True}),
        ("resnet50", {"width": 8}),
        ("resnet18", {"width": 8, "zero_init_residual": True}),
    ],
)
def test_every_family_comes_back(name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    model = trained(build_model(name, num_classes=2, **arguments), variance=100.0)
    made = Checkpoint(
        architecture=name,
        architecture_arguments=dict(model.architecture_arguments),
        class_names=("a", "b"),
        preprocessing=Preprocessing(resize=32, crop=32),
    )
    save_checkpoint(tmp_path / "m.safetensors", made, model.state_dict())
    _, other = load_checkpoint(tmp_path / "m.safetensors")
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(model(images), other(images))


def test_half_precision_is_smaller_close_and_keeps_batch_norm_exact(
    tmp_path: Path, described: Checkpoint, model: nn.Module, saved: Path
) -> None:
    half = tmp_path / "half.safetensors"
    save_checkpoint(half, described, model.state_dict(), half=True)
    assert half.stat().st_size < 0.6 * saved.stat().st_size
    _, other = load_checkpoint(half)
    for name, tensor in model.state_dict().items():
        got = other.state_dict()[name]
        assert got.dtype == tensor.dtype
        if "bn" in name or "running" in name or tensor.ndim < 2:
            assert torch.equal(got, tensor), name
        else:
            assert torch.allclose(got, tensor, rtol=1e-3, atol=1e-6), name
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        one, two = model(images), other(images)
    assert torch.allclose(one, two, rtol=2e-2, atol=2e-2 * float(one.abs().max()))


def test_any_flipped_bit_is_noticed(saved: Path, described: Checkpoint, model: nn.Module) -> None:
    content = saved.read_bytes()
    header_length = struct.unpack("<Q", content[:8])[0]
    generator = torch.Generator().manual_seed(0)
    places = [
        *range(8),
        *torch.randint(8, header_length + 8, (150,), generator=generator).tolist(),
        *torch.randint(header_length + 8, len(content), (50,), generator=generator).tolist(),
        len(content) - 1,
    ]
    described_at = content.index(b"resnet_lab")
    places += range(described_at + 10, described_at + 400, 7)
    refused = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        saved.write_bytes(damaged)
        try:
            loaded, other = load_checkpoint(saved)
        except CheckpointError:
            refused += 1
            continue
        assert {**vars(loaded), "versions": None} == {**vars(described), "versions": None}, place
        assert all(torch.equal(other.state_dict()[n], t) for n, t in model.state_dict().items()), place
    assert refused > 0.95 * len(places)


def test_a_flipped_letter_in_the_description_is_noticed(saved: Path) -> None:
    for before, after in ((b"daisy", b"daisx"), (b": 1.7", b": 9.7"), (b": 0.31", b": 0.01"), (b": 40", b": 48")):
        content = saved.read_bytes()
        assert content.count(before) == 1
        saved.write_bytes(content.replace(before, after))
        assert "damaged" in refusal(saved)
        saved.write_bytes(content)
    load_checkpoint(saved)


def test_a_file_from_before_the_description_was_checked_still_opens(saved: Path) -> None:
    with safe_open(saved, framework="pt") as opened:
        header = json.loads(opened.metadata()["resnet_lab"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    del header["description_sha256"]
    save_file(tensors, saved, metadata={"resnet_lab": json.dumps(header)})
    assert load_checkpoint(saved)[0].class_names == NAMES


@pytest.mark.parametrize("share", [0, 0.0001, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused_quickly(share: float, saved: Path) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    started = time.perf_counter()
    refusal(saved)
    assert time.perf_counter() - started < 0.5


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {MARKER}",)


MARKER = Path("/tmp") / f"resnet-lab-pickle-ran-{os.getpid()}"


@pytest.mark.parametrize("kind", ["pickle", "torch", "html", "jpeg", "4tb", "overlap", "folder", "missing"])
def test_what_is_no_checkpoint_is_refused_and_never_run(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif kind == "torch":
        torch.save({"a": Bomb()}, path)
    elif kind == "html":
        path.write_text("<!doctype html><html></html>" * 100)
    elif kind == "jpeg":
        path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(1000))
    elif kind == "4tb":
        path.write_bytes(struct.pack("<Q", 4 << 40) + b"{}")
    elif kind == "overlap":
        entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        text = json.dumps({"a": entry, "b": entry}).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    elif kind == "folder":
        path.mkdir()
    assert "model.safetensors" in refusal(path)
    assert not MARKER.exists()


def test_foreign_safetensors_are_named_as_such(tmp_path: Path, model: nn.Module) -> None:
    path = tmp_path / "timm.safetensors"
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, path)
    assert "not written by ResNet Lab" in refusal(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"resnet_lab": "[" * 100_000})
    assert "description" in refusal(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"resnet_lab": '"text"'})
    assert "description" in refusal(path)


def test_a_newer_format_is_named_as_such(saved: Path) -> None:
    rewrite(saved, format_version=3)
    assert "newer" in refusal(saved)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused_with_the_layer(
    value: float, tmp_path: Path, described: Checkpoint, model: nn.Module
) -> None:
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights["layer3.0.conv2.weight"][0, 0, 0, 0] = value
    save_checkpoint(tmp_path / "nan.safetensors", described, weights)
    assert "layer3.0.conv2.weight" in refusal(tmp_path / "nan.safetensors")


FORGED: list[dict[str, Any]] = [
    {"class_names": ["a", "b"]},
    {"class_names": ["a"] * 50_000},
    {"class_names": "abc"},
    {"class_names": [1, 2, 3]},
    {"class_names": None},
    {"architecture": "resnet34"},
    {"architecture": "resnet19"},
    {"architecture": "x" * 10_000},
    {"architecture": None},
    {"architecture_arguments": {}},
    {"architecture_arguments": {"num_classes": 3}},
    {"architecture_arguments": {"num_classes": 10**30}},
    {"architecture_arguments": {"num_classes": 3, "width": 1024}},
    {"architecture_arguments": {"num_classes": 3, "width": 10**9}},
    {"architecture_arguments": {"num_classes": 3, "stem": "x" * 9000}},
    {"architecture_arguments": {"num_classes": 3, "pretrained": True}},
    {"architecture_arguments": {"num_classes": 3, "__class__": 1}},
    {"architecture_arguments": [1, 2]},
    {"preprocessing": {}},
    {"preprocessing": {"resize": 10**9, "crop": 10**9, "mean": [0, 0, 0], "std": [1, 1, 1]}},
    {"preprocessing": {"resize": 32, "crop": 32, "mean": [0, 0, 0], "std": [0, 1, 1]}},
    {"preprocessing": "none"},
    {"temperature": 0},
    {"temperature": -1},
    {"temperature": math.nan},
    {"temperature": "hot" * 3000},
    {"unknown_threshold": "x"},
    {"unknown_threshold": [1]},
    {"metrics": 5},
    {"format_version": "1"},
]


@pytest.mark.parametrize("changes", FORGED, ids=lambda value: str(value)[:60])
def test_a_forged_description_is_refused_in_one_short_sentence(changes: dict[str, Any], saved: Path) -> None:
    rewrite(saved, **changes)
    refusal(saved)


def test_a_forged_giant_costs_no_memory(saved: Path) -> None:
    import resource

    rewrite(saved, architecture="resnet152", architecture_arguments={"num_classes": 3, "width": 1024})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    refusal(saved)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024, "in KiB"
    assert time.perf_counter() - started < 5


def wrong_shape(weights: dict[str, torch.Tensor]) -> None:
    weights["fc.weight"] = weights["fc.weight"].T.contiguous()


def one_missing(weights: dict[str, torch.Tensor]) -> None:
    del weights["bn1.bias"]


def one_more(weights: dict[str, torch.Tensor]) -> None:
    weights["extra" * 200] = torch.zeros(1)


def none_at_all(weights: dict[str, torch.Tensor]) -> None:
    weights.clear()


@pytest.mark.parametrize("spoil", [wrong_shape, one_missing, one_more, none_at_all])
def test_weights_that_do_not_fit_are_refused_in_one_line(
    spoil: Callable[[dict[str, torch.Tensor]], None], tmp_path: Path, described: Checkpoint, model: nn.Module
) -> None:
    weights = dict(model.state_dict())
    spoil(weights)
    save_checkpoint(tmp_path / "odd.safetensors", described, weights)
    refusal(tmp_path / "odd.safetensors")


def test_a_refused_file_leaves_the_random_state_and_a_loaded_one_too(saved: Path) -> None:
    before = torch.get_rng_state()
    load_checkpoint(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_names_that_are_no_utf8_survive(tmp_path: Path, described: Checkpoint, model: nn.Module) -> None:
    odd = Checkpoint(**{**vars(described), "class_names": ("a\udcff", "b\n", "c\x00")})
    save_checkpoint(tmp_path / "odd.safetensors", odd, model.state_dict())
    assert load_checkpoint(tmp_path / "odd.safetensors")[0].class_names == odd.class_names


def test_a_failed_save_leaves_the_file_that_was_there(
    saved: Path, described: Checkpoint, model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(saved, described, model.state_dict())
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name], "no temporary file stays"
