"""`train.py`: a script that repeats a run with torch, torchvision and pillow alone, for places without ResNet Lab.

The script is assets/train_template.py with the run's settings written into it. It draws the same random numbers, so it
starts from the same weights and sees the same pictures in the same order. What it cannot do in plain code, and what
would change the result, is refused by name.
"""

import pprint
from pathlib import Path
from typing import Any

from resnet_core.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from resnet_core.errors import ConfigError
from resnet_core.models.zoo import get_architecture
from resnet_core.training.config import TrainConfig

TEMPLATE = Path(__file__).resolve().parents[2] / "assets" / "train_template.py"
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
AUGMENTED = ("none", "flip", "crop-flip", "standard")  # what the script can do to pictures
# settings that the script takes over as they are
COPIED = (
    "model", "residual", "zero_init_residual", "pretrained", "freeze", "epochs", "batch_size", "optimizer",
    "learning_rate", "momentum", "weight_decay", "schedule", "warmup", "label_smoothing", "class_weights", "sampling",
    "max_pictures", "mixup", "cutmix", "clip_norm", "patience", "ema_decay", "augment", "image_size",
    "start_image_size", "resize", "flip_average", "precision", "memory_format", "num_threads", "seed",
)  # fmt: skip


def write_train_script(config: TrainConfig, *, device: str = "cpu", changed: tuple[str, ...] = ()) -> str:
    """The text of `train.py` for the resolved settings of a run on that device; `changed` names settings that were
    changed while it ran. Raises ConfigError with the setting that a plain script cannot repeat."""
    _check(config, changed)
    settings = _settings(config, device)
    text = TEMPLATE.read_text(encoding="utf-8")
    written = pprint.pformat(settings, sort_dicts=False, width=100)
    header = "\n".join(_header(config)).replace("\\", "/").replace('"""', "'''")
    return text.replace("SETTINGS = {}  # @SETTINGS@", f"SETTINGS = {written}").replace("@HEADER@", header)


def _check(config: TrainConfig, changed: tuple[str, ...]) -> None:
    if changed:
        raise ConfigError(
            f"train.py cannot repeat this run: {', '.join(changed)} changed while it was on; "
            "«train --replay» repeats the changes too."
        )
    odd = _not_plain(config)
    if odd:
        name, why = odd
        raise ConfigError(f"train.py cannot repeat this run: {name} {why}, which has no plain equivalent.")


def _not_plain(config: TrainConfig) -> tuple[str, str] | None:
    """The first setting that would need more than plain code, and how it is set."""
    assert config.model is not None
    network = get_architecture(config.model)
    found = (
        ("forked_from", bool(config.forked_from), f"is {config.forked_from}"),
        ("init_from", bool(config.init_from), "is a checkpoint of ResNet Lab"),
        ("model", network.family not in ("imagenet", "cifar"), f"is {network.title}"),
        ("optimizer", config.optimizer == "muon", "is muon"),
        ("augment", config.augment not in AUGMENTED, f"is {config.augment}"),
        ("drop_path", config.drop_path > 0, f"is {config.drop_path:g}"),
        ("thaw", bool(config.thaw), f"is {config.thaw}"),
        (
            "max_pictures",  # which ones are left out hangs on the pictures' names, and drawn ones have others as files
            config.max_pictures is not None and config.dataset == "rendered-flowers",
            f"is {config.max_pictures} of the rendered flowers",
        ),
        ("rendered_share", config.rendered_share > 0, f"is {config.rendered_share:g}"),
    )
    return next(((name, why) for name, applies, why in found if applies), None)


def _settings(config: TrainConfig, device: str) -> dict[str, Any]:
    assert config.model is not None
    imagenet = get_architecture(config.model).family == "imagenet"
    depth = int(config.model.removeprefix("resnet"))
    plain = config.normalize == "none"
    kind = device.partition(":")[0]
    return {
        **{name: getattr(config, name) for name in COPIED},
        "stem": (config.stem or "imagenet") if imagenet else "cifar",
        "width": (config.width or 64) if imagenet else 16,
        "blocks": BLOCKS[depth] if imagenet else ((depth - 2) // 6,) * 3,
        "bottleneck": imagenet and depth >= 50,
        "mean": (0.0, 0.0, 0.0) if plain else IMAGENET_MEAN,
        "std": (1.0, 1.0, 1.0) if plain else IMAGENET_STD,
        "device": kind if kind in ("cuda", "mps") else "cpu",
    }


def _header(config: TrainConfig) -> list[str]:
    """What the script is, and what of the run it leaves out because it changes nothing that is learned."""
    name = Path(config.dataset).name
    lines = [f"Trains {get_architecture(config.model or '').title} on {name} as ResNet Lab did."]
    left_out = [
        text
        for applies, text in (
            (config.compile, "the compiled training step (compile)"),
            (config.halve_batch, "going on with half the batch where the memory runs out (halve_batch)"),
            (config.budget_minutes, "the time budget, of which the number of epochs is what it chose (budget_minutes)"),
        )
        if applies
    ]
    if left_out:
        lines += ["", "Left out, since it changes speed and not what is learned:", *(f"  {text}" for text in left_out)]
    if name == "rendered-flowers":
        lines += ["", "The pictures: «python -m resnet_core datasets get rendered-flowers» writes them into a folder."]
    elif name.endswith(".zip") or name == "cifar10":
        lines += ["", "The pictures came from a zip: unpack it first."]
    return lines
