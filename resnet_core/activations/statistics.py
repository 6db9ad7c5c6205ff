"""What the numbers of a layer and of each of its channels look like, and which channels never speak.

table = channel_statistics(activation)      one row a channel
dead_channels(activation)                   never above zero on this photo
dead_in_all(model, batches, "layer3")       never above zero on any of many pictures
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from resnet_core.activations.capture import Enough, fitting_inputs, observing, run_forward
from resnet_core.activations.layers import find_layers, relu_beside
from resnet_core.activations.stretching import as_maps
from resnet_core.errors import ModelError

BINS = 40
InTurn = Callable[[Callable[[], Tensor]], Tensor]  # does a piece of work when it is its turn


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelStatistics:
    """One number a channel each, float32 [C], over its finite values; NaN where there are none."""

    mean: Tensor
    std: Tensor  # of the values themselves (divided by their count)
    minimum: Tensor
    maximum: Tensor
    zero_share: Tensor  # of all values, exactly 0


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How many values lie in each of equally wide bins from `low` to `high`."""

    low: float
    high: float
    counts: tuple[int, ...]
    left_out: int  # values that are no finite number


@dataclass(frozen=True, kw_only=True, eq=False)
class DeadChannels:
    """Channels that never were above zero on any of `pictures` pictures."""

    layer: str
    dead: Tensor  # bool [C]
    pictures: int

    @property
    def indices(self) -> tuple[int, ...]:
        """The dead ones, in order."""
        return tuple(self.dead.nonzero().flatten().tolist())


def channel_statistics(activation: Tensor) -> ChannelStatistics:
    """Return the statistics of every channel of an activation [C,h,w] or [K]."""
    values = as_maps(activation).flatten(1).double()
    finite = torch.isfinite(values)
    count = finite.sum(1).double()
    count = count.where(count > 0, torch.nan)
    mean = values.where(finite, 0.0).sum(1) / count
    spread = (values - mean[:, None]).where(finite, 0.0).square().sum(1) / count
    some = finite.any(1)
    low = values.where(finite, torch.inf).amin(1).where(some, torch.nan)
    high = values.where(finite, -torch.inf).amax(1).where(some, torch.nan)
    zeros = (values == 0).double().mean(1)
    found = [each.float() for each in (mean, spread.sqrt(), low, high, zeros)]
    return ChannelStatistics(mean=found[0], std=found[1], minimum=found[2], maximum=found[3], zero_share=found[4])


def histogram(activation: Tensor, bins: int = BINS) -> Histogram:
    """Return the histogram of all numbers of an activation of any shape, from the least to the largest.

    Numbers that are all the same lie in the middle bin of a range around them.
    """
    values = activation.detach().to("cpu", torch.float32).flatten()
    finite = values[torch.isfinite(values)]
    if not finite.numel():
        return Histogram(low=0.0, high=0.0, counts=(0,) * bins, left_out=values.numel())
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        half = max(abs(low), 1.0) / 2
        low, high = low - half, high + half
    places = ((finite.double() - low) / (high - low) * bins).long().clamp_(0, bins - 1)
    counts = torch.bincount(places, minlength=bins).tolist()
    return Histogram(low=low, high=high, counts=tuple(counts), left_out=values.numel() - finite.numel())


def can_be_dead(activation: Tensor, beside: str) -> bool:
    """Return whether “never above zero” means silence here: beside a ReLU, or where nothing is negative.

    beside: what `relu_beside` says of the layer. A convolution before its batch norm may be negative throughout and
    still speak.
    """
    return beside != "none" or not bool((activation < 0).any())


def dead_channels(activation: Tensor) -> Tensor:
    """Return which channels of an activation [C,h,w] or [K] have no number above zero, bool [C]."""
    return ~(as_maps(activation).flatten(1) > 0).any(1)


def _at_once(work: Callable[[], Tensor]) -> Tensor:
    return work()


def dead_in_all(
    model: nn.Module,
    batches: Iterable[Tensor],
    layer: str,
    *,
    told: Callable[[int], None] | None = None,
    in_turn: InTurn = _at_once,
) -> DeadChannels:
    """Return which channels of a layer are above zero on none of the pictures of batches [N,3,H,W].

    Tells `told(pictures so far)` after each batch, which is asked by way of `in_turn`. The network runs as far as the
    layer. Raises ModelError for a layer
    that cannot be observed or that has neither maps nor numbers a channel, and where there are no pictures.
    """
    modules = find_layers(model, [layer])
    dead: Tensor | None = None
    pictures = 0
    for batch in batches:
        quiet = in_turn(partial(_quiet, model, batch, modules))
        dead = quiet if dead is None else dead & quiet
        pictures += len(batch)
        if told:
            told(pictures)
    if dead is None:
        raise ModelError("There are no pictures to ask; choose a data set with val pictures.")
    return DeadChannels(layer=layer, dead=dead, pictures=pictures)


def _quiet(model: nn.Module, batch: Tensor, modules: dict[str, nn.Module]) -> Tensor:
    found: list[Tensor] = []

    def note(name: str, output: Tensor) -> None:
        if output.ndim not in (2, 4):
            raise ModelError(f"The layer {name!r} has no channels; choose one with maps.")
        found.append(~(output > 0).flatten(2).any(2).any(0) if output.ndim == 4 else ~(output > 0).any(0))
        raise Enough

    with torch.inference_mode(False), torch.no_grad(), observing(model, modules, note):
        try:
            run_forward(model, fitting_inputs(model, batch))
        except Enough:
            return found[0].cpu()
    raise ModelError(f"The layer {next(iter(modules))!r} did not run for these pictures; choose another layer.")


def dead_on_photo(model: nn.Module, layer: str, activation: Tensor) -> Tensor | None:
    """Return the dead channels of a layer's activation [C,h,w] or [K], None where being dead has no meaning."""
    return dead_channels(activation) if can_be_dead(activation, relu_beside(model, layer)) else None
