"""Named sets of settings. The two tutorials are reproduced exactly; `default` is what you would pick today.

default            chosen by data and device, see `resolve`
tutorial-flowers   T1: ResNet-34, 224 px, random cut and flip, batch 16, Adam 1e-4, 3 epochs
tutorial-cifar10   T2: its small ResNet, 32 px, no normalisation, batch 32, Adam 1e-3
flowers            the first part of the shipped checkpoint's recipe, which stands alone as well
flowers-finish     its later parts, which go on from weights (`init_from`) with harder and larger pictures
flowers-quick      flower photos in about two minutes on two cores: a narrow ResNet-18, pictures of 48 to 64 px
cifar-fast         CIFAR-10 as fast as we know: ResNet-8 with a whitening stem, Muon, flips in turns; any number of
                   epochs ends annealed, `width` sets the rest of the cost
"""

from typing import Any

from resnet_core.data.image_gate import visible_text
from resnet_core.errors import ConfigError
from resnet_core.training.config import TrainConfig

_PLAIN: dict[str, Any] = {
    "weight_decay": 0.0,
    "schedule": "constant",
    "label_smoothing": 0.0,
    "ema_decay": 0.0,
    "zero_init_residual": False,
    "flip_average": False,
    "precision": "fp32",
}

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "tutorial-flowers": {
        **_PLAIN,
        "dataset": "flower_photos",
        "model": "resnet34",
        "stem": "imagenet",
        "epochs": 3,
        "batch_size": 16,
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "augment": "crop-flip",
        "image_size": 224,
        "resize": 256,
        "normalize": "imagenet",
    },
    "tutorial-cifar10": {
        **_PLAIN,
        "dataset": "cifar10",
        "model": "tutorial-cifar",
        "epochs": 3,
        "batch_size": 32,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "augment": "none",
        "image_size": 32,
        "resize": 32,
        "normalize": "none",
    },
    "flowers": {
        "dataset": "flower_photos",
        "model": "resnet18",
        "stem": "imagenet",
        "width": 48,
        "epochs": 40,
        "batch_size": 32,
        "optimizer": "sgd",
        "learning_rate": 0.06,
        "weight_decay": 5e-4,
        "schedule": "one-cycle",
        "label_smoothing": 0.1,
        "ema_decay": 0.995,
        "zero_init_residual": True,
        "augment": "standard",
        "image_size": 112,
        "start_image_size": 64,
        "resize": 128,
        "normalize": "imagenet",
        "rendered_share": 0.1,
        "flip_average": True,
    },
    "flowers-finish": {
        "dataset": "flower_photos",
        "model": "resnet18",
        "stem": "imagenet",
        "width": 48,
        "epochs": 72,
        "batch_size": 32,
        "optimizer": "sgd",
        "learning_rate": 0.03,
        "weight_decay": 5e-4,
        "schedule": "one-cycle",
        "warmup": 0.06,
        "label_smoothing": 0.1,
        "mixup": 0.2,
        "cutmix": 1.0,
        "drop_path": 0.05,
        "ema_decay": 0.998,
        "zero_init_residual": True,
        "augment": "strong",
        "image_size": 128,
        "start_image_size": 80,
        "resize": 144,
        "normalize": "imagenet",
        "rendered_share": 0.1,
        "flip_average": True,
    },
    "flowers-quick": {
        "dataset": "flower_photos",
        "model": "resnet18",
        "stem": "imagenet",
        "width": 32,
        "epochs": 7,
        "batch_size": 32,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "weight_decay": 5e-4,
        "schedule": "one-cycle",
        "warmup": 0.2,
        "label_smoothing": 0.1,
        "zero_init_residual": True,
        "augment": "standard",
        "image_size": 64,
        "start_image_size": 48,
        "resize": 72,
        "normalize": "imagenet",
        "flip_average": True,
    },
    "cifar-fast": {
        "dataset": "cifar10",
        "model": "resnet8",
        "width": 32,
        "epochs": 3,
        "batch_size": 256,
        "optimizer": "muon",
        "learning_rate": 0.24,
        "momentum": 0.6,
        "weight_decay": 5e-4,
        "schedule": "one-cycle",
        "warmup": 0.0,
        "label_smoothing": 0.2,
        "ema_decay": 0.0,
        "augment": "shift-flip",
        "image_size": 32,
        "resize": 32,
        "normalize": "imagenet",
        "flip_average": True,
    },
}

PRESET_TITLES = {
    "default": "Default (chosen for your data)",
    "tutorial-flowers": "Tutorial: flowers, ResNet-34",
    "tutorial-cifar10": "Tutorial: CIFAR-10",
    "flowers": "The shipped checkpoint's recipe, first part",
    "flowers-finish": "… second part: harder pictures, more epochs",
    "flowers-quick": "Flower photos in about two minutes",
    "cifar-fast": "CIFAR-10 in a minute or two, ResNet-8",
}


def make_config(preset: str = "default", **settings: Any) -> TrainConfig:
    """The preset's settings with `settings` laid over them; None among them means: as the preset says."""
    if preset not in PRESETS:
        raise ConfigError(f"“{visible_text(str(preset))}” is not a preset; use one of {', '.join(PRESETS)}.")
    given = {key: value for key, value in settings.items() if value is not None}
    return TrainConfig.from_json({**PRESETS[preset], **given, "preset": preset})
