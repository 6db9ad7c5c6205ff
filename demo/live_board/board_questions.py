"""Checks what a browser sends; anything may arrive, and what is no name or number is refused with a sentence."""

from demo.live_board.board_values import LARGEST_EXACT
from resnet_core.errors import ResNetLabError

MAX_RUN_ID = 200


def run_id_of(value: object) -> str | None:
    """A run id, or None for none. Raises ResNetLabError for anything else."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_RUN_ID or not value.isprintable():
        raise ResNetLabError("The board asked for a run by something that is not a name. Reload the page.")
    return value


def run_ids_of(value: object, most: int) -> list[str]:
    """One run id or several, each once. Raises ResNetLabError for anything else."""
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise ResNetLabError("The board asked for runs in a form this app does not know. Reload the page.")
    found = [run_id for run_id in map(run_id_of, value) if run_id]
    return list(dict.fromkeys(found))


def whole_number(value: object) -> int:
    """A whole number from 0 on. Raises ResNetLabError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_EXACT:
        raise ResNetLabError("The board asked from an impossible position. Reload the page.")
    return value
