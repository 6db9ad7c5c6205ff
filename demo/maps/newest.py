"""Of what one visitor asks again and again only the newest counts; what is under way for an older question stops."""

import threading
from collections.abc import Callable


class Newest:
    """Which question of each visitor is the newest; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[str, object] = {}

    def begin(self, session: str) -> Callable[[], bool]:
        """A new question of that visitor; the function returned is true once it is no longer the newest."""
        mine = object()
        with self._lock:
            self._asked[session] = mine
        return lambda: self._asked.get(session) is not mine

    def stop(self, session: str) -> None:
        """What that visitor asked no longer counts."""
        with self._lock:
            self._asked.pop(session, None)
