"""What a network made of the photos it was last shown, kept so that another look at them is free.

    cache.get(classifier, image, ["layer4"])     runs the network as far as layer4 and keeps what it passed
    cache.get(classifier, image, ["layer2.0"])   runs nothing

Tensors that several layers share are kept once, and ReLUs are applied when asked for, so a photo in ResNet-34 at 224 px
takes 36 MB and not the 53 MB of all its layers.
"""

import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor, nn

from resnet_core.activations.capture import Enough, fitting_inputs, observing, observing_inputs, run_forward
from resnet_core.activations.layers import Relu, find_origins, list_origins
from resnet_core.activations.origins import Origin, Side
from resnet_core.errors import ModelError
from resnet_core.inference.classifier import Classifier
from resnet_core.models.resnet import ResidualBlock

KEPT_BYTES = 320 * 2**20  # eight photos in ResNet-34 at 224 px, one in ResNet-152


@dataclass(kw_only=True, eq=False)
class _Look:
    """What is kept of one photo in one network: tensors [1,C,h,w] or [1,K] without their ReLUs."""

    classifier: "weakref.ref[Classifier]"
    tensors: dict[Origin, Tensor] = field(default_factory=dict)
    size: int = 0  # bytes

    def keep(self, origin: Origin, tensor: Tensor) -> None:
        """Adds a tensor that is not there yet."""
        self.tensors[origin] = tensor
        self.size += _bytes(tensor)


class ActivationCache:
    """Activations of recent photos, at most `limit` bytes; may be used from any thread.

    A classifier that is gone, such as one whose file has changed since, takes its activations with it.
    """

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._lock = threading.RLock()
        self._looks: OrderedDict[tuple[int, str, tuple[str, ...]], _Look] = OrderedDict()  # least recently asked first

    @property
    def size(self) -> int:
        """Bytes kept."""
        with self._lock:
            self._forget_gone()
            return sum(look.size for look in self._looks.values())

    def get(
        self, classifier: Classifier, image: Image.Image, layers: Sequence[str], relu: Relu = "given"
    ) -> dict[str, Tensor]:
        """Return each named layer's activation of an RGB picture, float32 [C,h,w] or [K] on the CPU; do not write
        into it.

        relu "before" or "after" looks on that side of the ReLU beside each layer. At most one forward pass, which ends
        at the deepest layer asked for. Raises ModelError as `capture_activations` and `find_origins` do.
        """
        return self.get_of(classifier, classifier.checkpoint.preprocessing(image), layers, relu)

    def get_of(
        self, classifier: Classifier, prepared: Tensor, layers: Sequence[str], relu: Relu = "given"
    ) -> dict[str, Tensor]:
        """Return the same of a picture as the network sees it, [3,H,W]."""
        origins = find_origins(classifier.model, layers, relu)
        wanted = {_without_relu(origin) for origin in origins.values()}
        with self._lock:
            look = self._look(classifier, prepared)
            missing = wanted - look.tensors.keys()
            passing = self._run(classifier, prepared, look, missing) if missing else {}
            found = {origin: look.tensors.get(origin, passing.get(origin)) for origin in wanted}
        lost = next((name for name, origin in origins.items() if found[_without_relu(origin)] is None), None)
        if lost is not None:
            raise ModelError(f"The layer {lost!r} did not run for this picture; choose another layer.")
        return {name: _shown(found[_without_relu(origin)], origin) for name, origin in origins.items()}

    def _look(self, classifier: Classifier, prepared: Tensor) -> _Look:
        self._forget_gone()
        key = (id(classifier), _digest(prepared), _switched(classifier.model))
        look = self._looks.setdefault(key, _Look(classifier=weakref.ref(classifier)))
        self._looks.move_to_end(key)
        return look

    def _run(
        self, classifier: Classifier, prepared: Tensor, look: _Look, missing: Collection[Origin]
    ) -> dict[Origin, Tensor]:
        """Run the network until all missing ones have been seen; return those, and keep what there is room for."""
        passing: dict[Origin, Tensor] = {}
        left = set(missing)

        def note(origin: Origin, tensor: Tensor) -> None:
            fits = look.size + _bytes(tensor) <= self._limit
            if origin not in look.tensors and (fits or origin in left):
                copied = tensor.detach().to("cpu", torch.float32, copy=True)
                passing.update({origin: copied} if origin in left else {})
                if fits:
                    self._make_room(look.size + _bytes(copied))
                    look.keep(origin, copied)
            left.discard(origin)
            if not left:
                raise Enough

        record(classifier.model, prepared[None], note)
        return passing

    def _make_room(self, size: int) -> None:
        """Drop looks, the least recently asked first, until the latest one may have that many bytes."""
        *others, _ = self._looks
        taken = sum(self._looks[key].size for key in others)
        for key in others:
            if taken + size <= self._limit:
                return
            taken -= self._looks.pop(key).size

    def _forget_gone(self) -> None:
        gone = [key for key, look in self._looks.items() if look.classifier() is None or not look.tensors]
        for key in gone:
            del self._looks[key]


def record(model: nn.Module, inputs: Tensor, note: Callable[[Origin, Tensor], None]) -> None:
    """Run the network over inputs [N,3,H,W] and hand every different tensor of its layers to `note`, in their order.

    What is handed over is the network's own and may be overwritten by the next layer. `note` may raise Enough.
    """
    modules = dict(model.named_modules())
    sides: dict[Side, dict[str, nn.Module]] = {"input": {}, "output": {}}
    for origin in list_origins(model):
        sides[origin.side][origin.module] = modules[origin.module]
    images = fitting_inputs(model, inputs)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(observing(model, sides["output"], _telling(note, "output")))
        stack.enter_context(observing_inputs(sides["input"], _telling(note, "input")))
        try:
            run_forward(model, images)
        except Enough:
            return


def _telling(note: Callable[[Origin, Tensor], None], side: Side) -> Callable[[str, Tensor], None]:
    def tell(name: str, tensor: Tensor) -> None:
        note(Origin(module=name, side=side), tensor)

    return tell


def _shown(tensor: Tensor | None, origin: Origin) -> Tensor:
    assert tensor is not None
    first = tensor[0].contiguous()
    return first.relu() if origin.relu else first


def _without_relu(origin: Origin) -> Origin:
    return Origin(module=origin.module, side=origin.side)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * 4  # kept as float32


def _digest(prepared: Tensor) -> str:
    content = prepared.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()
    return hashlib.blake2b(content, digest_size=16).hexdigest() + str(tuple(prepared.shape))


def _switched(model: nn.Module) -> tuple[str, ...]:
    """Which summands a lesson has switched off: the same photo then gives other activations."""
    blocks = ((name, module) for name, module in model.named_modules() if isinstance(module, ResidualBlock))
    return tuple(f"{name} {block.off}" for name, block in blocks if block.off)
