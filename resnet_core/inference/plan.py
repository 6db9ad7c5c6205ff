"""A trained network written out as plain steps, each BatchNorm folded into the convolution before it.

    make_plan(network)        the steps, with weights of their own; the network itself stays untouched
    run_plan(steps, images)   what the network would answer, computed by torch

Other runtimes walk over the same steps. They are read off the modules, not traced: torch.fx exchanges
`nn.Module.__call__` for all threads while it traces, which would break a training next door.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_core.models.cifar import CifarResNet, PaddedShortcut, TutorialCifarNet
from resnet_core.models.pooled import pool_stage
from resnet_core.models.resnet import BasicBlock, Bottleneck, Network, ResidualBlock, ResNet
from resnet_core.models.whitened import Narrowing, ResNet8, SingleBlock


class UnknownNetwork(Exception):
    """The network holds something no plan can express; it has to run as it is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolve:
    """A convolution with zero padding; weight [K,C,h,w], bias [K], stride and padding a direction."""

    weight: Tensor
    bias: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scale:
    """Each channel times `scale` [C], plus `shift` [C]: a BatchNorm that follows no convolution."""

    scale: Tensor
    shift: Tensor


@dataclass(frozen=True, kw_only=True)
class MaxPool:
    """The largest value under a window that slides."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class Relu:
    """Negative values become zero."""


@dataclass(frozen=True, kw_only=True)
class Thin:
    """Every `stride`-th pixel, with `before` and `after` channels of zeros around the old ones."""

    stride: int
    before: int
    after: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Add:
    """branch(x) + skip(x); no steps in a skip mean x itself. Shapes may broadcast."""

    branch: "tuple[Step, ...]"
    skip: "tuple[Step, ...]"


@dataclass(frozen=True)
class Pool:
    """Mean and spread of every channel are kept for the end; the maps go on as they are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """The mean over height and width, then logits by weight [K,C] and bias [K]; behind them what was pooled."""

    weight: Tensor
    bias: Tensor


Step = Convolve | Scale | MaxPool | Relu | Thin | Add | Pool | Answer


def make_plan(model: nn.Module, *, features: bool = False) -> tuple[Step, ...]:
    """The steps of a network of ours as it answers in eval mode, float32 on the CPU.

    With `features` the answer is that of `answer_with_features`: logits, then the pooled stages.
    Raises UnknownNetwork for any other network and for one without its head.
    """
    if type(model) not in (ResNet, CifarResNet, TutorialCifarNet, ResNet8):
        raise UnknownNetwork(type(model).__name__)
    assert isinstance(model, Network)
    if not model.include_top:
        raise UnknownNetwork("a network without its head")
    steps = _in_order([getattr(model, name) for name in model.stem_names])
    for name in model.stage_names:
        steps = (*steps, *_in_order([getattr(model, name)]), *([Pool()] if features else []))
    return (*steps, Answer(weight=_held(model.fc.weight), bias=_held(model.fc.bias)))


@torch.inference_mode()
def run_plan(steps: Sequence[Step], images: Tensor) -> Tensor:
    """Logits [N,K] of images [N,3,H,W] in the precision and memory format of the steps' weights; with Pool steps
    float32 [N,K+F]."""
    ours = False  # only what was made here may be written to
    pooled: list[Tensor] = []
    for step in steps:
        match step:
            case Convolve():
                images = F.conv2d(images, step.weight, step.bias, step.stride, step.padding)
            case Relu():
                images = images.relu_() if ours else images.relu()
            case Add():
                images = _add(run_plan(step.branch, images), run_plan(step.skip, images), bool(step.branch))
            case MaxPool():
                images = F.max_pool2d(images, step.size, step.stride, step.padding)
            case Scale():
                images = images * step.scale[:, None, None] + step.shift[:, None, None]
            case Thin():
                thinned = images[:, :, :: step.stride, :: step.stride]
                images = F.pad(thinned, (0, 0, 0, 0, step.before, step.after))
            case Pool():
                pooled.append(pool_stage(images))
            case Answer():
                images = F.linear(images.mean((2, 3)), step.weight, step.bias)
                images = torch.cat([images.float(), *pooled], 1) if pooled else images
        ours = True
    return images


T = TypeVar("T")


def convert_plan(
    steps: Sequence[Step], *, device: torch.device, dtype: torch.dtype, memory_format: torch.memory_format
) -> tuple[Step, ...]:
    """The same steps with all tensors on the device, in that precision; kernels in that memory format."""

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor):
            value = value.to(device, dtype)
            return value.contiguous(memory_format=memory_format) if value.ndim == 4 else value
        if isinstance(value, tuple) and value and not isinstance(value[0], int):
            return tuple(_with_fields(step, moved) for step in value)
        return value

    return tuple(_with_fields(step, moved) for step in steps)


def _with_fields(step: T, moved: Any) -> T:
    return replace(step, **{each.name: moved(getattr(step, each.name)) for each in fields(step)})  # type: ignore[type-var,arg-type]


def _add(total: Tensor, skip: Tensor, ours: bool) -> Tensor:
    """Without a copy where the shapes agree; the published tutorial's fault is a skip that broadcasts."""
    return total.add_(skip) if ours and total.shape == skip.shape else total + skip


def _in_order(modules: Sequence[nn.Module]) -> tuple[Step, ...]:
    """The steps of modules that run one after the other."""
    steps: list[Step] = []
    for module in modules:
        if isinstance(module, nn.BatchNorm2d):
            steps.append(_normalize(module, steps.pop() if steps and isinstance(steps[-1], Convolve) else None))
        else:
            steps.extend(_steps_of(module))
    return tuple(steps)


def _steps_of(module: nn.Module) -> tuple[Step, ...]:
    match module:
        case nn.Conv2d():
            return (_convolve(module),)
        case nn.ReLU():
            return (Relu(),)
        case nn.Identity():
            return ()
        case nn.MaxPool2d() if not module.ceil_mode and _pair(module.dilation) == (1, 1):
            size, stride, padding = _pair(module.kernel_size), _pair(module.stride), _pair(module.padding)
            return (MaxPool(size=size, stride=stride, padding=padding),)
        case PaddedShortcut():
            before = module.new_channels // 2
            return (Thin(stride=module.stride, before=before, after=module.new_channels - before),)
        case nn.Sequential():
            return _in_order(list(module))
        case Narrowing():
            return _in_order([module.conv, module.pool, module.bn, module.relu])
        case ResidualBlock():
            return _block(module)
    raise UnknownNetwork(type(module).__name__)


def _block(block: ResidualBlock) -> tuple[Step, ...]:
    match block:
        case BasicBlock():
            branch, last = [block.conv1, block.bn1, block.relu1, block.conv2, block.bn2], block.relu2
        case Bottleneck():
            branch, last = [block.conv1, block.bn1, block.relu1, block.conv2, block.bn2, block.relu2], block.relu3
            branch += [block.conv3, block.bn3]
        case SingleBlock():
            branch, last = [block.conv1, block.bn1], block.relu1
        case _:
            raise UnknownNetwork(type(block).__name__)
    steps = _in_order(branch)
    if block.residual:
        skip = () if block.downsample is None else _in_order([block.downsample])
        steps = (Add(branch=steps, skip=skip),)
    return (*steps, *_in_order([last]))


def _convolve(module: nn.Conv2d) -> Convolve:
    if module.groups != 1 or module.dilation != (1, 1) or module.padding_mode != "zeros":
        raise UnknownNetwork("a grouped, dilated or oddly padded convolution")
    weight = _held(module.weight)
    bias = weight.new_zeros(len(weight)) if module.bias is None else _held(module.bias)
    return Convolve(weight=weight, bias=bias, stride=_pair(module.stride), padding=_pair(module.padding))


def _normalize(module: nn.BatchNorm2d, before: Step | None) -> Step:
    """BatchNorm as it acts in eval mode, inside the convolution before it where there is one; computed in float64."""
    if module.running_mean is None or module.running_var is None or module.weight is None:
        raise UnknownNetwork("a BatchNorm without running statistics")
    scale = _held(module.weight).double() / torch.sqrt(_held(module.running_var).double() + module.eps)
    shift = _held(module.bias).double() - _held(module.running_mean).double() * scale
    if not isinstance(before, Convolve):
        return Scale(scale=scale.float(), shift=shift.float())
    weight = (before.weight.double() * scale[:, None, None, None]).float()
    return replace(before, weight=weight, bias=(before.bias.double() * scale + shift).float())


def _held(tensor: Tensor) -> Tensor:
    """The values on the CPU, where float64 exists (Apple's GPUs have none), outside autograd."""
    return tensor.detach().to("cpu", torch.float32)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, tuple) and len(value) == 2:
        return (int(value[0]), int(value[1]))
    raise UnknownNetwork(f"a size of {value!r}")
