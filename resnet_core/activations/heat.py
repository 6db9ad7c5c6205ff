"""Heat maps of one photo by either method, and whether they may be trusted: what page, API and command line share.

found = heat_map(model, inputs, "layer4", class_index, method="ablation")
found.heat, found.used
trust_heat(model, inputs, "layer4", class_index, method="ablation").verdict.trusted
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from resnet_core.activations.ablation_cam import FEWEST, ablation_cam
from resnet_core.activations.gradcam import grad_cam
from resnet_core.activations.trust import TrustTest, run_trust_test
from resnet_core.activations.turns import InTurn, at_once, stoppable
from resnet_core.errors import ConfigError, ModelError

METHODS = ("gradcam", "ablation")


@dataclass(frozen=True, kw_only=True, eq=False)
class HeatMap:
    """A map [h,w] in [0,1]; `used` of the layer's `channels` went into it, 0 where the method takes all."""

    heat: Tensor
    used: int = 0
    channels: int = 0


def heat_map(
    model: nn.Module,
    inputs: Tensor,
    layer: str,
    class_index: int | None = None,
    *,
    method: str = "gradcam",
    limit: int | None = None,
    in_turn: InTurn = at_once,
) -> HeatMap:
    """Return where one photo [1,3,H,W] speaks for a class: "gradcam", or "ablation" of at most `limit` channels.

    class_index None means the predicted class. Every pass of the network is one piece of work for `in_turn`. Raises
    ConfigError for another method, ModelError as `grad_cam` does.
    """
    if method not in METHODS:
        raise ConfigError(f"There is no method “{str(method)[:40]}”; use {' or '.join(METHODS)}.")
    if method == "gradcam":
        return HeatMap(heat=in_turn(partial(grad_cam, model, inputs, layer, class_index))[0])
    found = ablation_cam(model, inputs, layer, class_index, limit=limit, in_turn=in_turn)
    return HeatMap(heat=found.heat[0], used=found.used, channels=found.channels)


def trust_heat(
    model: nn.Module,
    inputs: Tensor,
    layer: str,
    class_index: int,
    *,
    method: str = "gradcam",
    seed: int = 0,
    in_turn: InTurn | None = None,
    stopped: Callable[[], bool] | None = None,
) -> TrustTest:
    """Return whether the map that `heat_map` gives may be trusted.

    Maps of networks with random weights, of which there are many, take the fewest channels. Every pass of a network is
    one piece of work for `in_turn`. Raises ModelError for more than one photo, WorkStopped once `stopped()` is true,
    else what `heat_map` raises.
    """
    if len(inputs) != 1:
        raise ModelError("The trust test looks at one photo at a time.")

    turns = stoppable(in_turn, stopped)

    def heat_of(network: nn.Module, index: int) -> Tensor:
        limit = None if network is model else FEWEST
        return heat_map(network, inputs, layer, index, method=method, limit=limit, in_turn=turns).heat

    return run_trust_test(model, inputs, class_index, heat_of, seed=seed, in_turn=turns)
