"""Asking the model of a run while it learns: which epoch answers, whether there is a newer one, and the dropdowns.

Training never notices: every answer comes from a copy that was loaded from a whole file of the run's folder.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demo.services import Services
from resnet_core.data.image_gate import visible_text
from resnet_core.errors import ResNetLabError
from resnet_core.inference.catalog import IMAGENET, checkpoint_path
from resnet_core.inference.shelf import PREFIX as SHELF
from resnet_core.training.event_log import whole_of
from resnet_core.training.run_notes import read_notes
from resnet_core.training.runs import ENDED, Run

if TYPE_CHECKING:
    from resnet_core.inference.classifier import Classifier

LAST, BEST = "last", "best"
AT_REST = (*ENDED, "interrupted")


@dataclass(frozen=True, kw_only=True)
class Followed:
    """A run's model as the banner tells it. `stamp` changes with every file that takes the place of the last one."""

    model: str
    run_id: str
    name: str
    which: str  # "last", "best" or the number of a kept epoch
    epoch: int  # 0 where the file does not say
    epochs: int
    saved: float  # seconds since 1970
    status: str
    stamp: str

    @property
    def live(self) -> bool:
        """True while another epoch may take this one's place."""
        return self.status not in AT_REST and not self.which.isdigit()

    def to_json(self) -> dict[str, Any]:
        """What the banner's script gets."""
        return {**vars(self), "live": self.live}


def run_of(services: Services, model: str) -> tuple[Run, str] | None:
    """The run a model's name belongs to, and which of its epochs; None for every other model."""
    run_id, _, which = model.partition("/")
    if which and which not in (LAST, BEST) and not which.isdigit():
        return None
    try:
        return services.store.get(run_id), which or BEST
    except ResNetLabError:
        return None


def followed(services: Services, model: str, classifier: "Classifier | None" = None) -> Followed | None:
    """What is to say of that model, None where it is no run's. The epoch is the one that `classifier` is from."""
    found = run_of(services, model)
    if found is None:
        return None
    run, which = found
    try:
        classifier = classifier or services.classifier(model)
        written = os.stat(checkpoint_path(model, services.store)).st_mtime
    except (OSError, ResNetLabError):  # deleted in this moment: the answer itself says so
        return None
    stamp = services.stamp_of(classifier)  # not of the file as it is now: a newer epoch may just have come
    epoch = classifier.checkpoint.training.get("epoch")
    return Followed(
        model=model,
        run_id=run.run_id,
        name=_name_of(run),
        which=which,
        epoch=epoch if isinstance(epoch, int) else 0,
        epochs=planned_epochs(run),
        saved=stamp or written,
        status=services.status(run),
        stamp=str(stamp),
    )


def _name_of(run: Run) -> str:
    name = read_notes(run.folder).name
    if name is None:
        with contextlib.suppress(ResNetLabError):  # settings of another version
            name = run.config().name
    return visible_text(name or run.run_id)


def planned_epochs(run: Run) -> int:
    """How many epochs the run is to have, with what was changed while it ran; 0 before it has begun."""
    epochs = 0
    for event in run.events():
        if event["event"] == "RunStarted":
            epochs = whole_of(event, "epochs")
        elif event["event"] == "Changed" and isinstance(event.get("settings"), dict):
            epochs = whole_of(event["settings"], "epochs") or epochs
    return epochs


def model_facts(model: str, classifier: "Classifier") -> dict[str, Any]:
    """`{"model": {name, run_id, epoch}}` for the answer of a run's model; empty for every other one."""
    if model == "flowers" or model.startswith((SHELF, IMAGENET)):
        return {}
    epoch = classifier.checkpoint.training.get("epoch")
    return {"model": {"name": model, "run_id": model.partition("/")[0], "epoch": epoch}}


def make_follow_ask(services: Services) -> Callable[[object], dict[str, Any]]:
    """The function that a banner on screen calls: the name of its model in, the newest stamp and status out."""

    def ask(question: object) -> dict[str, Any]:
        model = question[0] if isinstance(question, list) and len(question) == 1 else question
        if not isinstance(model, str) or len(model) > 300:
            return {"live": False}
        try:
            return _news(services, model)
        except (OSError, ResNetLabError):
            return {"live": False}

    return ask


def _news(services: Services, model: str) -> dict[str, Any]:
    """Costs two looks at files: nothing is loaded."""
    found = run_of(services, model)
    if found is None:
        return {"live": False}
    run, which = found
    status = services.status(run)
    stamp = str(os.stat(checkpoint_path(model, services.store)).st_mtime)
    return {"stamp": stamp, "status": status, "live": status not in AT_REST and not which.isdigit()}
