"""What a file of weights from elsewhere must pass before anything reads it: size, magic bytes, structure.

`torch.load(weights_only=True)` stops code, but a 3 MB file with a deflated record took 3 GB of memory. So nothing may
be compressed, nothing may be larger inside than the file is outside, parts may not overlap, and every checksum is
compared. All failures are `CheckpointError`s whose message begins with the file's name.
"""

import os
import re
import stat
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal, NoReturn

from resnet_core.errors import CheckpointError
from resnet_core.inference.pickled_names import refusal

MAX_FILE_BYTES = 2_000_000_000  # a ResNet-152 with Adam's two moments takes 0.7 GB
MAX_MEMBERS = 10_000  # ResNet-1202 has 7,208 tensors, the zip one member for each
MAX_DIRECTORY_BYTES = 4_000_000  # of the zip's list of members
MAX_PICKLE_BYTES = 16_000_000  # names and shapes without values; 0.2 MB for a ResNet-152
MAX_HEADER_BYTES = 8_000_000  # of a safetensors file
_SAVE = "where it comes from, save only the weights: torch.save(model.state_dict(), …)"
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # general purpose bits 0, 6 and 13 (APPNOTE 4.4.4)
_LOCAL_HEADER_BYTES = 30

Form = Literal["torch", "safetensors"]

_KINDS = (
    (rb"\s*(?:<!--.{0,1000}?-->\s*)?<(?:!doctype|html|head|body|script|title|div|p)\b", "HTML"),
    (rb"\xff\xd8\xff", "a JPEG picture"),
    (rb"\x89PNG", "a PNG picture"),
    (rb"\x89HDF", "a Keras or HDF5 file"),
    (rb"%PDF", "a PDF document"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|.{257}ustar", "a compressed archive"),
    (rb"version https://git-lfs", "a Git LFS pointer instead of the file itself"),
    (rb"MZ|\x7fELF|\xcf\xfa\xed\xfe", "a program"),
    (rb"\s*[\[{]", "JSON"),
)


def judge_file(path: Path, shown: str) -> Form:
    """How the file is to be read: as torch.save wrote it, or as safetensors. Raises CheckpointError, at once."""
    size = _regular_size(path, shown)
    if size == 0:
        raise CheckpointError(f"{shown} is not a readable checkpoint: it is empty (0 bytes).")
    if size > MAX_FILE_BYTES:
        raise CheckpointError(f"{shown} is larger than 2 GB, the limit; no ResNet's weights are.")
    try:
        with path.open("rb") as stream:
            return _judge_content(stream, size, shown)
    except OSError as error:
        raise CheckpointError(f"{shown} cannot be read; check its permissions and the disk.") from error


def _regular_size(path: Path, shown: str) -> int:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise CheckpointError(f"{shown} was not found; check the name and the folder.") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise CheckpointError(f"{shown} is {kind}; choose a .pth, .pt or .safetensors file.")
    return status.st_size


def _judge_content(stream: IO[bytes], size: int, shown: str) -> Form:
    head = stream.read(1024)
    promised = shown.strip("“”").lower().endswith(".safetensors")
    if _begins_as_safetensors(head, size):  # first: a header's length may look like any magic bytes
        _check_header(head, size, shown)
        return "safetensors"
    if head.startswith(b"PK"):
        if promised:
            raise CheckpointError(f"{shown} is no safetensors file but a zip, as PyTorch writes; name it .pth.")
        check_zip(stream, size, shown)
        return "torch"
    if re.match(rb"\x80[\x00-\x05]", head):
        _refuse_pickle(stream, shown)
    if len(head) > 8 and head[8:9] == b"{":
        _check_header(head, size, shown)
        return "safetensors"
    if promised and size > 8 and not _kind(head):
        _check_header(head, size, shown)
    if reason := refusal(head):  # protocol 0 has no magic bytes
        raise CheckpointError(f"{shown} {reason}: {_SAVE}.")
    kind = _kind(head)
    raise CheckpointError(f"{shown} is not a readable checkpoint{f' (looks like {kind})' if kind else ''}.")


def _kind(head: bytes) -> str:
    return next((kind for pattern, kind in _KINDS if re.match(pattern, head, re.S | re.I)), "")


def _refuse_pickle(stream: IO[bytes], shown: str) -> NoReturn:
    """Bare pickles, and PyTorch's format from before 1.6, can only be loaded in trust."""
    stream.seek(0)
    if reason := refusal(stream.read(MAX_PICKLE_BYTES)):
        raise CheckpointError(f"{shown} {reason}: {_SAVE}.")
    raise CheckpointError(
        f"{shown} is a bare pickle or was written by a PyTorch before 1.6, a form that cannot be checked: "
        "load it where you trust it and save it again with torch.save."
    )


def _begins_as_safetensors(head: bytes, size: int) -> bool:
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= size - 8


def _check_header(head: bytes, size: int, shown: str) -> None:
    """The length of a safetensors header; what it says is checked by the library itself."""
    (length,) = struct.unpack("<Q", head[:8])
    if not 2 <= length <= size - 8:
        raise CheckpointError(f"{shown} is not a readable checkpoint: it is cut off or damaged; copy it again.")
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(f"{shown} has a header of {length / 1e6:,.0f} MB, as no file of weights has.")


def check_zip(stream: IO[bytes], size: int, shown: str) -> None:
    """Judges the zip that `torch.save` writes. Raises CheckpointError."""
    try:
        _check_directory(stream, size, shown)
        with zipfile.ZipFile(stream) as opened:
            members = opened.infolist()
            _check_kind(opened.namelist(), shown)
            _check_members(members, size, shown)
            _check_overlaps(stream, members, shown)
            _check_pickle(opened, shown)
            damaged = opened.testzip()
    except (zipfile.BadZipFile, EOFError, struct.error, ValueError, RuntimeError) as error:
        raise CheckpointError(_damaged(shown)) from error
    if damaged is not None:
        raise CheckpointError(_damaged(shown))


def _check_directory(stream: IO[bytes], size: int, shown: str) -> None:
    """The list of members must end where the end records begin: all readers of the zip then find the same list."""
    tail_at = max(0, size - 98)
    stream.seek(tail_at)
    tail = stream.read(98)
    end = tail[-22:]
    if len(end) < 22 or end[:4] != b"PK\x05\x06" or end[-2:] != b"\0\0":
        raise CheckpointError(_damaged(shown))
    length, start = struct.unpack("<LL", end[12:20])
    ends_at = size - 22
    if tail[-42:-38] == b"PK\x06\x07":
        if tail[:4] != b"PK\x06\x06" or len(tail) < 98:
            raise CheckpointError(_damaged(shown))
        small = (length, start)
        length, start = struct.unpack("<QQ", tail[40:56])
        if any(short not in (long, 0xFFFFFFFF) for short, long in zip(small, (length, start), strict=True)):
            raise CheckpointError(_damaged(shown))
        ends_at = size - 98
    if start + length != ends_at:
        raise CheckpointError(_damaged(shown))
    if length > MAX_DIRECTORY_BYTES:
        raise CheckpointError(f"{shown} has more than {MAX_MEMBERS:,} parts, as no ResNet's weights have.")


def _check_members(members: Sequence[zipfile.ZipInfo], size: int, shown: str) -> None:
    if len(members) > MAX_MEMBERS:
        raise CheckpointError(f"{shown} has more than {MAX_MEMBERS:,} parts, as no ResNet's weights have.")
    if any(member.flag_bits & _ENCRYPTED for member in members):
        raise CheckpointError(f"{shown} is encrypted; save the weights without a password.")
    if any(m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size for m in members):
        raise CheckpointError(f"{shown} is compressed inside, which torch.save never does; it was not unpacked.")
    if sum(member.file_size for member in members) > size:
        raise CheckpointError(f"{shown} claims more content than it has; it was not opened.")
    if len({member.filename for member in members}) < len(members):
        raise CheckpointError(f"{shown} has two parts of one name; it was not opened.")


def _check_overlaps(stream: IO[bytes], members: Sequence[zipfile.ZipInfo], shown: str) -> None:
    free_from = 0
    for member in sorted(members, key=lambda each: each.header_offset):
        stream.seek(member.header_offset)
        header = stream.read(_LOCAL_HEADER_BYTES)
        name, extra = struct.unpack("<HH", header[26:30])
        if member.header_offset < free_from:
            raise CheckpointError(f"{shown} has parts that overlap, as hostile files do; it was not opened.")
        free_from = member.header_offset + _LOCAL_HEADER_BYTES + name + extra + member.file_size


def _check_kind(names: Sequence[str], shown: str) -> None:
    """Only what torch.save lays out is weights."""
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        raise CheckpointError(f"{shown} is a TorchScript archive, which holds code: save `state_dict()` instead.")
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        raise CheckpointError(f"{shown} is an exported program (.pt2), not weights: save `state_dict()` instead.")
    pickles = sorted({name for name in names if name.endswith(".pkl")})
    if len(pickles) != 1 or pickles[0].count("/") != 1 or not pickles[0].endswith("/data.pkl"):
        raise CheckpointError(f"{shown} is a zip, but not one that torch.save wrote; choose the .pth file itself.")


def _check_pickle(opened: zipfile.ZipFile, shown: str) -> None:
    """What the pickle would call."""
    name = next(name for name in opened.namelist() if name.endswith(".pkl"))
    if opened.getinfo(name).file_size > MAX_PICKLE_BYTES:
        raise CheckpointError(f"{shown} holds much more than weights; {_SAVE}.")
    if reason := refusal(opened.read(name)):
        advice = "save `state_dict()` instead" if "whole model" in reason else _SAVE
        raise CheckpointError(f"{shown} {reason}: {advice}.")


def _damaged(shown: str) -> str:
    return f"{shown} is not a readable checkpoint: it is incomplete or damaged; copy it again."
