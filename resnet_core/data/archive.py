"""A zip as a source of pictures, read in place: nothing is extracted, so nothing can land anywhere.

`open_archive` judges the whole directory of the zip first (names, kinds, sizes, overlaps) and refuses it as
one; `Archive.read` then streams one member under a byte counter, since a directory may lie about sizes.
"""

import io
import os
import re
import stat
import threading
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from resnet_core.data.image_gate import display_name, visible_text
from resnet_core.errors import ArchiveError

MAX_TOTAL_BYTES = 2_000_000_000  # of the zip itself, and of all its members as declared
MAX_MEMBER_BYTES = 50_000_000
MAX_RATIO = 100  # unpacked to packed; photographs hardly shrink at all
RATIO_EXEMPT_BYTES = 1_000_000  # a small text or flat drawing may shrink more and harms nobody
MAX_ENTRIES = 200_000  # not HARDENING's 50,000, because cifar10.zip alone has 60,000 pictures
MAX_FOLDERS = 6  # wrapper/train/class/picture.jpg has three
MAX_COMPONENT_BYTES = 255  # what common file systems allow for one name

_CHUNK_BYTES = 1 << 18
_LOCAL_HEADER_BYTES = 30
_ENTRY_SIGNATURE = b"PK\x01\x02"
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # general purpose bits 0, 6 and 13 (APPNOTE 4.4.4)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # an LZMA header may demand 4 GB of memory
_SYSTEM_FILE = re.compile(r"(?:^|/)(?:\.[^/]*|__macosx|thumbs\.db|desktop\.ini)(?:/|$)", re.I)
_UNSAFE_PATH = re.compile(r"/|[A-Za-z]:|(?:.*/)?\.\.(?:/|$)", re.S)


@dataclass(frozen=True)
class ArchiveMember:
    """One regular file in a zip, as its directory declares it."""

    path: str  # relative, parts joined by "/"; not cleaned for display
    size: int  # bytes, unpacked
    crc: int  # CRC-32 of the unpacked bytes: equal files have equal size and crc


class Archive:
    """An opened zip; threads may share it, processes may not (a forked child shares the file position)."""

    def __init__(self, opened: zipfile.ZipFile, stream: IO[bytes], shown: str) -> None:
        """Judge the directory; raises `ArchiveError` where it is unsafe, over a limit or empty."""
        _require_safe(opened, shown)
        self._entries: dict[str, zipfile.ZipInfo] = {}
        ignored: list[str] = []
        folders: list[str] = []
        for entry in opened.infolist():
            path = _path_of(entry)
            if _SYSTEM_FILE.search(path):
                ignored += [] if path.endswith("/") else [path]
            elif path.endswith("/"):
                folders.append(path.rstrip("/"))
            else:
                self._entries[path] = entry  # of two entries with one name the later counts, as for unzip
        if not self._entries:
            raise ArchiveError(f"{shown} holds no files; put the class folders with their pictures into it.")
        _require_small(self._entries.values(), shown)
        self.name = shown
        self.members = tuple(ArchiveMember(path, e.file_size, e.CRC) for path, e in self._entries.items())
        self.ignored = tuple(ignored)
        self.folders = tuple(folders)  # those with an entry of their own, which empty ones need
        self._zip = opened
        self._stream = stream
        self._lock = threading.Lock()

    def read(self, member: ArchiveMember) -> bytes:
        """Return the member's unpacked bytes, checked against its size and CRC; raises `ArchiveError`."""
        entry = self._entries.get(member.path)
        if entry is None:
            raise ArchiveError(f"{visible_text(member.path)} is not in {self.name}; open the zip again.")
        try:
            with self._lock, self._zip.open(entry) as stream:
                return _read_counted(stream, entry.file_size)
        except Exception as error:  # BadZipFile, zlib.error, EOFError, struct.error, OSError and more
            if self._stream.closed:
                raise ArchiveError(f"{self.name} is already closed; open it again.") from error
            shown = f"{visible_text(member.path)} in {self.name}"
            raise ArchiveError(f"{shown} is damaged or incomplete; pack or copy the zip again.") from error

    def close(self) -> None:
        """Give the file back; reading afterwards raises `ArchiveError`."""
        with self._lock:
            self._zip.close()
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_archive(path: str | Path, *, name: str | None = None) -> Archive:
    """Return the zip, its directory judged and nothing unpacked; raises `ArchiveError` with the reason.

    `name` is what messages call it (default: the file's own).
    """
    shown = display_name(path if name is None else name)
    stream = _open_regular(path, shown)
    try:
        return Archive(zipfile.ZipFile(stream), stream, shown)
    except ArchiveError:
        stream.close()
        raise
    except Exception as error:  # BadZipFile, struct.error, UnicodeDecodeError, NotImplementedError, …
        with stream:
            stream.seek(0)
            begins_as_zip = stream.peek(4)[:4] == b"PK\x03\x04"
        if begins_as_zip:
            raise ArchiveError(f"{shown} is damaged or incomplete (truncated); copy it again.") from error
        raise ArchiveError(f"{shown} is not a zip archive; pack the folder as .zip and try again.") from error


class _ZipStream(io.BufferedReader):
    """A file that refuses a directory of too many entries before `zipfile` builds an object for each."""

    shown = ""

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        if len(content) > 4 * _CHUNK_BYTES and content.count(_ENTRY_SIGNATURE) > MAX_ENTRIES:
            raise _too_many(self.shown)
        return content


def _open_regular(path: str | Path, shown: str) -> _ZipStream:
    """Open without ever waiting for a pipe or device."""
    try:
        _require_regular(os.stat(path), shown)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        stream = _ZipStream(io.FileIO(os.open(path, flags), "rb"))
    except FileNotFoundError as error:
        raise ArchiveError(f"{shown} was not found; check the name and the folder.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ArchiveError(f"{shown} cannot be opened; check its name and permissions.") from error
    stream.shown = shown
    return stream


def _require_regular(status: os.stat_result, shown: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise ArchiveError(f"{shown} is {kind}; choose a .zip file.")
    if status.st_size == 0:
        raise ArchiveError(f"{shown} is empty (0 bytes).")
    if status.st_size > MAX_TOTAL_BYTES:
        raise ArchiveError(f"{shown} is larger than {MAX_TOTAL_BYTES / 1e9:g} GB; split or shrink the pictures.")


def _path_of(entry: zipfile.ZipInfo) -> str:
    """Return the path as "a/b/c"; some programs write "a\\b\\c", others "./a//b/c"."""
    path = entry.filename.replace("\\", "/").removeprefix("./")
    return re.sub("/(?:[.]?/)+", "/", path) if "//" in path or "/./" in path else path


def _require_safe(opened: zipfile.ZipFile, shown: str) -> None:
    """Refuse what no honest zip of pictures contains, naming the entries."""
    entries = opened.infolist()
    if len(entries) > MAX_ENTRIES:
        raise _too_many(shown)
    _refuse(shown, "unsafe paths", (e for e in entries if _UNSAFE_PATH.match(_path_of(e))))
    _refuse(shown, "links or special files", (e for e in entries if not _is_plain(e)))
    reason = "encrypted entries (pack it without a password)"
    _refuse(shown, reason, (e for e in entries if e.flag_bits & _ENCRYPTED))
    reason = "entries of an unusual compression (pack it as an ordinary zip)"
    _refuse(shown, reason, (e for e in entries if e.compress_type not in _METHODS))
    _refuse(shown, "overlapping entries", _overlapping(entries, opened.start_dir))
    declared = sum(entry.file_size for entry in entries)
    if declared > MAX_TOTAL_BYTES:
        size = f"{declared / 1e9:,.1f} GB; limit {MAX_TOTAL_BYTES / 1e9:g}"
        raise ArchiveError(f"{shown} unpacks to {size}. Split or shrink the pictures.")


def _require_small(entries: Iterable[zipfile.ZipInfo], shown: str) -> None:
    """Refuse members over a limit, naming them."""
    kept = list(entries)
    over = f"files over {MAX_MEMBER_BYTES // 1_000_000} MB"
    _refuse(shown, over, (e for e in kept if e.file_size > MAX_MEMBER_BYTES))
    over = f"files that grow more than {MAX_RATIO}:1 when unpacked"
    _refuse(shown, over, (e for e in kept if _is_bomb(e)))
    over = f"files more than {MAX_FOLDERS} folders deep"
    _refuse(shown, over, (e for e in kept if _path_of(e).count("/") > MAX_FOLDERS))
    over = f"names longer than {MAX_COMPONENT_BYTES} bytes"
    _refuse(shown, over, (e for e in kept if _longest_component(_path_of(e)) > MAX_COMPONENT_BYTES))


def _refuse(shown: str, reason: str, entries: Iterable[zipfile.ZipInfo]) -> None:
    names = [visible_text(entry.filename) for entry in entries]
    if names:
        more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
        raise ArchiveError(f"{shown} is refused, it has {reason}: {', '.join(names[:3])}{more}.")


def _too_many(shown: str) -> ArchiveError:
    return ArchiveError(f"{shown} has more than {MAX_ENTRIES:,} entries, the limit; split it.")


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    """Tell whether it is a file or folder; the upper half of the attributes is a Unix mode, or zero."""
    return stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)


def _is_bomb(entry: zipfile.ZipInfo) -> bool:
    return entry.file_size > max(RATIO_EXEMPT_BYTES, MAX_RATIO * entry.compress_size)


def _longest_component(path: str) -> int:
    if len(path) <= MAX_COMPONENT_BYTES // 4:  # UTF-8 takes at most four bytes for a character
        return 0
    return max(len(part.encode("utf-8", "surrogatepass")) for part in path.split("/"))


def _overlapping(entries: list[zipfile.ZipInfo], directory_start: int) -> list[zipfile.ZipInfo]:
    """Return entries that share bytes with the next one or the directory: how 42 kB become terabytes."""
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    starts = [entry.header_offset for entry in ordered[1:]] + [directory_start]
    return [
        entry
        for entry, end in zip(ordered, starts, strict=False)  # an empty zip has only the directory
        if entry.header_offset < 0 or entry.header_offset + _LOCAL_HEADER_BYTES + entry.compress_size > end
    ]


def _read_counted(stream: IO[bytes], declared: int) -> bytes:
    """Return exactly the declared bytes; raises `EOFError` or `OverflowError` where that fails."""
    limit = min(declared, MAX_MEMBER_BYTES)
    parts, total = [], 0
    while part := stream.read(_CHUNK_BYTES):
        parts.append(part)
        total += len(part)
        if total > limit:
            raise OverflowError("more bytes than declared")
    if total < declared:
        raise EOFError("fewer bytes than declared")
    return b"".join(parts)
