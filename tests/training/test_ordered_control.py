"""Wishes that travel through a file: heeded once, told again only when they change, and never a danger."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from resnet_core.training import orders as module
from resnet_core.training.control import Control, StopAsked
from resnet_core.training.orders import FILE, OrderedControl, OrderWriter


@pytest.fixture
def sender() -> Control:
    return Control()


@pytest.fixture
def writer(tmp_path: Path) -> OrderWriter:
    return OrderWriter(tmp_path)


@pytest.fixture
def heeding(tmp_path: Path) -> OrderedControl:
    return OrderedControl((), tmp_path)


def test_pause_and_resume_travel(sender: Control, writer: OrderWriter, heeding: OrderedControl) -> None:
    assert not heeding.pausing, "no file yet"
    writer.tell(sender)
    assert not heeding.pausing
    sender.pause()
    writer.tell(sender)
    assert heeding.pausing
    assert heeding.pausing
    sender.resume()
    writer.tell(sender)
    assert not heeding.pausing


def test_a_stop_ends_a_pause_and_stays(sender: Control, writer: OrderWriter, heeding: OrderedControl) -> None:
    sender.pause()
    writer.tell(sender)
    assert heeding.pausing
    sender.stop()
    writer.tell(sender)
    with pytest.raises(StopAsked):
        heeding.check()
    writer.remove()
    assert heeding.stopping_now


def test_a_stop_after_the_epoch_is_no_stop_now(sender: Control, writer: OrderWriter, heeding: OrderedControl) -> None:
    sender.stop(after_epoch=True)
    writer.tell(sender)
    heeding.check()
    assert heeding.ends_after_epoch


def test_a_change_is_taken_once(sender: Control, writer: OrderWriter, heeding: OrderedControl) -> None:
    sender.change(learning_rate=0.5)
    writer.tell(sender)
    assert heeding.take_changes(2) == {"learning_rate": 0.5}
    assert heeding.take_changes(3) == {}
    sender.pause()
    writer.tell(sender)
    assert heeding.pausing
    assert heeding.take_changes(3) == {}, "told again beside a new wish, it is no new one"
    sender.change(learning_rate=0.25)
    writer.tell(sender)
    assert heeding.take_changes(4) == {"learning_rate": 0.25}


def test_a_refused_change_holds_up_no_later_one(sender: Control, writer: OrderWriter, heeding: OrderedControl) -> None:
    sender.change(freeze="layer4", learning_rate=0.5)
    writer.tell(sender)
    assert heeding.take_changes(2) == {"freeze": "layer4", "learning_rate": 0.5}
    sender.change(patience=3, learning_rate=0.25)
    writer.tell(sender)
    assert heeding.take_changes(3) == {"patience": 3, "learning_rate": 0.25}, "the refused one is not tried again"


def test_nothing_new_writes_nothing(sender: Control, writer: OrderWriter, tmp_path: Path) -> None:
    writer.tell(sender)
    before = (tmp_path / FILE).stat()
    writer.tell(sender)
    assert (tmp_path / FILE).stat() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b'{"stopping": 5, "changes": 7, "pausing": "x", "sender": {"a": 1}}',
        b'{"changes": {"seed": 3, "rm -rf": 1}}',
        b'{"sender": ["x", 1]}',
        b"\xff\xfe",
    ],
)
def test_a_file_that_says_nothing_sound_harms_nothing(content: bytes, heeding: OrderedControl, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert heeding.take_changes(1) == {}
    assert not heeding.stopping


@pytest.mark.skipif(os.name != "posix", reason="only there a process is known by its start")
def test_a_training_whose_sender_is_gone_stops(
    heeding: OrderedControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An app that is killed takes its trainings along, saved, as it would one in its own thread."""
    monkeypatch.setattr(module, "SENDER_SECONDS", 0.0)
    code = "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
    code += "from resnet_core.training.control import Control\n"
    code += "from resnet_core.training.orders import OrderWriter\n"
    code += "OrderWriter(Path(sys.argv[1])).tell(Control()); print('told', flush=True); sys.stdin.read()"
    arguments = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parents[2])]
    app = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert app.stdout
    try:
        assert app.stdout.readline() == b"told\n"
        assert json.loads((tmp_path / FILE).read_text())["sender"][0] == app.pid
        heeding.check()
    finally:
        app.kill()
        app.communicate()
    time.sleep(0.01)
    with pytest.raises(StopAsked):
        heeding.check()


def test_replayed_changes_come_beside_the_orders(sender: Control, writer: OrderWriter, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = [{"event": "Changed", "epoch": 2, "step": 5, "settings": {"mixup": 0.2}}]
    heeding = OrderedControl(events, tmp_path)
    sender.change(patience=3)
    writer.tell(sender)
    assert heeding.take_changes(2) == {"mixup": 0.2, "patience": 3}
