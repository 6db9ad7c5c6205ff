"""Which buttons of a run can be pressed."""

import pytest

from demo.training_tab import buttons_for


@pytest.mark.parametrize(
    ("status", "pause", "resume", "stop", "stop_after_epoch"),
    [
        ("none", False, False, False, False),
        ("queued", False, False, True, False),
        ("preparing", True, False, True, True),
        ("running", True, False, True, True),
        ("paused", False, True, True, False),
        ("stopping", False, False, True, False),  # stop now, after “stop after this epoch”
        ("finished", False, False, False, False),
        ("stopped", False, True, False, False),
        ("failed", False, True, False, False),
        ("interrupted", False, True, False, False),
    ],
)
def test_only_what_makes_sense_can_be_pressed(
    status: str, pause: bool, resume: bool, stop: bool, stop_after_epoch: bool
):
    assert buttons_for(status) == (pause, resume, stop, stop_after_epoch)
