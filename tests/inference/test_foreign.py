"""Files from elsewhere: weights come out, or one sentence; nothing in a file is ever run."""

import argparse
import io
import json
import os
import pickle
import struct
import subprocess
import time
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from resnet_core.errors import CheckpointError
from resnet_core.inference import foreign_child as child
from resnet_core.inference.foreign import ForeignWeights, open_foreign
from resnet_core.inference.foreign_gate import judge_file
from resnet_core.inference.pickled_names import refusal
from resnet_core.models.zoo import build_model

SMALL = OrderedDict(weight=torch.arange(6.0).reshape(2, 3), bias=torch.tensor([0.5, -1.0]))


class Command:
    """Pickled, it would run a shell command when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def refused(path: Path, tmp_path: Path, *, seconds: float = 60.0) -> str:
    """The sentence a file is refused with; it names the file, not the folder."""
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    with pytest.raises(CheckpointError) as raised:
        open_foreign(path, scratch=scratch, seconds=seconds)
    sentence = str(raised.value)
    assert sentence.startswith((f"“{path.name}”", f"Reading “{path.name}”"))
    assert str(tmp_path) not in sentence
    assert "\n" not in sentence
    assert len(sentence) < 400
    return sentence


def opened(path: Path, tmp_path: Path) -> ForeignWeights:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return open_foreign(path, scratch=scratch, seconds=120)


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's code may be called in this process, whose memory it must not limit."""
    monkeypatch.setattr(child, "limit_memory", lambda extra: None)


def pickle_zip(path: Path, content: bytes, *, compression: int = zipfile.ZIP_STORED, **records: bytes) -> Path:
    """A zip as torch.save lays it out, with any pickle inside."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/byteorder", b"little")
        for name, record in records.items():
            archive.writestr(f"archive/data/{name}", record)
    return path


# Pickles that are more than tensors (rows 22 and 23)


@pytest.mark.parametrize("form", ["zip", "legacy", "raw", "raw, protocol 0", "raw, protocol 4"])
def test_code_is_named_and_never_run(tmp_path: Path, form: str):
    marker, path = tmp_path / "marker", tmp_path / "model.pth"
    content = {"state_dict": SMALL, "extra": Command(marker)}
    if form in ("zip", "legacy"):
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    else:
        protocol = int(form[-1]) if form[-1].isdigit() else 2
        path.write_bytes(pickle.dumps(Command(marker), protocol=protocol))
    sentence = refused(path, tmp_path)
    assert "contains code (posix.system)" in sentence or "contains code (nt.system)" in sentence
    assert "not opened" in sentence
    assert not marker.exists()


def test_what_the_gate_does_not_see_the_child_refuses(tmp_path: Path, unlimited: None):
    marker, path = tmp_path / "marker", tmp_path / "model.pth"
    torch.save({"state_dict": SMALL, "extra": Command(marker)}, path)
    with pytest.raises(child.Refused) as raised:
        child.convert(str(path), str(tmp_path / "out"))
    assert raised.value.answer["reason"] == "code"
    assert raised.value.answer["detail"].endswith(".system")
    assert not marker.exists()


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_whole_model_is_told_from_its_weights(tmp_path: Path, form: str):
    path = tmp_path / "model.pt"
    torch.save(build_model("resnet20"), path, _use_new_zipfile_serialization=form == "zip")
    assert "whole model" in refused(path, tmp_path)
    assert "state_dict()" in refused(path, tmp_path)


def test_torchscript_is_code(tmp_path: Path):
    path = tmp_path / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))
    assert "TorchScript archive, which holds code: save `state_dict()` instead" in refused(path, tmp_path)


@pytest.mark.parametrize(
    ("extra", "named"),
    [(argparse.Namespace(lr=1), "argparse.Namespace"), (np.float64(0.9), "numpy"), (Path("x"), "pathlib")],
)
def test_other_objects_are_named(tmp_path: Path, extra: Any, named: str):
    path = tmp_path / "model.pth"
    torch.save({"state_dict": SMALL, "extra": extra}, path)
    assert named in refused(path, tmp_path)


def test_the_old_format_is_refused_with_the_way_out(tmp_path: Path):
    path = tmp_path / "resnet34.pth"
    torch.save(SMALL, path, _use_new_zipfile_serialization=False)
    assert "before 1.6" in refused(path, tmp_path)
    assert "torch.save" in refused(path, tmp_path)


def test_the_names_of_ordinary_weights_are_harmless():
    content = {"state_dict": SMALL, "half": torch.zeros(1).half(), "parameter": nn.Parameter(torch.zeros(2))}
    stream = io.BytesIO()
    torch.save(content, stream)
    with zipfile.ZipFile(stream) as archive:
        assert refusal(archive.read("archive/data.pkl")) is None


# Files that are no checkpoints (row 24)


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
def test_other_files_are_named(tmp_path: Path, name: str):
    path = tmp_path / name
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "JPEG")
    for content, named in [
        (b"", "is not a readable checkpoint: it is empty (0 bytes)."),
        (b"<!DOCTYPE html><html><body>404</body></html>", "looks like HTML"),
        (stream.getvalue(), "looks like a JPEG picture"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "Keras or HDF5"),
        (b"abc", "not a readable checkpoint"),
        (bytes(1000), "not a readable checkpoint"),
    ]:
        path.write_bytes(content)
        assert named in refused(path, tmp_path)


def test_a_file_cut_anywhere_is_incomplete(tmp_path: Path):
    whole, path = tmp_path / "whole.pth", tmp_path / "cut.pth"
    torch.save(SMALL, whole)
    content = whole.read_bytes()
    for length in {*range(1, len(content), 97), *range(len(content) - 120, len(content))}:
        path.write_bytes(content[:length])
        assert "not a readable checkpoint" in refused(path, tmp_path)


def test_a_changed_byte_in_a_record_is_noticed(tmp_path: Path):
    path = tmp_path / "model.pth"
    torch.save(SMALL, path)
    content = path.read_bytes()
    at = content.index(SMALL["weight"].numpy().tobytes())
    path.write_bytes(content[:at] + b"\xff" + content[at + 1 :])
    assert "damaged" in refused(path, tmp_path)


def test_folders_pipes_and_missing_files_are_no_files(tmp_path: Path):
    assert "is a folder" in refused(tmp_path, tmp_path.parent)
    assert "was not found" in refused(tmp_path / "nothing.pth", tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pth")
        assert "no regular file" in refused(tmp_path / "pipe.pth", tmp_path)


def test_two_gigabytes_are_refused_unread(tmp_path: Path):
    path = tmp_path / "big.pth"
    with path.open("wb") as stream:
        stream.write(b"PK\x03\x04")
        stream.truncate(2_000_000_001)
    started = time.process_time()
    assert "larger than 2 GB" in refused(path, tmp_path)
    assert time.process_time() - started < 1  # reading it would take several


# Hostile zips (row 25)


def test_a_compressed_record_is_refused_without_unpacking(tmp_path: Path):
    path = pickle_zip(tmp_path / "bomb.pth", b"\x80\x02}.", compression=zipfile.ZIP_DEFLATED, **{"0": bytes(200 << 20)})
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        assert "compressed inside" in refused(path, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_too_many_parts_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = pickle_zip(tmp_path / "many.pth", b"\x80\x02}.", **{str(n): b"" for n in range(50)})
    monkeypatch.setattr("resnet_core.inference.foreign_gate.MAX_MEMBERS", 40)
    assert "more than 40 parts" in refused(path, tmp_path)
    monkeypatch.setattr("resnet_core.inference.foreign_gate.MAX_DIRECTORY_BYTES", 1000)
    assert "more than 40 parts" in refused(path, tmp_path)


def patched_directory(path: Path, member: int, offset: int, value: int) -> None:
    """Changes four bytes of an entry in the zip's list."""
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    for _ in range(member):
        at = content.index(b"PK\x01\x02", at + 4)
    struct.pack_into("<L", content, at + offset, value)
    path.write_bytes(content)


def test_sums_larger_than_the_file_are_refused(tmp_path: Path):
    path = pickle_zip(tmp_path / "liar.pth", b"\x80\x02}.", **{"0": b"1234"})
    for offset in (20, 24):  # packed and unpacked size
        patched_directory(path, 3, offset, 4_000_000_000)
    assert "claims more content than it has" in refused(path, tmp_path)


def test_overlapping_parts_are_refused(tmp_path: Path):
    path = pickle_zip(tmp_path / "overlap.pth", b"\x80\x02}.", **{"0": b"1234", "1": b"1234"})
    with zipfile.ZipFile(path) as archive:
        patched_directory(path, 4, 42, archive.infolist()[3].header_offset)
    assert "overlap" in refused(path, tmp_path)


def test_two_parts_of_one_name_are_refused(tmp_path: Path):
    path = tmp_path / "twice.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("archive/data.pkl", b"\x80\x02}.")
    assert "two parts of one name" in refused(path, tmp_path)


@pytest.mark.parametrize("where", ["before", "behind", "comment"])
def test_a_second_list_of_parts_has_no_place_to_hide(tmp_path: Path, where: str):
    path = pickle_zip(tmp_path / "model.pth", b"\x80\x02}.")
    content = path.read_bytes()
    if where == "before":
        content = content + content
    elif where == "behind":
        content = content + b"PK\x05\x06"
    else:
        content = content[:-2] + struct.pack("<H", 22) + b"PK\x05\x06" + bytes(18)
    path.write_bytes(content)
    assert "not a readable checkpoint" in refused(path, tmp_path)


def test_an_ordinary_zip_is_no_checkpoint(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "photos.pth", "w") as archive:
        archive.writestr("photos/tulip.jpg", b"\xff\xd8\xff")
    assert "not one that torch.save wrote" in refused(tmp_path / "photos.pth", tmp_path)


# What only shows while loading (rows 26 and 27)


def test_a_tensor_of_a_trillion_values_is_refused_before_any_copy(tmp_path: Path, unlimited: None):
    path = tmp_path / "huge.pth"
    torch.save({"fc.weight": torch.zeros(1).expand(10**6, 10**6), "fc.bias": torch.zeros(5)}, path)
    with pytest.raises(child.Refused) as raised:
        child.convert(str(path), str(tmp_path / "out"))
    assert raised.value.answer == {"reason": "shape", "detail": "fc.weight 1000000×1000000"}


def test_the_childs_reasons_become_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = pickle_zip(tmp_path / "model.pth", b"\x80\x02}.")
    for reason, words in [
        ("code", "contains code (odd.thing) and was not opened"),
        ("pickle", "holds more than tensors"),
        ("memory", "asks for more memory"),
        ("no tensors", "holds no weights"),
        ("kind", "a tensor no ResNet has (odd.thing"),
        ("shape", "far larger than the file (odd.thing); its shapes do not match its content"),
        ("damaged", "is not a readable checkpoint"),
        ("never heard of", "is not a readable checkpoint"),
    ]:
        answer = json.dumps({"reason": reason, "detail": "odd.thing\n"}).encode()
        done = subprocess.CompletedProcess([], 0, stdout=answer, stderr=b"")
        monkeypatch.setattr(subprocess, "run", lambda *_, done=done, **__: done)
        assert words in refused(path, tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], -9, b"", b""))
    assert "is not a readable checkpoint" in refused(path, tmp_path)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Only Linux lets a process limit its own memory.")
def test_a_pickle_that_asks_for_much_memory_is_refused(tmp_path: Path):
    hundred_gigabytes = b"\x80\x02cbuiltins\nbytearray\n\x8a\x05" + (10**11).to_bytes(5, "little") + b"\x85R."
    path = pickle_zip(tmp_path / "greedy.pth", hundred_gigabytes)
    assert "more memory" in refused(path, tmp_path)


def test_reading_without_end_is_ended(tmp_path: Path):
    """A tuple of a tuple of …, each twice: its hash takes 2⁶⁴ steps."""
    twice = b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(64))
    path = pickle_zip(tmp_path / "endless.pth", b"\x80\x02})" + twice + b"K\x01s.")
    assert "took longer than 1.5 s and was ended" in refused(path, tmp_path, seconds=1.5)
    assert os.listdir(tmp_path / "scratch") == []


def test_a_million_nested_lists_harm_nobody(tmp_path: Path):
    path = pickle_zip(tmp_path / "deep.pth", b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b".")
    sentence = refused(path, tmp_path)
    assert "was ended" in sentence or "holds no weights" in sentence


# Safetensors (row 32)


def header(fields: dict[str, Any], values: bytes = b"") -> bytes:
    text = json.dumps(fields).encode()
    return struct.pack("<Q", len(text)) + text + values


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 4 * 10**12) + b'{"a":1}',
        struct.pack("<Q", 9_000_000) + b"{" + bytes(9_000_100),
        header({"a": {"dtype": "F32", "shape": [100], "data_offsets": [0, 400]}}, bytes(396)),
        header({n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"}, bytes(8)),
        header({"a": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 8]}}, bytes(8)),
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(8))[:40],
        struct.pack("<Q", 200_000) + b'{"a":' + b"[" * 199_995,
        struct.pack("<Q", 7) + b'{"a":1}',
    ],
    ids=["4 TB", "9 MB", "truncated", "overlap", "too large", "cut", "nested", "no tensor"],
)
def test_damaged_safetensors_are_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    refused(path, tmp_path)


def test_a_pickle_is_no_safetensors_whatever_it_is_called(tmp_path: Path):
    marker, path = tmp_path / "marker", tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Command(marker), protocol=2))
    assert "contains code" in refused(path, tmp_path)
    torch.save(SMALL, path)
    assert "no safetensors file but a zip" in refused(path, tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x4B50], ids=["pickle 2", "pickle 3", "zip"])
def test_a_header_length_that_looks_like_magic_bytes_is_only_a_length(tmp_path: Path, length: int):
    fields = json.dumps({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "mine.safetensors"
    path.write_bytes(struct.pack("<Q", length) + fields.ljust(length) + struct.pack("<f", 0.5))
    assert judge_file(path, "“mine.safetensors”") == "safetensors"


def test_safetensors_are_read_in_place_also_under_another_name(tmp_path: Path):
    save_file(dict(SMALL), tmp_path / "weights.pth", metadata={"class_names": '["a", "b"]'})
    weights = opened(tmp_path / "weights.pth", tmp_path)
    assert (weights.form, weights.path, weights.class_names) == ("safetensors", tmp_path / "weights.pth", ("a", "b"))
    assert all(torch.equal(tensor, SMALL[name]) for name, tensor in weights.read().items())


# What comes out


def test_wrapped_weights_come_out_as_they_are_and_the_upload_goes(tmp_path: Path):
    shared = torch.randn(4, 4)
    odd = {
        "a.weight": shared.t(),
        "b.weight": shared,
        "c.weight": shared.half(),
        "d.num_batches_tracked": torch.tensor(7),
    }
    path = tmp_path / "run.pth"
    torch.save({"epoch": 3, "optimizer": {"state": {0: {"m": shared}}}, "state_dict": odd, "classes": ["x", "y"]}, path)
    assert judge_file(path, "“run.pth”") == "torch"
    (tmp_path / "scratch").mkdir()
    weights = open_foreign(path, scratch=tmp_path / "scratch", name="../../my run.pth", seconds=120, make_room=True)
    assert not path.exists()
    assert (weights.wrapper, weights.form, weights.name) == ("state_dict", "torch", "my run.pth")
    assert weights.class_names == ("x", "y")
    assert weights.shapes["c.weight"].precision == "F16"
    read = weights.read()
    assert read.keys() == odd.keys()
    assert all(torch.equal(read[name], odd[name]) and read[name].dtype == odd[name].dtype for name in odd)


# The child's own judgement, in this process


@pytest.mark.parametrize(
    ("content", "wrapper"),
    [
        (SMALL, ""),
        ({"model": SMALL}, "model"),
        ({"model_state_dict": SMALL, "optimizer_state_dict": {"state": {}}}, "model_state_dict"),
        ({"whatever": SMALL, "epoch": 3}, "whatever"),
        ({"checkpoint": {"state_dict": SMALL}}, "checkpoint.state_dict"),
        ({"ema": SMALL, "state_dict": SMALL}, "state_dict"),
        ({"mean": torch.zeros(3), "state_dict": SMALL}, "state_dict"),
    ],
)
def test_weights_are_found_in_their_wrapper(content: Any, wrapper: str):
    found = child.find_weights(content)
    assert found == (wrapper, dict(SMALL))


@pytest.mark.parametrize("content", [None, [], {}, {"epoch": 3}, [SMALL], {"a": {"b": {"c": SMALL}}}, torch.zeros(3)])
def test_no_weights_are_found_where_there_are_none(content: Any):
    with pytest.raises(child.Refused) as raised:
        child.find_weights(content)
    assert raised.value.answer["reason"] == "no tensors"


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(2, device="meta"),
    ],
    ids=["complex", "sparse", "meta"],
)
def test_kinds_of_tensors_no_resnet_has_are_refused(tensor: torch.Tensor):
    with pytest.raises(child.Refused) as raised:
        child.check_sizes({"layer": tensor}, 10**6)
    assert raised.value.answer == {"reason": "kind", "detail": "layer"}


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"classes": ["a", "b"]}, ["a", "b"]),
        ({"class_to_idx": {"b": 1, "a": 0}}, ["a", "b"]),
        ({"meta": {"categories": ("a", "b")}}, ["a", "b"]),
        ({"idx_to_class": {0: "a", 1: "b"}}, ["a", "b"]),
        ({"classes": [1, 2]}, []),
        ({"class_to_idx": {"a": 0, "b": 5}}, []),
        ({"classes": 5}, []),
        (None, []),
    ],
)
def test_class_names_beside_the_weights_are_found(content: Any, names: list[str]):
    assert child.find_class_names(content) == names
