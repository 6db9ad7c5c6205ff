"""What all tests share: a cache of their own, the real pictures where there are some, and few threads."""

import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

FolderMaker = Callable[..., Path]

# Tests check results, not times: a busy machine must not fail them.
settings.register_profile("lab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lab")


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_LAB_CACHE", str(session_cache))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with flower_photos and cifar10.zip."""
    folder = Path(os.environ.get("RESNET_LAB_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("The real pictures are not here; set RESNET_LAB_DATA to the folder that holds flower_photos.")
    return folder


@pytest.fixture(scope="session")
def torch_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture
def make_folder(tmp_path: Path) -> FolderMaker:
    """Write a small picture of its own at each relative path; the format follows the suffix."""

    def make(paths: Iterable[str], *, name: str = "set", size: tuple[int, int] = (20, 16)) -> Path:
        for path in paths:
            target = tmp_path / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            noise = random.Random(os.fsencode(path)).randbytes(size[0] * size[1] * 3)
            Image.frombytes("RGB", size, noise).save(target)
        return tmp_path / name

    return make
