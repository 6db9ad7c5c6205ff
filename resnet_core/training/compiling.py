"""torch.compile for the training step, tried out before it is relied on."""

import logging
from collections.abc import Callable

import torch
from torch import nn

from resnet_core.device import DeviceChoice
from resnet_core.errors import ResNetLabError

log = logging.getLogger(__name__)

Forward = Callable[[torch.Tensor], torch.Tensor]


class CompilationFailed(ResNetLabError):
    """There is no working compiler for this network on this machine."""


def compile_forward(network: nn.Module, shape: tuple[int, int, int, int], where: DeviceChoice) -> Forward:
    """The forward pass compiled for training on images of exactly this shape; others run uncompiled.

    A leftover batch or smaller first pictures would each cost a compilation of their own. The network is run once there
    and back in the modes it is in, and keeps its statistics. Raises CompilationFailed.
    """
    before = [buffer.clone() for buffer in network.buffers()]
    try:
        fast = torch.compile(network)
        images = torch.zeros(shape, device=where.device).contiguous(memory_format=where.memory_format)
        with where.autocast():
            logits = fast(images)
        logits.float().sum().backward()
    except Exception as error:  # whatever a compiler may do
        log.warning("compilation failed", exc_info=True)
        raise CompilationFailed(
            f"Compilation does not work here ({type(error).__name__}); the training runs without it."
        ) from error
    finally:
        with torch.no_grad():
            for buffer, value in zip(network.buffers(), before, strict=True):
                buffer.copy_(value)
        network.zero_grad(set_to_none=True)

    def forward(images: torch.Tensor) -> torch.Tensor:
        return fast(images) if images.shape == shape else network(images)  # type: ignore[no-any-return]

    return forward
