"""Which processes live: a process id alone is not enough, since systems use them again."""

import os
from pathlib import Path

ALIVE = "alive"  # instead of a start time where the system tells none: the id may be another process by now


def process_started(pid: int) -> str | None:
    """When the process of that id started, as the system tells it; None when it does not live.

    Together with the id it names one process for good: ids are used again.
    """
    if os.name != "posix":
        return ALIVE  # there, the question itself would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except (PermissionError, OverflowError):
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return ALIVE
    return None if fields[0] in "ZX" else fields[19]
