"""Networks: ResNets for ImageNet and CIFAR, their registry, layer tables and pretrained weights."""

from resnet_core.models.cifar import CifarResNet, TutorialCifarNet
from resnet_core.models.describe import (
    LayerDescription,
    ModelDescription,
    describe,
    smallest_image_size,
)
from resnet_core.models.pretrained import (
    PRETRAINED_MODELS,
    PretrainedWeights,
    is_pretrained_cached,
    load_pretrained,
)
from resnet_core.models.resnet import BasicBlock, Bottleneck, Network, ResidualBlock, ResNet
from resnet_core.models.zoo import Architecture, build_model, get_architecture, list_models

__all__ = [
    "PRETRAINED_MODELS",
    "Architecture",
    "BasicBlock",
    "Bottleneck",
    "CifarResNet",
    "LayerDescription",
    "ModelDescription",
    "Network",
    "PretrainedWeights",
    "ResNet",
    "ResidualBlock",
    "TutorialCifarNet",
    "build_model",
    "describe",
    "get_architecture",
    "is_pretrained_cached",
    "list_models",
    "load_pretrained",
    "smallest_image_size",
]
