"""What weights from elsewhere are: which network they fit, what does not, how many classes, how pictures reach them.

    inspection = inspect_weights(weights)             frozen facts; `problem` says why it cannot be adopted
    adopt(weights, inspection, shelf, name="…")       resnet_core/inference/adoption.py

Shapes are compared before a value is read, values are checked for being numbers before one is copied.
"""

import dataclasses
from dataclasses import dataclass

import torch

from resnet_core.data.image_gate import visible_text
from resnet_core.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from resnet_core.errors import ModelError
from resnet_core.inference.class_list import check_class_count, numbered_names, told_apart
from resnet_core.inference.fitting_networks import Fit, find_fits, misfit_sentence
from resnet_core.inference.foreign import ForeignWeights
from resnet_core.inference.foreign_names import Naming, find_naming
from resnet_core.models.zoo import get_architecture
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint

NORMALIZATIONS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # to the range -1 … 1
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
MAX_IMAGE_SIZE = 1024
PRECISIONS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the person says about the weights; None leaves it to be found out."""

    model: str | None = None  # a name of the registry
    plain: bool | None = None  # the plain twin, where names cannot tell (CIFAR family)
    class_names: tuple[str, ...] | None = None
    image_size: int | None = None  # px
    normalization: str | None = None  # a key of NORMALIZATIONS


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The findings about one file."""

    file_name: str
    form: str  # "torch", "safetensors" or "ours"
    wrapper: str  # the key the weights lay under, "" for none
    prefix: str  # what was taken off the names, "" for nothing
    convention: str  # whose names they are: torchvision, cifar repositories, tutorial
    left_out: tuple[str, ...]  # tensors that belong to no network: counters, losses
    fits: tuple[Fit, ...]  # networks that take all of it; else the nearest one, incomplete
    num_classes: int | None
    precision: str  # of the weights: float32, float16 …
    tensors: int
    parameters: int  # values that training changes
    preprocessing: Preprocessing
    guessed: bool  # nobody has said how pictures reach the network: neither the file nor a person
    class_names: tuple[str, ...]
    class_names_from: str  # "given", "file", "imagenet", "numbers", or "miscounted": the file names more or fewer
    problem: str | None  # why it cannot be adopted, a sentence

    @property
    def fit(self) -> Fit | None:
        """The network it will be adopted as, or the nearest."""
        return self.fits[0] if self.fits else None


def inspect_weights(weights: ForeignWeights, wishes: Wishes | None = None) -> Inspection:
    """The findings. Raises CheckpointError or ModelError for a wish that cannot be met and a damaged file of ours."""
    wishes = wishes or Wishes()
    naming = find_naming(weights.shapes)
    shapes = {ours: weights.shapes[theirs].shape for ours, theirs in naming.ours.items()}
    own = load_checkpoint(weights.path)[0] if weights.form == "ours" else None  # judged as a whole, checksums too
    model = own.architecture if own else wishes.model
    fits = find_fits(shapes, model=model, plain=wishes.plain, known=own.architecture_arguments if own else None)
    fit = fits[0] if fits else None
    num_classes = shapes["fc.weight"][0] if len(shapes.get("fc.weight", ())) == 2 else None
    names, names_from = _class_names(weights, wishes, own, fit, num_classes)
    preprocessing, guessed = _preprocessing(wishes, own, fit, naming)
    return Inspection(
        file_name=weights.name,
        form=weights.form,
        wrapper=weights.wrapper,
        prefix=naming.prefix,
        convention=naming.convention,
        left_out=naming.left_out,
        fits=fits,
        num_classes=num_classes,
        precision=_precision(weights),
        tensors=len(shapes),
        parameters=sum(weights.shapes[t].count() for name, t in naming.ours.items() if _is_parameter(name)),
        preprocessing=preprocessing,
        guessed=guessed,
        class_names=names,
        class_names_from=names_from,
        problem=misfit_sentence(weights.name, fits, shapes) or find_non_number(weights, naming),
    )


def find_non_number(weights: ForeignWeights, naming: Naming) -> str | None:
    """A sentence naming the first layer whose values no network can have, or None."""
    wanted = {theirs: ours for ours, theirs in naming.ours.items()}
    for theirs, tensor in weights.stream():
        if theirs not in wanted or not tensor.is_floating_point():
            continue
        name = visible_text(wanted[theirs])
        if not torch.isfinite(tensor.to(torch.float32)).all():
            return f"“{weights.name}” holds values that are not numbers (NaN or infinite) in {name}; it cannot be used."
        if name.endswith("running_var") and bool((tensor < 0).any()):
            return f"“{weights.name}” holds negative variances in {name}; it cannot be used."
    return None


def _class_names(
    weights: ForeignWeights, wishes: Wishes, own: Checkpoint | None, fit: Fit | None, count: int | None
) -> tuple[tuple[str, ...], str]:
    """Names in label order and where they come from; those a person gave must be right, others may be left."""
    if count is None:
        return (), "numbers"
    if wishes.class_names:
        check_class_count(wishes.class_names, count)
        return wishes.class_names, "given"
    found = own.class_names if own else weights.class_names
    if len(found) == count and all(name.strip() for name in found):
        return told_apart(found), "file"
    if count == 1000 and fit is not None and get_architecture(fit.architecture).family == "imagenet":
        return _imagenet_names(), "imagenet"
    return numbered_names(count) if count <= 100_000 else (), "miscounted" if found else "numbers"


def _imagenet_names() -> tuple[str, ...]:
    try:
        from torchvision.models import ResNet18_Weights
    except ImportError:
        return numbered_names(1000)
    return told_apart(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def _preprocessing(
    wishes: Wishes, own: Checkpoint | None, fit: Fit | None, naming: Naming
) -> tuple[Preprocessing, bool]:
    """How pictures reach the network, and whether that is a guess. Raises ModelError for a size out of range."""
    base = own.preprocessing if own else _guess(fit, naming)
    if wishes.image_size is not None:
        base = _sized(wishes.image_size, base, fit)
    if wishes.normalization is not None:
        if wishes.normalization not in NORMALIZATIONS:
            raise ModelError(f"There is no normalisation of that name; choose one of {', '.join(NORMALIZATIONS)}.")
        mean, std = NORMALIZATIONS[wishes.normalization]
        base = dataclasses.replace(base, mean=mean, std=std)
    return base, own is None and wishes.image_size is None and wishes.normalization is None


def _guess(fit: Fit | None, naming: Naming) -> Preprocessing:
    """torchvision's own steps for its networks, 32 px for those made for CIFAR; the tutorial does not normalise."""
    small = fit is not None and (
        get_architecture(fit.architecture).default_image_size == 32 or fit.arguments.get("stem") == "small"
    )
    if not small:
        return Preprocessing(resize=256, crop=224)
    mean, std = NORMALIZATIONS["none" if naming.convention == "tutorial" else "imagenet"]
    return Preprocessing(resize=32, crop=32, mean=mean, std=std)


def _sized(size: int, base: Preprocessing, fit: Fit | None) -> Preprocessing:
    least = get_architecture(fit.architecture).min_image_size if fit else 1
    if isinstance(size, bool) or not least <= size <= MAX_IMAGE_SIZE:
        raise ModelError(f"The picture size must lie between {least} and {MAX_IMAGE_SIZE} px, not {size}.")
    return dataclasses.replace(base, crop=size, resize=max(size, round(size * base.resize / base.crop)))


def _precision(weights: ForeignWeights) -> str:
    """That of most values."""
    counts: dict[str, int] = {}
    for entry in weights.shapes.values():
        counts[entry.precision] = counts.get(entry.precision, 0) + entry.count()
    most = max(counts, key=lambda key: counts[key], default="")
    return PRECISIONS.get(most, most)


def _is_parameter(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
