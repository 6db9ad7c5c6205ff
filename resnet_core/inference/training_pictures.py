"""Which pictures a model was trained on, as far as they are on this machine."""

from dataclasses import dataclass
from pathlib import Path

from resnet_core.data.datasets import DatasetSpec, list_datasets, load_dataset, rendered_flowers
from resnet_core.data.images import display_name
from resnet_core.errors import ArchiveError, DatasetError
from resnet_core.training.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class TrainingPictures:
    """A data set to compare photos with; `stand_in`: not the model's own, but the flowers everyone has."""

    dataset: DatasetSpec
    stand_in: bool


def training_pictures(checkpoint: Checkpoint, data_dir: Path, *, allow_paths: bool = True) -> TrainingPictures:
    """The data set the checkpoint was trained on, where it is here; else rendered flowers for a model of flowers.

    Without `allow_paths` only data sets with a name are opened: a visitor from elsewhere must not see pictures of a
    folder that somebody at this machine trained on. Raises DatasetError where there is nothing to show.
    """
    config = checkpoint.training.get("config")
    name = str(config.get("dataset") or "") if isinstance(config, dict) else ""
    named = name in {listing.name for listing in list_datasets(data_dir)}
    if name and (named or allow_paths):
        try:
            dataset = load_dataset(name, data_dir=data_dir, seed=checkpoint.split_seed)
            return TrainingPictures(dataset=dataset, stand_in=False)
        except (DatasetError, ArchiveError):
            pass  # moved or deleted since
    drawn = rendered_flowers()
    if checkpoint.class_names == drawn.class_names:
        return TrainingPictures(dataset=drawn, stand_in=True)
    what = f" (“{display_name(name)}”)" if name else ""
    raise DatasetError(
        f"The pictures this model was trained on{what} are not on this machine, so none of them can be shown."
    )
