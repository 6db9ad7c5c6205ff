"""The built-in flowers as files, for programs that read folders: the same pictures in the same order."""

import os
import shutil
from pathlib import Path

from resnet_core.data.cache import Progress
from resnet_core.data.datasets import DatasetSpec, rendered_flowers
from resnet_core.errors import DatasetError


def write_rendered(data_dir: Path, *, progress: Progress | None = None, dataset: DatasetSpec | None = None) -> Path:
    """The folder `<data_dir>/rendered-flowers` with train/ and val/, written if not there. Raises DatasetError."""
    target = data_dir / "rendered-flowers"
    if target.is_dir():
        return target
    dataset = dataset or rendered_flowers()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    pictures = [*dataset.train, *dataset.val]
    try:
        for done, picture in enumerate(pictures, start=1):
            split, name, index = picture.path.split("/")
            path = part / split / name / f"{int(index):04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            dataset.source.load(picture.path).save(path)
            if progress:
                progress(done, len(pictures))
        os.replace(part, target)
    except OSError as error:
        raise DatasetError(f"The pictures could not be written ({error.strerror}); make room on the disk.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target
