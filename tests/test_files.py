"""A file is whole or absent, whenever the writer dies and whoever else writes."""

import json
import math
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from resnet_core import files
from resnet_core.files import cache_dir, replacing, write_bytes, write_json, write_with

KILLS = 15
WRITER = """
import sys
from pathlib import Path
from resnet_core.files import write_bytes
versions = [bytes([letter]) * 4_000_000 for letter in b"abcdefg"]
while True:
    for version in versions:
        write_bytes(Path(sys.argv[1]), version)
"""


def test_a_writer_killed_at_any_moment_never_leaves_half_a_file(tmp_path: Path) -> None:
    target = tmp_path / "weights"
    moments = random.Random(5)
    interrupted = 0
    for _ in range(KILLS):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], cwd=Path(files.__file__).parents[1])
        before = target.stat().st_mtime_ns if target.exists() else 0
        deadline = time.monotonic() + 30
        while not target.exists() or target.stat().st_mtime_ns == before:  # it is at work
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05))
        writer.kill()
        writer.wait()
        content = target.read_bytes()
        assert content == content[:1] * 4_000_000
        for left in tmp_path.glob(".weights.*.part"):
            left.unlink()
            interrupted += 1
    assert interrupted > 0, "no kill fell into a write, so nothing was tested"


def give_up_halfway(path: Path) -> None:
    path.write_text("half")
    raise KeyboardInterrupt


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "state.json"
    write_json(target, {"epoch": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(target, {"loss": math.nan})
    with pytest.raises(KeyboardInterrupt):
        write_with(target, give_up_halfway)
    with pytest.raises(FileNotFoundError):
        write_with(target, lambda path: path.unlink())
    assert json.loads(target.read_text(encoding="utf-8")) == {"epoch": 1}
    assert [path.name for path in target.parent.iterdir()] == ["state.json"]


def test_the_new_file_can_be_read_by_whom_any_new_file_can(tmp_path: Path) -> None:
    ordinary, ours = tmp_path / "ordinary", tmp_path / "ours"
    ordinary.write_bytes(b"")
    write_bytes(ours, b"")
    assert ours.stat().st_mode == ordinary.stat().st_mode


def test_the_temporary_file_lies_beside_the_target(tmp_path: Path) -> None:
    for name in ("state.json", "n" * 250, "ü 🌻.json"):
        with replacing(tmp_path / name) as temporary:
            assert temporary.parent == tmp_path  # renaming is atomic only within one file system
            assert temporary.name.startswith(".")
            temporary.write_bytes(b"new")
        assert (tmp_path / name).read_bytes() == b"new"


def test_any_name_survives_json(tmp_path: Path) -> None:
    names = ["Gänseblümchen", "向日葵", "🌻", os.fsdecode(b"caf\xe9"), '<script>"\\', "\ud83c"]
    write_json(tmp_path / "names.json", names)
    content = (tmp_path / "names.json").read_bytes()
    assert json.loads(content.decode("utf-8")) == names
    assert "向日葵".encode() in content


def test_threads_that_write_one_file_at_once_each_write_it_whole(tmp_path: Path) -> None:
    target = tmp_path / "state"
    versions = [bytes([letter]) * 200_000 for letter in b"abcd"]
    seen: list[bytes] = []

    def write(version: bytes) -> None:
        for _ in range(10):
            write_bytes(target, version)
            seen.append(target.read_bytes())

    writers = [threading.Thread(target=write, args=(version,)) for version in versions]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(seen) == 40
    assert set(seen) <= set(versions)
    assert list(tmp_path.iterdir()) == [target]


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RESNET_LAB_CACHE", "~/mine")
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("RESNET_LAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_dir() == Path("/elsewhere/resnet-lab")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == tmp_path / ".cache" / "resnet-lab"


def test_a_user_without_a_home_has_a_cache_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("RESNET_LAB_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(tmp_path))
    assert cache_dir() == tmp_path / "resnet-lab"
