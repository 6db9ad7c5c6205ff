"""Who waits for whom: settings of events that use the network."""

from typing import Any

HEAVY = "network"  # events with this id take turns
TOGETHER: dict[str, Any] = {"concurrency_id": "photos", "concurrency_limit": 16}  # wait at the desk, one thread each
