"""What a filled-in “Change while it runs” asks for."""

import pytest

from demo.change_section import wanted_changes
from resnet_core.errors import ConfigError
from resnet_core.training.control import CHANGEABLE


def test_only_what_is_filled_in_changes():
    assert wanted_changes("0,002", "", "", "") == {"learning_rate": 0.002}
    assert wanted_changes("", "12", "strong", "none") == {"epochs": 12, "augment": "strong", "freeze": "none"}


def test_an_empty_form_is_told_so():
    with pytest.raises(ConfigError, match="Nothing was filled in"):
        wanted_changes("", " ", "", "")


def test_everything_it_can_ask_for_may_change():
    assert wanted_changes("1", "1", "none", "none").keys() <= set(CHANGEABLE)
