"""Which runs wait, in which order: `queue.json` in the runs folder, replaced as a whole: it outlives the app."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from resnet_core.files import write_json

FILE = "queue.json"
LARGEST_FILE = 100_000  # bytes; what we write ourselves stays below 3 kB


def read_queue(runs_dir: Path) -> tuple[str, ...]:
    """Ids of the runs that wait, the next first; none where the file is missing, damaged or too long."""
    path = runs_dir / FILE
    try:
        if path.stat().st_size > LARGEST_FILE:
            return ()
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ()
    waiting = content.get("waiting") if isinstance(content, dict) else None
    names = [name for name in waiting if isinstance(name, str)] if isinstance(waiting, list) else []
    return tuple(dict.fromkeys(names))


def write_queue(runs_dir: Path, run_ids: Sequence[str]) -> None:
    """Replaces the order. Raises OSError."""
    if run_ids:
        write_json(runs_dir / FILE, {"waiting": list(run_ids)})
    else:
        with contextlib.suppress(FileNotFoundError):
            (runs_dir / FILE).unlink()
