"""Which network, picture size and how many epochs fit into a budget: by the speed of a few steps tried on this machine.

Candidates differ in what a picture costs. The largest is taken of which enough epochs fit: a network that is seen to
its end at 64 px is better than one broken off at 224.
"""

import functools
import statistics
from dataclasses import dataclass

import torch

from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.loaders import Batch
from resnet_core.device import DeviceChoice, make_generator
from resnet_core.models.describe import describe
from resnet_core.models.zoo import get_architecture
from resnet_core.training import budget as clock
from resnet_core.training.budget import MOST_EPOCHS, Budget
from resnet_core.training.config import TrainConfig
from resnet_core.training.halving import ran_out_of_memory
from resnet_core.training.hollow import build_hollow
from resnet_core.training.learner import Learner
from resnet_core.training.resolve import SMALL_PICTURE, model_arguments, picture_side, resolve
from resnet_core.training.starting_weights import build_starting_model

SIZES = (64, 96, 128, 160, 192, 224)  # px
TRIALS, TRIAL_SECONDS = 6, 4.0  # steps tried of a candidate, and when no further one is begun
FEEDING = 1.1  # times the step, for what the trial leaves out: cutting and changing pictures
JUDGING = 1 / 3  # of a training step costs a forward pass alone
LEAST_EPOCHS = 8  # with fewer the epochs cannot follow the clock closely; then fewer pictures are learned from
MEASURED = 3  # candidates tried before the last is taken as it is


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A candidate with what a step of it was measured or estimated to take, in seconds, and the epochs that fit."""

    config: TrainConfig  # resolved
    step_seconds: float
    epochs: int
    epoch_seconds: float


def choose_by_budget(
    config: TrainConfig, dataset: DatasetSpec, where: DeviceChoice, budget: Budget
) -> tuple[TrainConfig, tuple[str, ...]]:
    """The config with network, picture size, batch and epochs that fit the budget, and a sentence that says why."""
    if not config.budget_minutes:
        return config, ()
    candidates = _candidates(config, dataset, where)
    wanted = 20 if len(dataset.train) < 20_000 else 10
    fit, place = _measured(candidates[0], dataset, where, budget), 0
    for _ in range(MEASURED - 1):
        guessed = [_guess(fit, candidate, dataset, budget) for candidate in candidates]
        better = max((number for number, guess in enumerate(guessed) if guess.epochs >= wanted), default=0)
        if better == place:
            break
        fit, place = _measured(candidates[better], dataset, where, budget), better
    if fit.epochs < wanted / 2 and place:
        fit = _measured(candidates[0], dataset, where, budget)
    return _decided(config, fit, dataset, budget)


def time_step(config: TrainConfig, num_classes: int, where: DeviceChoice) -> float:
    """Seconds of a training step of a resolved config on noise, the median of a few; infinite where the memory is too
    small for it."""
    assert config.batch_size is not None
    assert config.image_size is not None
    drawn = make_generator("budget", config.seed)
    try:
        network = build_starting_model(config, num_classes, fresh=False)
        learner = Learner(network, config, where, class_weights=None)  # type: ignore[arg-type]
        images = torch.randn(config.batch_size, 3, config.image_size, config.image_size, generator=drawn)
        targets = torch.randint(num_classes, (config.batch_size,), generator=drawn)
        images = images.to(where.device).contiguous(memory_format=where.memory_format)
        return _median_step(learner, Batch(images, targets.to(where.device)), where)
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        return float("inf")


def _median_step(learner: Learner, batch: Batch, where: DeviceChoice) -> float:
    learner.begin()
    times: list[float] = []
    began = clock.now()
    for number in range(1, TRIALS + 1):
        start = clock.now()
        learner.step(batch, learning_rate=1e-9, number=number)
        if where.device.type == "cuda":
            torch.cuda.synchronize(where.device)
        elif where.device.type == "mps":
            torch.mps.synchronize()
        times.append(clock.now() - start)
        if clock.now() - began > TRIAL_SECONDS:
            break
    return statistics.median(times[1:] or times)  # the first step chooses and builds its kernels


def _candidates(config: TrainConfig, dataset: DatasetSpec, where: DeviceChoice) -> list[TrainConfig]:
    """Resolved configs that leave nothing open, cheapest first."""
    side = picture_side(dataset)
    found = []
    for model, width in _networks(config, side):
        sizes = (config.image_size,) if config.image_size or side < SMALL_PICTURE else _sizes(side)
        for size in sizes:
            settings = {"model": model, "width": width, "image_size": size}
            chosen = config.replace(**{key: value for key, value in settings.items() if value is not None})
            found.append(resolve(chosen.replace(freeze="none", epochs=1), dataset, where)[0])
    return sorted(found, key=_macs)


def _sizes(side: int) -> tuple[int, ...]:
    return tuple(size for size in SIZES if size <= side) or (max(32, side // 32 * 32),)


def _networks(config: TrainConfig, side: int) -> tuple[tuple[str, int | None], ...]:
    """Name and width of the networks that may be chosen from."""
    unchanged = config.pretrained or config.init_from is not None or config.width is not None
    if config.model is not None:
        narrow = not unchanged and get_architecture(config.model).family == "imagenet"
        return ((config.model, config.width), *(((config.model, 32),) if narrow else ()))
    if side < SMALL_PICTURE and not config.pretrained:
        return (("resnet20", None), ("resnet32", None), ("resnet56", None))
    wide: tuple[tuple[str, int | None], ...] = (("resnet18", config.width), ("resnet34", config.width))
    return wide if unchanged else (("resnet18", 32), ("resnet18", 64), ("resnet34", 64))


def _macs(config: TrainConfig) -> int:
    """Multiplications and additions of a picture through the network of a resolved config."""
    assert config.model is not None
    assert config.image_size is not None
    return _macs_of(config.model, config.image_size, tuple(sorted(model_arguments(config).items())))


@functools.lru_cache(maxsize=256)
def _macs_of(model: str, image_size: int, arguments: tuple[tuple[str, object], ...]) -> int:
    return describe(build_hollow(model, **dict(arguments)), image_size).macs


def _measured(config: TrainConfig, dataset: DatasetSpec, where: DeviceChoice, budget: Budget) -> Fit:
    seconds = time_step(config, len(dataset.class_names), where)
    return _fit(config, seconds, dataset, budget)


def _guess(known: Fit, config: TrainConfig, dataset: DatasetSpec, budget: Budget) -> Fit:
    """What a candidate would take, from one that was measured and what a picture costs in each."""
    assert config.batch_size is not None
    assert known.config.batch_size is not None
    share = _macs(config) * config.batch_size / (_macs(known.config) * known.config.batch_size)
    return _fit(config, known.step_seconds * share, dataset, budget)


def _fit(config: TrainConfig, step_seconds: float, dataset: DatasetSpec, budget: Budget) -> Fit:
    assert config.batch_size is not None
    a_picture = step_seconds / config.batch_size
    judged = len(dataset.val) * (2 if config.flip_average else 1) * JUDGING
    trained = min(len(dataset.train), config.max_pictures or len(dataset.train))
    epoch_seconds = FEEDING * a_picture * (trained + judged)
    epochs = 0 if epoch_seconds == float("inf") else int(budget.left / max(1e-9, epoch_seconds))
    return Fit(config=config, step_seconds=step_seconds, epochs=epochs, epoch_seconds=epoch_seconds)


def _decided(
    config: TrainConfig, fit: Fit, dataset: DatasetSpec, budget: Budget
) -> tuple[TrainConfig, tuple[str, ...]]:
    chosen, fewer = fit.config, config.max_pictures
    if fit.epochs < LEAST_EPOCHS and config.max_pictures is None:
        least = 2 * (chosen.batch_size or 1) + len(dataset.class_names)
        fewer = max(least, int(len(dataset.train) * budget.left / (LEAST_EPOCHS * fit.epoch_seconds)))
        fewer = fewer if fewer < len(dataset.train) else None
    epochs = min(MOST_EPOCHS, max(1, LEAST_EPOCHS if fewer != config.max_pictures else fit.epochs))
    settings = {name: getattr(chosen, name) for name in ("model", "width", "image_size", "resize", "batch_size")}
    width = f" ({chosen.width} channels)" if chosen.width not in (None, 64) else ""
    title = get_architecture(chosen.model or "").title
    minutes = f"{config.budget_minutes:g} minute{'' if config.budget_minutes == 1 else 's'}"
    sentence = (
        f"Budget: {minutes}. A step of {chosen.batch_size} pictures of {title}{width} at "
        f"{chosen.image_size} px took {fit.step_seconds:.2g} s in a trial here, so about {epochs} epochs fit; "
        "their number follows the time really used."
    )
    if fewer != config.max_pictures:
        count = len(dataset.train)
        sentence += f" Of {count:,} training pictures {fewer:,} are used: more could not be seen often enough."
    return config.replace(**settings, epochs=epochs, max_pictures=fewer), (sentence,)
