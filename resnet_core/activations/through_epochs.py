"""How a layer answered one photo in the epochs that a run kept.

looks = layer_through_epochs(run, image, "layer2")
looks[0].epoch, looks[0].activation[17]
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from PIL import Image
from torch import Tensor

from resnet_core.activations.capture import capture_activations
from resnet_core.errors import RunError
from resnet_core.inference.neighbours import spread
from resnet_core.training.checkpoint import load_checkpoint
from resnet_core.training.runs import Run

MOST_EPOCHS = 12  # maps in a row; of more kept ones some at even distances, the first and the last among them

InTurn = Callable[[Callable[[], Tensor]], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochLook:
    """A layer's activation after an epoch, float32 [C,h,w] or [K] on the CPU."""

    epoch: int
    activation: Tensor


def layer_through_epochs(
    run: Run, image: Image.Image, layer: str, *, most: int = MOST_EPOCHS, in_turn: InTurn | None = None
) -> tuple[EpochLook, ...]:
    """Return the layer's activation of an RGB picture in up to `most` kept epochs, the earliest first.

    One network is in memory at a time. Raises RunError where the run kept none, or they have gone, ModelError for a
    layer that cannot be observed.
    """
    epochs = run.kept_epochs()
    if not epochs:
        raise RunError(f"Run {run.run_id} kept no epochs; let the next training keep some.")
    looks = []
    for place in spread(len(epochs), most):
        work = partial(_look, run, epochs[place], image, layer)
        looks.append(EpochLook(epoch=epochs[place], activation=in_turn(work) if in_turn else work()))
    return tuple(looks)


def _look(run: Run, epoch: int, image: Image.Image, layer: str) -> Tensor:
    checkpoint, model = load_checkpoint(run.kept_checkpoint(epoch))
    return capture_activations(model, checkpoint.preprocessing(image)[None], [layer])[layer][0]
