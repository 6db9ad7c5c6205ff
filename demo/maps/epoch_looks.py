"""A photo's activations in the kept epochs of a run, the last ones asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from demo.maps.refreshing import hash_of
from demo.services import Services
from demo.text import say
from resnet_core.data.images import ReadImage
from resnet_core.errors import RunError
from resnet_core.inference.catalog import IMAGENET
from resnet_core.inference.shelf import PREFIX as SHELF

if TYPE_CHECKING:
    pass

LOOKS_KEPT = 2  # sets of up to 12 activations: 38 MB each for the 64 maps of 112×112 that ResNet-34 begins with

Looks = "tuple[EpochLook, ...]"


def run_of(model: str) -> str | None:
    """The id of the run that a model's name belongs to; None for a model that is no run's."""
    if model == "flowers" or model.startswith((SHELF, IMAGENET)):
        return None
    return model.partition("/")[0]


class EpochLooks:
    """What layers made of photos, epoch by epoch; every method may be called from any thread."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, str, tuple[int, ...]], Looks] = OrderedDict()

    def at_hand(self, photo: ReadImage, model: str, layer: str) -> Looks | None:
        """What was found before; None where nobody asked, or the run has kept other epochs since."""
        run_id = run_of(model)
        if run_id is None:
            return None
        with self._lock:
            return self._kept.get(self._key(photo, run_id, layer))

    def find(self, photo: ReadImage, model: str, layer: str, language: str) -> Looks:
        """The layer's activations in the run's kept epochs. Raises RunError where there are none."""
        from resnet_core.activations.through_epochs import layer_through_epochs

        run_id = run_of(model)
        if run_id is None:
            raise RunError(say("detective_no_run", language))
        run = self._services.store.get(run_id)
        if not run.kept_epochs():
            raise RunError(say("detective_no_epochs", language))
        known = self.at_hand(photo, model, layer)
        if known:
            return known
        looks = layer_through_epochs(run, photo.image, layer, in_turn=self._services.desk.run)
        with self._lock:
            self._kept[self._key(photo, run_id, layer)] = looks
            while len(self._kept) > LOOKS_KEPT:
                self._kept.popitem(last=False)
        return looks

    def _key(self, photo: ReadImage, run_id: str, layer: str) -> tuple[str, str, str, tuple[int, ...]]:
        return hash_of(photo), run_id, layer, self._services.store.get(run_id).kept_epochs()
