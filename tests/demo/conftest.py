"""What several tests of the pages need."""

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def meadow(tmp_path: Path) -> Path:
    """A folder of two classes that an epoch takes no time on."""
    for color in ("red", "yellow"):
        (tmp_path / "meadow" / color).mkdir(parents=True)
        for shade in range(12):
            picture = Image.new("RGB", (32, 32), color).point(lambda value, darker=shade: max(0, value - 9 * darker))
            picture.save(tmp_path / "meadow" / color / f"{shade}.png")
    return tmp_path / "meadow"
