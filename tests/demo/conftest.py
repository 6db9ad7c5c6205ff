"""What several tests of the pages need."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from demo.services import Services


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Services of empty folders, ready at once: neither the shipped model nor rendered flowers are prepared ahead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Services, "_prepare_quietly", lambda self: None)
        home = tmp_path_factory.mktemp("services")
        made = Services(data_dir=home / "data", runs_dir=home / "runs")
        made.warm_up()
        made.ready()
        yield made
        made.shutdown(30)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def meadow(tmp_path: Path) -> Path:
    """A folder of two classes that an epoch takes no time on."""
    for color in ("red", "yellow"):
        (tmp_path / "meadow" / color).mkdir(parents=True)
        for shade in range(12):
            picture = Image.new("RGB", (32, 32), color).point(lambda value, darker=shade: max(0, value - 9 * darker))
            picture.save(tmp_path / "meadow" / color / f"{shade}.png")
    return tmp_path / "meadow"
