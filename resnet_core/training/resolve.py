"""Fills in what a config leaves open, the way a practitioner would for this data and device, and says why."""

from dataclasses import dataclass
from pathlib import Path

from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from resnet_core.device import DeviceChoice
from resnet_core.errors import ConfigError, ModelError, ResNetLabError
from resnet_core.memory import free_memory
from resnet_core.models.zoo import get_architecture
from resnet_core.training.config import TrainConfig
from resnet_core.training.fitting import step_memory
from resnet_core.training.freezing import check_stage, trains_head_only
from resnet_core.training.hollow import build_hollow

SMALL_PICTURE = 48  # px; below this the ImageNet stem would throw most of the picture away
RESIZE_RATIO = 8 / 7  # shorter side over central cut: 256 over 224, as in torchvision's reference
COMPILE_PAYS = 2_000_000  # pictures of 224 px: at 5,000 a second 400 s, of which a fifth pays for a minute of compiling


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Settings picked together, and the sentence that explains them."""

    settings: dict[str, object]
    reason: str


def resolve(config: TrainConfig, dataset: DatasetSpec, device: DeviceChoice) -> tuple[TrainConfig, tuple[str, ...]]:
    """The config with nothing left open, and a sentence for each choice made. Raises ConfigError or ModelError."""
    notes = []
    for choose in _CHOICES:
        choice = choose(config, dataset, device)
        open_settings = {key: value for key, value in choice.settings.items() if getattr(config, key) is None}
        if open_settings:
            config = config.replace(**open_settings)
            notes.append(choice.reason)
    check_together(config)
    return config, (*notes, *_frozen_note(config))


def make_preprocessing(config: TrainConfig) -> Preprocessing:
    """The fixed preprocessing of a resolved config."""
    assert config.image_size is not None
    assert config.resize is not None
    plain = config.normalize == "none"
    return Preprocessing(
        resize=config.resize,
        crop=config.image_size,
        mean=(0.0, 0.0, 0.0) if plain else IMAGENET_MEAN,
        std=(1.0, 1.0, 1.0) if plain else IMAGENET_STD,
    )


def model_arguments(config: TrainConfig) -> dict[str, object]:
    """The settings of a resolved config that `build_model` takes for its architecture."""
    assert config.model is not None
    options = get_architecture(config.model).options
    return {key: getattr(config, key) for key in options if getattr(config, key, None) is not None}


def _choose_model(config: TrainConfig, dataset: DatasetSpec, device: DeviceChoice) -> Choice:
    side = picture_side(dataset)
    small_machine = device.device.type == "cpu"
    if side < SMALL_PICTURE:
        name, why = "resnet20", f"made for small pictures (yours are {side} px)"
    elif small_machine or len(dataset.train) < 5000:
        name, why = "resnet18", f"large enough for {len(dataset.train):,} pictures"
    else:
        name, why = "resnet34", "the GPU carries it easily"
    model = config.model or name
    family = get_architecture(model).family
    narrow = dataset.name == "rendered-flowers" and config.model is None  # a network asked for is never changed
    settings: dict[str, object] = {
        "model": name,
        "zero_init_residual": config.residual and family != "tutorial",
    }
    if family == "imagenet":
        settings |= {"stem": "small" if side < SMALL_PICTURE else "imagenet", "width": 32 if narrow else 64}
    if narrow:
        why += ", with 32 instead of 64 channels in its first stage, which learns drawings four times as fast"
    reason = f"Network: {name}, {why}." if config.model is None else "The rest of the network: as its paper has it."
    return Choice(settings=settings, reason=reason)


def _choose_size(config: TrainConfig, dataset: DatasetSpec, device: DeviceChoice) -> Choice:
    side = picture_side(dataset)
    limit = 128 if device.device.type == "cpu" else 224
    natural = min(64 if dataset.name == "rendered-flowers" else limit, side)
    size = config.image_size or (natural if natural < SMALL_PICTURE else max(32, natural // 32 * 32))
    resize = size if side <= size else round(size * RESIZE_RATIO)
    settings: dict[str, object] = {"image_size": size, "resize": resize, "normalize": "imagenet"}
    return Choice(settings=settings, reason=f"Picture size: {size} px, from pictures of about {side} px.")


def _choose_length(config: TrainConfig, dataset: DatasetSpec, device: DeviceChoice) -> Choice:
    count = len(dataset.train)
    epochs = 10 if dataset.name == "rendered-flowers" else 30 if count < 20_000 else 15
    usual = 32 if count < 10_000 else 128
    batch = config.batch_size or _fitting(config, dataset, device, usual)
    reason = f"{config.epochs or epochs} epochs in batches of {batch}, for {count:,} pictures."
    if config.batch_size is None and batch < usual:
        reason = f"{reason[:-1]}; {usual} at a time would not fit the free memory."
    return Choice(settings={"epochs": epochs, "batch_size": batch}, reason=reason)


def _fitting(config: TrainConfig, dataset: DatasetSpec, device: DeviceChoice, batch: int) -> int:
    """The batch, halved until a step of it fits the free memory."""
    free = free_memory(device.device)
    assert config.model is not None
    assert config.image_size is not None
    if free is None:
        return batch
    try:
        check_stage(config.freeze, config.model)
        network = build_hollow(config.model, num_classes=len(dataset.class_names), **model_arguments(config))
        return step_memory(network, config.image_size, freeze=config.freeze).fit(batch, free)
    except (ConfigError, ModelError):
        return batch  # settings that do not go together: `check_together` says which


def _choose_optimizer(config: TrainConfig, dataset: DatasetSpec, device: DeviceChoice) -> Choice:
    optimizer = config.optimizer or "sgd"
    fine_tuning = config.pretrained or config.init_from is not None
    assert config.batch_size is not None
    peaks = {"sgd": 0.1 * min(1.0, config.batch_size / 64), "muon": 0.24}
    peak = peaks.get(optimizer, 1e-3)
    peak = peak / 10 if fine_tuning and not _head_only(config) else peak  # a new head has nothing to lose
    settings: dict[str, object] = {
        "optimizer": optimizer,
        "learning_rate": peak,
        "schedule": "one-cycle",
        "weight_decay": 5e-4 if optimizer in peaks else 1e-2,
    }
    rate = config.learning_rate or peak
    return Choice(
        settings=settings,
        reason=f"Optimizer: {optimizer}, learning rate up to {rate:g} and back to 0 (one-cycle).",
    )


def _choose_regularization(config: TrainConfig, dataset: DatasetSpec, device: DeviceChoice) -> Choice:
    drawn = dataset.name == "rendered-flowers"  # varied already: random cuts would only slow the learning down
    head_only = _head_only(config)
    plain = (drawn or head_only) and config.start_image_size is None
    augment = config.augment or ("flip" if plain else "standard")
    settings: dict[str, object] = {
        "augment": augment,
        "label_smoothing": 0.1,
        "ema_decay": 0.0,
        "flip_average": True,
    }
    reason = f"Augmentation: {augment}, with label smoothing against overconfidence."
    if head_only and augment == "flip":
        reason = "Augmentation: flip, so that what the frozen network sees in each picture is computed only once."
    return Choice(settings=settings, reason=reason)


def _choose_compilation(config: TrainConfig, dataset: DatasetSpec, device: DeviceChoice) -> Choice:
    """Off on a CPU: ResNet-34 at 224 px took 59 s to compile on two cores and was no faster after."""
    if device.device.type != "cuda":
        return Choice(settings={"compile": False}, reason="Compilation: off; here it takes a minute and gains nothing.")
    assert config.epochs is not None
    assert config.image_size is not None
    work = len(dataset.train) * config.epochs * (config.image_size / 224) ** 2
    steady = config.start_image_size is None and not _head_only(config)
    if work < COMPILE_PAYS or not steady:
        return Choice(
            settings={"compile": False}, reason="Compilation: off; the run is too short to earn back what it takes."
        )
    return Choice(settings={"compile": True}, reason="Compilation: on; the run is long enough to earn it back.")


_CHOICES = (
    _choose_model,
    _choose_size,
    _choose_length,
    _choose_optimizer,
    _choose_regularization,
    _choose_compilation,
)


def _head_only(config: TrainConfig) -> bool:
    assert config.model is not None
    return trains_head_only(config.freeze, config.model)


def _frozen_note(config: TrainConfig) -> tuple[str, ...]:
    if config.freeze == "none":
        return ()
    part = f"everything up to {config.freeze} keeps the weights it starts with"
    if config.pretrained or config.init_from:
        return (f"Frozen: {part}; only what follows learns.",)
    return (f"Frozen: {part}, and those are random; pretrained weights or a checkpoint would make it useful.",)


def check_together(config: TrainConfig) -> None:
    """Raises ConfigError or ModelError where settings of a resolved config do not fit each other."""
    assert config.image_size is not None
    assert config.resize is not None
    assert config.model is not None
    if config.resize < config.image_size:
        raise ConfigError(
            f"Resize ({config.resize} px) must not be smaller than the image size ({config.image_size} px)."
        )
    check_stage(config.freeze, config.model)
    architecture = get_architecture(config.model)
    given = {"as_published": config.as_published, "residual": not config.residual}
    odd = next((key for key, asked in given.items() if asked and key not in architecture.options), None)
    if odd:
        raise ConfigError(f"{architecture.title} has no setting {odd}; leave it out or choose another model.")
    least = architecture.min_image_size
    if config.image_size < least:
        raise ConfigError(f"{config.model} needs pictures of at least {least} px, not {config.image_size}.")
    if config.pretrained and (config.stem == "small" or config.width not in (None, 64) or not config.residual):
        raise ConfigError("ImageNet weights fit only the unchanged ResNet; leave stem, width and skips as they are.")


def picture_side(dataset: DatasetSpec) -> int:
    """Shorter side in px of the first picture that can be read."""
    for picture in dataset.train[:20]:
        try:
            return min(dataset.source.load(picture.path).size)
        except ResNetLabError:
            continue
    return 224


def prepare_default(data_dir: Path) -> None:
    """Decodes what the default training of the built-in data set will ask for, so that its first step comes at once."""
    from resnet_core.data.augment import get_policy
    from resnet_core.data.datasets import load_dataset
    from resnet_core.data.loaders import make_loaders
    from resnet_core.device import choose_device

    dataset = load_dataset("rendered-flowers", data_dir=data_dir)
    where = choose_device()
    config, _ = resolve(TrainConfig(), dataset, where)
    assert config.augment is not None
    make_loaders(
        dataset,
        make_preprocessing(config),
        policy=get_policy(config.augment),
        batch_size=1,
        seed=0,
        device=where.device,
    )
