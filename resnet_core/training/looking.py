"""What the body of a network makes of labelled pictures, computed once for each picture and kept for the next time.

Pressing “Teach” again after adding a few pictures runs the network for those few alone.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from resnet_core.data.image_gate import visible_text
from resnet_core.data.loaders import ahead
from resnet_core.data.preprocessing import draft_size, small_copy, to_pixels
from resnet_core.errors import DatasetError, ModelError, ResNetLabError
from resnet_core.models.pooled import answer_with_features, stage_channels
from resnet_core.models.resnet import Network
from resnet_core.training.bursts import thumbnail
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.examples import Example

TOGETHER = 8  # pictures that go through the network at once; others' work may come between two batches
BYTES_KEPT = 256 << 20  # 20 kB a picture with ResNet-18, 50 kB with ResNet-50

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A checkpoint whose body is borrowed. `title` is what people call it, `key` differs for other weights."""

    title: str
    checkpoint: Checkpoint
    network: Network
    key: str


def make_backbone(title: str, checkpoint: Checkpoint, network: nn.Module) -> Backbone:
    """The backbone of a loaded model, which must be in eval mode and is left as it is. Raises ModelError."""
    if not isinstance(network, Network) or not network.include_top:
        raise ModelError(f"“{visible_text(title)}” ends without a layer fc; choose another model to teach.")
    digest = hashlib.sha256(repr(checkpoint.preprocessing).encode())
    for name, tensor in network.state_dict().items():
        if not name.startswith("fc."):
            digest.update(tensor.detach().to("cpu").contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return Backbone(title=title, checkpoint=checkpoint, network=network, key=digest.hexdigest())


@dataclass(frozen=True, kw_only=True)
class Look:
    """One picture as a backbone sees it."""

    content: str  # digest of the pixels that reach the network: equal pictures have equal ones
    thumbnail: torch.Tensor  # uint8 [768]
    views: torch.Tensor  # float32 [2, C]: what `fc` is given for the picture and for its mirror image
    stages: torch.Tensor  # float32 [F]: the pooled stages as answers have them, from the first to the last
    copy: bytes  # a small JPEG of what the network sees, for people

    def size(self) -> int:
        """Bytes."""
        return self.thumbnail.nbytes + self.views.nbytes + self.stages.nbytes + len(self.copy)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """One picture on its way to the backbone."""

    pixels: torch.Tensor  # uint8 [3, H, W]
    thumbnail: torch.Tensor
    copy: bytes


class LookMemory:
    """Looks by backbone and picture, the least recently used are dropped; threads may share it."""

    def __init__(self, limit: int = BYTES_KEPT) -> None:
        self._limit = limit
        self._held = 0
        self._lock = threading.Lock()
        self._looks: OrderedDict[tuple[str, str], Look] = OrderedDict()

    def get(self, backbone: str, picture: str) -> Look | None:
        """What was kept of that picture."""
        with self._lock:
            look = self._looks.get((backbone, picture))
            if look is not None:
                self._looks.move_to_end((backbone, picture))
            return look

    def put(self, backbone: str, picture: str, look: Look) -> None:
        """Keeps a look."""
        with self._lock:
            before = self._looks.pop((backbone, picture), None)
            self._looks[backbone, picture] = look
            self._held += look.size() - (before.size() if before else 0)
            while self._held > self._limit and len(self._looks) > 1:
                self._held -= self._looks.popitem(last=False)[1].size()


def look_at(
    examples: Sequence[Example],
    backbone: Backbone,
    memory: LookMemory,
    *,
    progress: Progress | None = None,
    in_turn: Callable[[Callable[[], Any]], Any] = lambda work: work(),
) -> list[Look | str]:
    """A look at each picture in order, or the sentence why it cannot be read. `in_turn` runs what needs the network."""
    found: dict[str, Look | str] = {}
    for example in examples:
        known = memory.get(backbone.key, example.key)
        if known is not None:
            found[example.key] = known
    fresh = list({example.key: example for example in examples if example.key not in found}.values())
    done = len(examples) - len(fresh)
    parts = [fresh[start : start + TOGETHER] for start in range(0, len(fresh), TOGETHER)]
    for part, squares in zip(parts, ahead([partial(_read, part, backbone) for part in parts]), strict=True):
        looks = in_turn(partial(_see, squares, backbone))
        for example, look in zip(part, looks, strict=True):
            found[example.key] = look
            if isinstance(look, Look):
                memory.put(backbone.key, example.key, look)
        done += len(part)
        if progress:
            progress(done, len(examples))
    return [found[example.key] for example in examples]


def _read(part: Sequence[Example], backbone: Backbone) -> list[Opened | str]:
    """Each picture, or why not."""
    preprocessing = backbone.checkpoint.preprocessing
    opened: list[Opened | str] = []
    for example in part:
        try:
            image = example.read(draft_size(preprocessing.resize))
            pixels = to_pixels(preprocessing.square(image))
            opened.append(Opened(pixels=pixels, thumbnail=thumbnail(image), copy=small_copy(pixels)))
        except ResNetLabError as error:
            opened.append(str(error))
    return opened


def _see(read: Sequence[Opened | str], backbone: Backbone) -> list[Look | str]:
    usable = [item for item in read if not isinstance(item, str)]
    seen = iter(_features(torch.stack([item.pixels for item in usable]), backbone) if usable else ())
    looks: list[Look | str] = []
    for item in read:
        if isinstance(item, str):
            looks.append(item)
        else:
            views, stages = next(seen)
            content = _digest(item.pixels)
            looks.append(Look(content=content, thumbnail=item.thumbnail, views=views, stages=stages, copy=item.copy))
    return looks


@torch.no_grad()
def _features(pixels: torch.Tensor, backbone: Backbone) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each picture what `fc` is given in both views, `[2, C]`, and the pooled stages `[F]`, float32 on the CPU.

    Raises DatasetError where the network returns what is no number.
    """
    network, flip_average = backbone.network, backbone.checkpoint.flip_average
    device = next(network.parameters()).device
    images = backbone.checkpoint.preprocessing.normalize(pixels.to(device))
    images = images.contiguous(memory_format=torch.channels_last)
    both = [answer_with_features(network, view).cpu()[:, network.num_classes :] for view in (images, images.flip(-1))]
    if not all(torch.isfinite(rows).all() for rows in both):
        raise DatasetError(f"“{visible_text(backbone.title)}” returns invalid numbers; choose another model to teach.")
    last = stage_channels(network)[-1]
    heads = [rows[:, -2 * last : -last] for rows in both]  # means of the last stage; its spreads follow them
    stages = (both[0] + both[1]) / 2 if flip_average else both[0]
    return list(zip(torch.stack(heads, dim=1).clone(), stages.clone(), strict=True))


def _digest(pixels: torch.Tensor) -> str:
    return hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest()[:32]
