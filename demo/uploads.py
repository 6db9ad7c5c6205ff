"""Uploaded zips get a place of their own (Gradio deletes temporary files by age); what Gradio forgets is swept."""

import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from resnet_core.data.archive import open_archive
from resnet_core.data.images import display_name
from resnet_core.errors import ResNetLabError
from resnet_core.files import replacing

log = logging.getLogger(__name__)

KEEP_SECONDS = 24 * 3600.0  # an upload may be shown on a page that stays open for a day
PARTIAL_SECONDS = 3000.0  # and ten minutes until the next sweep: what a broken upload leaves is gone within the hour
SWEEP_EVERY = 600.0


def keep_upload(uploaded: Path, data_dir: Path) -> Path:
    """The zip, judged and stored below `data_dir/uploads`; the same content is stored once. Raises ArchiveError."""
    open_archive(uploaded).close()
    digest = hashlib.sha256()
    with uploaded.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
    stem = "".join(c if c.isalnum() else "-" for c in display_name(uploaded.stem))[:40].strip("-") or "pictures"
    target = data_dir / "uploads" / f"{stem}-{digest.hexdigest()[:8]}.zip"
    if not target.is_file():
        with replacing(target) as temporary:
            shutil.copyfile(uploaded, temporary)
    return target


def sweep(folder: Path, *, now: float | None = None) -> int:
    """Removes old uploads, parts of broken ones and empty folders below Gradio's folder; how many files went."""
    now = time.time() if now is None else now
    removed = 0
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(parent) / name
            limit = PARTIAL_SECONDS if name.startswith("tmp") or name.endswith(".part") else KEEP_SECONDS
            try:
                if now - path.stat().st_mtime > limit:
                    path.unlink()
                    removed += 1
            except OSError:
                continue
        if Path(parent) != folder:
            try:
                if now - Path(parent).stat().st_mtime > PARTIAL_SECONDS:
                    Path(parent).rmdir()
            except OSError:
                continue  # not empty, or just removed by someone else
    return removed


def start_janitor(folder: Path, *rounds: Callable[[], object]) -> None:
    """Sweeps now and every ten minutes, and then does these rounds, in a daemon thread."""

    def work() -> None:
        while True:
            sweep(folder)
            for each in rounds:
                try:
                    each()
                except ResNetLabError:
                    pass  # an app that only reads leaves it to the other one
                except Exception:  # the next round must come
                    log.exception("a round of the janitor failed")
            time.sleep(SWEEP_EVERY)

    threading.Thread(target=work, name="janitor", daemon=True).start()
