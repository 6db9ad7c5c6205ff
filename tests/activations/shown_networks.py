"""Small classifiers with batch norms as after a training, and what counts how often their layers run."""

from collections import Counter
from typing import Any

import torch
from PIL import Image
from torch import nn

from resnet_core.data.preprocessing import Preprocessing
from resnet_core.inference.classifier import Classifier
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint

EDGE = 64  # px the classifiers look at


def lived(name: str = "resnet18", *, classes: int = 5, **arguments: Any) -> nn.Module:
    """A network whose batch norms have statistics of their own, so that no layer is like another."""
    torch.manual_seed(0)
    model = build_model(name, num_classes=classes, **arguments)
    generator = torch.Generator().manual_seed(7)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            count = module.num_features
            module.running_mean.copy_(torch.randn(count, generator=generator) * 0.2)
            module.running_var.copy_(torch.rand(count, generator=generator) + 0.5)
            module.weight.data.copy_(torch.rand(count, generator=generator) * 0.6 + 0.2)
            module.bias.data.copy_(torch.randn(count, generator=generator) * 0.2)
    return model.eval()


def classifier_of(name: str = "resnet18", *, edge: int = EDGE, classes: int = 5, **arguments: Any) -> Classifier:
    """A classifier around such a network; the ImageNet family is 16 channels wide if nothing else is said."""
    if name in ("resnet18", "resnet34", "resnet50"):
        arguments.setdefault("width", 16)
    model = lived(name, classes=classes, **arguments)
    checkpoint = Checkpoint(
        architecture=name,
        architecture_arguments=dict(model.architecture_arguments),
        class_names=tuple(f"flower {index}" for index in range(classes)),
        preprocessing=Preprocessing(resize=edge + 8, crop=edge),
    )
    return Classifier(checkpoint, model, engine="plain")


def photo_of(seed: int = 0, size: tuple[int, int] = (90, 80)) -> Image.Image:
    """A picture of noise."""
    noise = torch.randint(0, 256, (size[1], size[0], 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(noise.byte().numpy())


class Runs:
    """How often each module of a network has run, counted by hooks that stay outside of what is tested."""

    def __init__(self, model: nn.Module) -> None:
        self.count: Counter[str] = Counter()
        for name, module in model.named_modules():
            module.register_forward_pre_hook(lambda _, __, name=name: self.count.update([name]))

    @property
    def forwards(self) -> int:
        """Forward passes of the whole network, also those that were broken off."""
        return self.count[""]
