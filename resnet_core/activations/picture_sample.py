"""Pictures of a data set to ask a network about: all of a split, or a seeded choice, as the network sees them.

own = own_pictures(classifier.checkpoint, data_dir)          # what the model was trained on, where it is here
sample = load_sample(own, "val", classifier.checkpoint.preprocessing)
sample.inputs(range(8)), sample.square(3)
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from resnet_core.data.cache import PixelStore, Progress, load_pixels
from resnet_core.data.cuts import center_square
from resnet_core.data.datasets import DatasetSpec, Picture, list_datasets, load_dataset
from resnet_core.data.images import display_name
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.device import make_generator
from resnet_core.errors import ArchiveError, DatasetError
from resnet_core.training.checkpoint import Checkpoint

MOST_PICTURES = 1000
WHOLE_SPLIT = 5000  # pictures up to which a split is decoded as a whole: training and validation share that store


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureSample:
    """Some pictures of one split, and how the network wants them."""

    dataset: str
    split: str
    fingerprint: str  # of the data set; with split and count it says which pictures these are
    class_names: tuple[str, ...]
    targets: Tensor  # int64 [N]
    preprocessing: Preprocessing
    _store: PixelStore
    _places: tuple[int, ...]  # in the store

    def __len__(self) -> int:
        return len(self._places)

    @property
    def key(self) -> str:
        """Tells these pictures from any others."""
        return f"{self.fingerprint}/{self.split}/{len(self)}/{self.preprocessing.to_json()}"

    def square(self, index: int) -> Tensor:
        """What the network sees of one picture, uint8 `[3, crop, crop]`."""
        return center_square(self._store[self._places[index]], self.preprocessing.crop)

    def inputs(self, indices: Sequence[int]) -> Tensor:
        """The network's input for some of them, float32 `[n, 3, crop, crop]`."""
        return self.preprocessing.normalize(torch.stack([self.square(index) for index in indices]))


def own_pictures(checkpoint: Checkpoint, data_dir: Path, *, allow_paths: bool = True) -> DatasetSpec:
    """The data set the checkpoint was trained on.

    Without `allow_paths` only data sets with a name are opened: a visitor from elsewhere must not see pictures of a
    folder that somebody at this machine trained on. Raises DatasetError with what to do where it is not here.
    """
    config = checkpoint.training.get("config")
    name = str(config.get("dataset") or "") if isinstance(config, dict) else ""
    instead = "or choose the rendered flowers, which are always there"
    if not name:
        raise DatasetError(f"This model does not say which pictures it was trained on; train it here, {instead}.")
    listings = {listing.name: listing for listing in list_datasets(data_dir)}
    shown = display_name(Path(name).name)
    if name not in listings and not allow_paths:
        raise DatasetError(
            f"The pictures this model was trained on (“{shown}”) are shown only to people at this machine; go there, "
            f"{instead}."
        )
    try:
        return load_dataset(name, data_dir=data_dir, seed=checkpoint.split_seed)
    except (DatasetError, ArchiveError):
        cure = f"run «python -m resnet_core datasets get {name}»" if name in listings else "put them back"
        raise DatasetError(
            f"The pictures this model was trained on (“{shown}”) are not on this machine; {cure}, {instead}."
        ) from None


def load_sample(
    dataset: DatasetSpec,
    split: str,
    preprocessing: Preprocessing,
    *,
    most: int = MOST_PICTURES,
    seed: int = 0,
    progress: Progress | None = None,
    root: Path | None = None,
) -> PictureSample:
    """Up to `most` pictures of a split, decoded once and kept; the same seed chooses the same ones.

    Tells `progress(done, total)` while pictures are decoded. Raises DatasetError where none can be read.
    """
    pictures = chosen = dataset.split(split)
    if len(pictures) > most:
        generator = make_generator("picture sample", dataset.fingerprint, split, most, seed)
        places = torch.randperm(len(pictures), generator=generator)[:most].sort().values.tolist()
        chosen = tuple(pictures[place] for place in places)
    source, part = (dataset, split) if len(pictures) <= WHOLE_SPLIT else (_only(dataset, chosen), "val")
    store = load_pixels(source, part, size=preprocessing.resize, exact=True, progress=progress, root=root)
    wanted = {picture.path for picture in chosen}
    found = tuple(place for place, path in enumerate(store.paths) if path in wanted)
    if not found:
        raise DatasetError(f"None of the pictures chosen from “{display_name(dataset.name)}” could be read.")
    return PictureSample(
        dataset=dataset.name,
        split=split,
        fingerprint=dataset.fingerprint,
        class_names=dataset.class_names,
        targets=store.targets[list(found)],
        preprocessing=preprocessing,
        _store=store,
        _places=found,
    )


def _only(dataset: DatasetSpec, pictures: tuple[Picture, ...]) -> DatasetSpec:
    """The data set with nothing but these pictures, as its val split."""
    paths = "\n".join([dataset.fingerprint, *(picture.path for picture in pictures)])
    fingerprint = hashlib.sha256(paths.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return replace(dataset, train=(), val=pictures, fingerprint=fingerprint)
