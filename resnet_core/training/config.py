"""What a training is asked to do. `TrainConfig` may leave things open (None); `resolve` fills them in by data and
device and says in sentences what it picked and why. Checked at birth (ConfigError, ModelError): a bad value never
reaches the training thread.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resnet_core.data.image_gate import visible_text
from resnet_core.errors import ConfigError
from resnet_core.models.zoo import get_architecture
from resnet_core.training.thawing import check_thaw

OPTIMIZERS = ("sgd", "adam", "adamw", "muon")
SCHEDULES = ("constant", "step", "cosine", "one-cycle")
AUGMENTATIONS = ("none", "flip", "shift-flip", "crop-flip", "standard", "strong")
NORMALIZATIONS = ("imagenet", "none")
CLASS_WEIGHTS = ("none", "balanced")
SAMPLINGS = ("plain", "balanced")
MEMORY_FORMATS = ("auto", "channels-last", "contiguous")
FREEZE = ("none", "stem", "layer1", "layer2", "layer3", "layer4")
KEEP = ("none", "some", "all")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All settings of a run. None means: chosen by `resolve` for this data and device."""

    dataset: str = "rendered-flowers"  # name, folder or zip
    model: str | None = None  # a name of `models list`
    stem: str | None = None  # "imagenet" or "small", of the ImageNet family
    width: int | None = None  # channels of the first stage, 64 in the paper, of the ImageNet family
    as_published: bool = False  # the CIFAR tutorial's network with its broadcasting shortcut
    residual: bool = True  # False: the plain twin
    zero_init_residual: bool | None = None  # last BatchNorm of each block starts at 0 (He et al. 2018, §3.1)
    pretrained: bool = False  # start from torchvision's ImageNet weights
    init_from: str | None = None  # start from the weights of a checkpoint file or run
    freeze: str = "none"  # everything up to and including this stage keeps its weights; the last: only the head learns
    thaw: str = ""  # stages that begin to learn later, “layer4@3,layer3@5”, or “gradual”, see `thawing`
    epochs: int | None = None  # passes over the training pictures
    budget_minutes: float = 0.0  # the run shall end by then, and decides its epochs by that; 0: no limit, see `budget`
    batch_size: int | None = None  # pictures a step
    learning_rate: float | None = None  # peak of the schedule
    optimizer: str | None = None
    momentum: float = 0.9  # of SGD (Nesterov)
    weight_decay: float | None = None
    schedule: str | None = None
    warmup: float = 0.15  # share of all steps the one-cycle and cosine schedules rise for
    label_smoothing: float | None = None  # target spread over all classes (Szegedy et al. 2016, §7), a share
    class_weights: str = "none"  # "balanced": inverse to how often a class occurs
    sampling: str = "plain"  # "balanced": each class as often as any other in an epoch
    max_pictures: int | None = None  # an even choice of the training pictures, so many at most; None: all
    mixup: float = 0.0  # strength of blending pictures, 0: never (Zhang et al. 2018); 0.2 is usual
    cutmix: float = 0.0  # strength of laying parts of pictures over others, 0: never (Yun et al. 2019); 1 is usual
    drop_path: float = 0.0  # chance that a picture skips the last block, less for earlier ones (Huang et al. 2016)
    clip_norm: float = 0.0  # longest gradient a step may take, over all weights together; 0: any
    patience: int = 0  # ends after so many epochs without a better one; 0: never
    ema_decay: float | None = None  # averaged weights are judged and kept; 0 turns it off
    augment: str | None = None
    image_size: int | None = None  # side of the network's input, px
    resize: int | None = None  # shorter side before the central cut, px
    start_image_size: int | None = None  # the first epochs use smaller pictures, growing to image_size
    normalize: str | None = None  # "imagenet" mean and spread, or "none": scaled to 0–1 only
    rendered_share: float = 0.0  # rendered flowers mixed into training, as a share of its pictures
    flip_average: bool | None = None  # predictions average the picture and its mirror image
    device: str = "auto"  # auto, cpu, cuda, cuda:N, mps, or all: every GPU of this machine
    precision: str = "auto"
    memory_format: str = "auto"  # how pictures and activations lie in memory
    compile: bool | None = None  # torch.compile of the forward and backward pass
    halve_batch: bool = False  # where the memory runs out, go on with half the batch, three times at most
    num_threads: int | None = None
    processes: int = 1  # that train together, each with a GPU or a part of the cores; see `distributed`
    seed: int = 0
    keep: str = "some"  # epochs one can branch off from: "none", "all", or a few within 1 GB, see `kept_epochs`
    forked_from: str = ""  # “<run id>/<epoch>” of the run this one branched off from
    preset: str = "default"
    name: str = ""  # a person's name for the run

    def __post_init__(self) -> None:
        _check_types(self)
        _check_choices(self)
        _check_numbers(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "TrainConfig":
        """The config of a `config.json`; settings this version does not know are refused. Raises ConfigError."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(fields) - known)
        if unknown:
            told = visible_text(", ".join(map(str, unknown)))[:300]
            raise ConfigError(f"Unknown settings: {told}; this version does not have them, a newer one may.")
        return cls(**fields)

    def to_json(self) -> dict[str, Any]:
        """A plain dict, the inverse of `from_json`."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> "TrainConfig":
        """A copy with other values, checked again."""
        return dataclasses.replace(self, **changes)


def _check_types(config: TrainConfig) -> None:
    for field in dataclasses.fields(config):
        value, kind = getattr(config, field.name), str(field.type)
        if value is None and "None" in kind:
            continue
        if "bool" in kind and not isinstance(value, bool):
            raise ConfigError(f"{_words(field.name)} must be true or false, not {visible_text(str(value))}.")
        if "str" in kind and not isinstance(value, str):
            raise ConfigError(f"{_words(field.name)} must be a text, not {visible_text(str(value))}.")
    if config.model is not None:
        get_architecture(config.model)


def _check_choices(config: TrainConfig) -> None:
    choices: tuple[tuple[str, str | None, tuple[str, ...]], ...] = (
        ("optimizer", config.optimizer, OPTIMIZERS),
        ("schedule", config.schedule, SCHEDULES),
        ("augment", config.augment, AUGMENTATIONS),
        ("normalize", config.normalize, NORMALIZATIONS),
        ("class_weights", config.class_weights, CLASS_WEIGHTS),
        ("sampling", config.sampling, SAMPLINGS),
        ("stem", config.stem, ("imagenet", "small")),
        ("precision", config.precision, ("auto", "fp32", "bf16", "fp16")),
        ("memory_format", config.memory_format, MEMORY_FORMATS),
        ("freeze", config.freeze, FREEZE),
        ("keep", config.keep, KEEP),
    )
    for field, value, allowed in choices:
        if value is not None and value not in allowed:
            raise ConfigError(f"{_words(field)} must be one of {', '.join(allowed)}, not “{visible_text(value)}”.")
    if config.pretrained and config.init_from:
        raise ConfigError("Choose either pretrained weights or a checkpoint to start from, not both.")
    if config.class_weights == "balanced" and config.sampling == "balanced":
        raise ConfigError("Choose balanced class weights or balanced sampling; together they would correct twice.")
    check_thaw(config.thaw)
    if config.start_image_size is not None and config.augment in ("none", "flip", "shift-flip"):
        raise ConfigError(
            "A growing picture size needs random cuts; choose augmentation crop-flip, standard or strong."
        )


# field: least, most, whole number?
_RANGES: dict[str, tuple[float, float, bool]] = {
    "epochs": (1, 10_000, True),
    "budget_minutes": (0, 100_000, False),
    "max_pictures": (2, 10**9, True),
    "batch_size": (2, 65_536, True),
    "learning_rate": (1e-9, 100, False),
    "width": (8, 512, True),
    "momentum": (0, 0.9999, False),
    "weight_decay": (0, 10, False),
    "warmup": (0, 0.9, False),
    "label_smoothing": (0, 0.9, False),
    "mixup": (0, 10, False),
    "cutmix": (0, 10, False),
    "drop_path": (0, 0.9, False),
    "clip_norm": (0, 1e6, False),
    "patience": (0, 10_000, True),
    "ema_decay": (0, 0.99999, False),
    "image_size": (8, 1024, True),
    "resize": (8, 2048, True),
    "start_image_size": (8, 1024, True),
    "rendered_share": (0, 10, False),
    "num_threads": (1, 1024, True),
    "processes": (1, 64, True),
    "seed": (0, 2**63 - 1, True),
}


def _check_numbers(config: TrainConfig) -> None:
    optional = {field.name for field in dataclasses.fields(config) if "None" in str(field.type)}
    for field, (least, most, whole) in _RANGES.items():
        value = getattr(config, field)
        if value is None and field in optional:
            continue
        number = isinstance(value, int) if whole else isinstance(value, int | float)
        if isinstance(value, bool) or not number or not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            raise ConfigError(
                f"{_words(field)} must be {kind} from {least:g} to {most:g}, not {visible_text(str(value))}."
            )
    if config.resize is not None and config.image_size is not None and config.resize < config.image_size:
        raise ConfigError(
            f"Resize ({config.resize} px) must not be smaller than the image size ({config.image_size} px)."
        )
    if config.start_image_size and config.image_size and config.start_image_size > config.image_size:
        raise ConfigError("The first epochs cannot use larger pictures than the last.")


def _words(field: str) -> str:
    return field.replace("_", " ").capitalize()
