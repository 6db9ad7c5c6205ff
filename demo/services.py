"""What the pages share: the run store, the runner, loaded models. One object, made by `app.py`, handed to every tab.

torch takes seconds to import, so it comes in a thread of its own once the page is up. Who needs it calls `ready()`.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.classify.many.many_jobs import ManyJobs
from demo.classify.weights.staged_weights import StagedWeights
from demo.desk import BATCH, Desk
from demo.live_board.board_feed import BoardLine, BoardRead
from resnet_core.data.image_gate import visible_text
from resnet_core.errors import CheckpointError, DeviceError, ResNetLabError, RunError
from resnet_core.inference.catalog import ModelEntry, checkpoint_path, list_checkpoints
from resnet_core.training.differences import compare_runs
from resnet_core.training.queue_file import read_queue
from resnet_core.training.run_notes import MAX_NAME
from resnet_core.training.runs import ENDED, Run, RunStore

if TYPE_CHECKING:
    from PIL import Image

    from resnet_core.activations.kept import ActivationCache
    from resnet_core.activations.switching import PrivateCopies
    from resnet_core.inference.classifier import Classification, Classifier
    from resnet_core.training.runner import Runner

log = logging.getLogger(__name__)

MODELS_KEPT = 4  # loaded models, the least recently asked goes first
WARM_UP_LIMIT = 120.0  # seconds a visitor waits for torch before being told


class Services:
    """Long-lived objects behind the pages; every method may be called from any thread."""

    def __init__(self, *, data_dir: Path, runs_dir: Path, local: bool = True) -> None:
        self.data_dir = data_dir
        self.store = RunStore(runs_dir)
        self.local = local  # only people at this machine reach the page: they may name folders on it
        self.desk = Desk()
        self.batches = ManyJobs(self)
        self.staged = StagedWeights(self.store)
        self._lock = threading.Lock()
        self._models: OrderedDict[tuple[str, float], Classifier] = OrderedDict()
        self._warm = threading.Event()
        self._problem: str | None = None
        self._runner: Runner | None = None
        self._activations: ActivationCache | None = None
        self._copies: PrivateCopies | None = None

    def warm_up(self) -> None:
        """Imports torch, loads the shipped model and gets the built-in data set ready, in a thread."""
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()

    @property
    def warm(self) -> bool:
        """True once everything heavy is there."""
        return self._warm.is_set()

    def ready(self) -> None:
        """Returns once torch is there. Raises DeviceError with the cure when it does not load."""
        if not self._warm.wait(WARM_UP_LIMIT):
            raise DeviceError("The network is still loading; try again in a moment.")
        if self._problem:
            raise DeviceError(self._problem)

    @property
    def runner(self) -> Runner:
        """The training thread's owner."""
        self.ready()
        assert self._runner is not None
        return self._runner

    @property
    def activations(self) -> ActivationCache:
        """What the models made of recent photos, so that looking at another layer costs nothing."""
        self.ready()
        from resnet_core.activations.kept import ActivationCache

        with self._lock:
            self._activations = self._activations or ActivationCache()
            return self._activations

    @property
    def private_copies(self) -> PrivateCopies:
        """Copies of the models last asked about, for whoever switches parts of them off."""
        self.ready()
        from resnet_core.activations.switching import PrivateCopies

        with self._lock:
            self._copies = self._copies or PrivateCopies()
            return self._copies

    def models(self, *, kept: bool = False) -> tuple[ModelEntry, ...]:
        """The models that can be asked; with `kept` also the kept epochs of runs."""
        with_imagenet = self.warm and self._problem is None
        return list_checkpoints(self.store, with_imagenet=with_imagenet, kept=kept)

    def classifier(self, name: str) -> Classifier:
        """The model of that name, loaded at most once for each state of its file; training never touches it."""
        self.ready()
        if not isinstance(name, str):  # programs may send anything
            raise CheckpointError("Name the model by a text, such as “flowers”.")
        from resnet_core.inference.catalog import IMAGENET, load_classifier

        stamp = 0.0 if name.startswith(IMAGENET) else _modified(checkpoint_path(name, self.store))
        with self._lock:
            if (name, stamp) in self._models:
                self._models.move_to_end((name, stamp))
                return self._models[name, stamp]
        classifier = load_classifier(name, self.store)
        with self._lock:
            for key in [key for key in self._models if key[0] == name]:
                del self._models[key]
            self._models[name, stamp] = classifier
            while len(self._models) > MODELS_KEPT:
                self._models.popitem(last=False)
        return classifier

    def stamp_of(self, classifier: Classifier) -> float:
        """When the file was written that this classifier was loaded from, in seconds; 0 where it is not kept here."""
        with self._lock:
            return next((stamp for (_, stamp), held in self._models.items() if held is classifier), 0.0)

    def classify(self, name: str, image: Image.Image, *, top_k: int | None = None) -> Classification:
        """The answer of the model of that name for one RGB picture, in turn with other visitors' photos."""
        return self.desk.classify(self.classifier(name), image, top_k=top_k).result()

    def current_run_id(self) -> str | None:
        """The run under way in this app, else one under way elsewhere, else the newest."""
        active = self._runner.active() if self._runner else None
        if active:
            return active.run_id
        runs = self.store.list()
        alive = next((run for run in runs if run.status() not in (*ENDED, "interrupted", "queued")), None)
        chosen = alive or (runs[0] if runs else None)
        return chosen.run_id if chosen else None

    def read(self, run_id: str, after: int) -> BoardRead:
        """Events of a run from the cursor on, and how it is doing. Raises RunError for an unknown one."""
        run = self.store.get(run_id)
        name = run.name
        events = [_named(event, name) for event in run.events(after)]
        return BoardRead(
            events=tuple(events),
            cursor=after + len(events),
            status=self.status(run),
            detail=str(run.heartbeat().get("detail", "")),
            queued=self.queued(),
            name=name,
            lost=run.lost_steps(),
        )

    @property
    def reads_only(self) -> bool:
        """True while another app has the runs folder; `store.check_writable()` says so in a sentence."""
        return self.store.reads_only

    def queued(self) -> tuple[str, ...]:
        """Ids of the runs that wait, the next first, also where another app will train them."""
        if self._runner is None or self.reads_only:
            return read_queue(self.store.runs_dir)
        return self._runner.queued()

    def read_usage(self, run_id: str, after: int) -> list[dict[str, Any]]:
        """What a run took from its machine, from line `after` on. Raises RunError for an unknown one."""
        return self.store.get(run_id).usage(after)

    def board_lines(self) -> list[BoardLine]:
        """All runs as the board's list shows them, newest first."""
        return [
            BoardLine(s.run_id, s.name, self.status(run), s.model, s.dataset, s.best_top1)
            for run in self.store.list()
            for s in (run.summary(),)
        ]

    def differences(self, run_ids: Sequence[str]) -> list[tuple[str, str, tuple[str | None, ...]]]:
        """Setting, title and values, where these two to eight runs differ. Raises RunError."""
        found = compare_runs([self.store.get(run_id) for run_id in run_ids])
        return [(each.setting, each.title, each.values) for each in found]

    def status(self, run: Run) -> str:
        """The run's status, with what this app is about to do with it."""
        phase = self._runner.phase(run.run_id) if self._runner else None
        status = run.status()
        if status in ENDED:
            return status
        return "stopping" if phase == "stopping" else status

    def shutdown(self, timeout: float = 30.0) -> bool:
        """Stops a training in progress, saved, and answers no more photos; True when that worked in time."""
        self.batches.close()
        self.desk.close(timeout=0)  # a photo under way does not hold up the saving
        saved = self._runner.shutdown(timeout) if self._runner else True
        if saved:  # else the folder is ours as long as the training thread still writes
            self.store.release()
        return saved

    def _warm_up(self) -> None:
        try:
            self._load()
        except (ImportError, OSError, RuntimeError) as error:
            log.exception("the libraries do not load")
            self._problem = f"A library does not load ({error}): run «pip install -r requirements.txt» and start again."
        finally:
            self._warm.set()
        self._prepare_quietly()

    def _load(self) -> None:
        from resnet_core.training.runner import Runner

        runner = Runner(self.store, data_dir=self.data_dir)
        self._runner = runner
        if not self.reads_only:
            try:
                runner.take_up_queue()
            except RunError:
                log.exception("the runs that waited could not be taken up")

    def _prepare_quietly(self) -> None:
        """What the first visitor would otherwise wait for: the shipped model and the rendered flowers."""
        try:
            from resnet_core.training.resolve import prepare_default

            self._warm_shipped()
            prepare_default(self.data_dir)
        except (ResNetLabError, OSError, ImportError):
            log.exception("preparing ahead did not work; the first request will do it")

    def _warm_shipped(self) -> None:
        from PIL import Image

        from resnet_core.inference.catalog import SHIPPED

        if SHIPPED.is_file():
            grey = Image.new("RGB", (128, 128), "grey")
            classifier = self.classifier("flowers")
            self.desk.run(classifier.warm_up)
            for together in (1, BATCH):  # the first time costs more, for each size of batch
                self.desk.run(partial(classifier.classify_batch, [grey] * together))


def run_choices(services: Services) -> list[tuple[str, str]]:
    """(title, run id) of every run, newest first."""
    choices: list[tuple[str, str]] = []
    for run in services.store.list():
        summary = run.summary()
        best = f" · {summary.best_top1:.1%}" if summary.best_top1 is not None else ""
        name = visible_text(summary.name, MAX_NAME) or summary.run_id
        choices.append((f"{name} · {services.status(run)}{best}", summary.run_id))
    return choices


def model_choices(services: Services) -> list[tuple[str, str]]:
    """(title, name) of every model that can be asked."""
    return [(entry.title, entry.name) for entry in services.models()]


def refreshed_models(services: Services, chosen: str | None) -> Any:
    """The update of a dropdown of models: all there are now, and the shipped one where the chosen one has gone."""
    import gradio as gr

    choices = model_choices(services)
    if chosen in {name for _, name in choices}:
        return gr.update(choices=choices)  # with a value the page might ask again
    return gr.update(choices=choices, value="flowers")


def as_answer(error: Exception) -> dict[str, Any]:
    """The sentence of a failure, for answers that carry it as a field."""
    return {"error": str(error)}


def _named(event: dict[str, Any], name: str) -> dict[str, Any]:
    """The first event of a run with the name a person gave it, for the headline above the curves."""
    return event | {"name": name} if event["event"] == "RunStarted" else event


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError as error:
        raise RunError("The checkpoint of this model is gone; choose another model.") from error
