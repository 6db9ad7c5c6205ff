"""Uploaded weights between the look at them and their adoption: judged, and gone by themselves.

A page holds only a token. The upload is moved here, out of Gradio's folder, and deleted once its tensors are rewritten.
"""

from __future__ import annotations

import re
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_core.data.images import display_name
from resnet_core.errors import CheckpointError, RunError
from resnet_core.inference.shelf import shelf_of

if TYPE_CHECKING:
    from resnet_core.inference.foreign import ForeignWeights
    from resnet_core.training.runs import RunStore

KEPT = 4  # uploads that wait at a time; the oldest goes first
KEPT_SECONDS = 3000.0  # since somebody last asked, and ten minutes until the janitor comes; of an ended app's, too


class StagedWeights:
    """The uploads that wait; every method may be called from any thread."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._folder = shelf_of(store).folder / ".incoming"
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, ForeignWeights] = OrderedDict()
        self._asked: dict[str, float] = {}  # monotonic seconds, of each that waits

    def take(self, uploaded: Path) -> str:
        """Moves an uploaded file here and judges it; the token to ask for it by.

        Raises CheckpointError with the reason, RunError in an app that only reads; the file is gone then, too.
        """
        from resnet_core.inference.foreign import open_foreign

        try:
            self.sweep()
        except RunError:
            uploaded.unlink(missing_ok=True)
            raise
        token = secrets.token_hex(16)
        home = self._folder / token
        try:
            home.mkdir(parents=True)
            moved = home / "upload"
            shutil.move(uploaded, moved)
            weights = open_foreign(moved, scratch=home, name=uploaded.name, make_room=True)
        except BaseException as error:
            shutil.rmtree(home, ignore_errors=True)
            if isinstance(error, OSError):
                shown = display_name(uploaded.name)
                raise CheckpointError(f"“{shown}” could not be stored ({error.strerror}); upload it again.") from error
            raise
        with self._lock:
            self._waiting[token], self._asked[token] = weights, time.monotonic()
            old = list(self._waiting)[: max(0, len(self._waiting) - KEPT)]
        for each in old:
            self.drop(each)
        return token

    def find(self, token: str) -> ForeignWeights | None:
        """The weights behind a token, or None when they are gone."""
        with self._lock:
            if token in self._waiting:
                self._asked[token] = time.monotonic()
            return self._waiting.get(token)

    def drop(self, token: str) -> None:
        """Deletes what waits under the token, if anything."""
        with self._lock:
            known = self._waiting.pop(token, None)
            self._asked.pop(token, None)
        if known is not None:
            shutil.rmtree(self._folder / token, ignore_errors=True)

    def sweep(self) -> None:
        """Removes what nobody has asked for in a long time, and what an app that is no more has left.

        Raises RunError in an app that only reads: what lies here may be the other one's.
        """
        self._store.check_writable()
        with self._lock:
            forgotten = [token for token, asked in self._asked.items() if time.monotonic() - asked > KEPT_SECONDS]
        for token in forgotten:
            self.drop(token)
        if not self._folder.is_dir():
            return
        with self._lock:
            known = set(self._waiting)
        for folder in self._folder.iterdir():
            stale = folder.name not in known and re.fullmatch(r"[0-9a-f]{32}", folder.name)
            try:
                if stale and time.time() - folder.stat().st_mtime > KEPT_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
            except OSError:
                continue  # removed by someone else
