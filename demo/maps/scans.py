"""Scans of layers, computed once and by one thread, however many visitors ask; see activations/channel_scan.py.

scans.find(name, "layer2", "own_val", session="…", told=…)      waits; `told(stage, done, total)` hears how far it is
scans.at_hand(name, "layer2", "own_val")                        the finished one, or None
scans.stop("…")                                                 that visitor waits no longer
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from demo.desk import CLOSED, Desk
from demo.services import Services
from resnet_core.errors import DeviceError

if TYPE_CHECKING:
    from resnet_core.activations.channel_scan import ChannelScan
    from resnet_core.activations.picture_sample import PictureSample
    from resnet_core.data.datasets import DatasetSpec
    from resnet_core.inference.classifier import Classifier

T = TypeVar("T")

SCANS_KEPT = 12  # of 2,048 channels 2.5 MB each, and eight bytes a channel and class
SAMPLES_KEPT = 2  # sets of decoded pictures, up to 256 MB each; others come back from the disk
LOOK_AGAIN = 0.25  # seconds between two looks at how far it is

SPLITS = {"own_val": "val", "own_train": "train", "rendered": "val"}  # which pictures: of which split
READING, LOOKING = "reading", "looking"

Told = Callable[[str, int, int], None]
Key = tuple[str, float, str, str]  # model's name, when the file was written that was read, layer, which pictures


@dataclass(frozen=True, kw_only=True, eq=False)
class Scanned:
    """A finished scan and where its pictures come from."""

    scan: ChannelScan
    dataset: DatasetSpec
    split: str


@dataclass(kw_only=True, eq=False)
class _Scanning:
    """A scan under way."""

    fingerprint: str  # of the data set
    waiting: set[str]  # sessions
    stage: str = READING
    done: int = 0
    total: int = 0
    answer: Future[Scanned] = field(default_factory=Future)


class Scans:
    """What was found of each model, layer and set of pictures; every method may be called from any thread."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._known: OrderedDict[Key, _Scanning] = OrderedDict()
        self._samples: OrderedDict[str, PictureSample] = OrderedDict()

    def at_hand(self, model: str, layer: str, which: str) -> Scanned | None:
        """The finished scan; None where nobody has asked for it yet, or it failed. Raises as loading the model does."""
        key = self._key(self._services.classifier(model), model, layer, which)
        with self._lock:
            known = self._known.get(key)
        return known.answer.result() if known and _succeeded(known) else None

    def find(self, model: str, layer: str, which: str, *, session: str, told: Told) -> Scanned:
        """The finished scan, after waiting for it.

        Raises DatasetError where the pictures are not here, ScanStopped once this session has stopped it, and whatever
        broke the work.
        """
        from resnet_core.activations.channel_scan import ScanStopped

        classifier = self._services.classifier(model)
        scanning = self._begin(classifier, model, layer, which, session)
        while True:
            try:
                return scanning.answer.result(timeout=LOOK_AGAIN)
            except TimeoutError:
                if scanning.answer.done():  # the work's own, such as a disk's, or the scan came at this very moment
                    return scanning.answer.result()
                told(scanning.stage, scanning.done, scanning.total)
            with self._lock:
                gone = session not in scanning.waiting
            if gone and not scanning.answer.done():
                seen = f"{scanning.done:,} of {scanning.total:,}" if scanning.stage == LOOKING else "0"
                raise ScanStopped(f"Stopped after {seen} pictures; start again whenever you like.")

    def stop(self, session: str) -> None:
        """Lets that visitor go; work that nobody else waits for ends within a batch."""
        with self._lock:
            for scanning in self._known.values():
                scanning.waiting.discard(session)

    def sample(self, classifier: Classifier, scanned: Scanned) -> PictureSample:
        """The pictures of a scan, decoded."""
        return self.pictures(classifier, scanned.dataset, scanned.split)

    def pictures(
        self,
        classifier: Classifier,
        dataset: DatasetSpec,
        split: str,
        *,
        most: int | None = None,
        told: Told | None = None,
    ) -> PictureSample:
        """Pictures of a data set as the model wants them: up to `most`, None as a scan takes them."""
        from resnet_core.activations.picture_sample import MOST_PICTURES, load_sample

        preprocessing, most = classifier.checkpoint.preprocessing, most or MOST_PICTURES
        key = f"{dataset.fingerprint}/{split}/{most}/{preprocessing.resize}/{preprocessing.to_json()}"
        with self._lock:
            if key in self._samples:
                self._samples.move_to_end(key)
                return self._samples[key]
        progress = (lambda done, total: told(READING, done, total)) if told else None
        sample = load_sample(dataset, split, preprocessing, most=most, progress=progress)
        with self._lock:
            self._samples[key] = sample
            while len(self._samples) > SAMPLES_KEPT:
                self._samples.popitem(last=False)
        return sample

    def dataset(self, classifier: Classifier, which: str) -> DatasetSpec:
        """The data set meant by "own_val", "own_train" or "rendered". Raises DatasetError with what to do."""
        from resnet_core.activations.picture_sample import own_pictures
        from resnet_core.data.datasets import rendered_flowers
        from resnet_core.errors import DatasetError

        if which not in SPLITS:
            raise DatasetError("Choose the model's own pictures or the rendered flowers.")
        if which == "rendered":
            return rendered_flowers()
        services = self._services
        return own_pictures(classifier.checkpoint, services.data_dir, allow_paths=services.local)

    def _key(self, classifier: Classifier, model: str, layer: str, which: str) -> Key:
        """By the file that was read; the one that lies there now may be a newer one."""
        return model, self._services.stamp_of(classifier), layer, which

    def _begin(self, classifier: Classifier, model: str, layer: str, which: str, session: str) -> _Scanning:
        dataset, key = self.dataset(classifier, which), self._key(classifier, model, layer, which)
        with self._lock:
            known = self._known.get(key)
            if known and known.fingerprint == dataset.fingerprint and not _over(known):
                known.waiting.add(session)
                self._known.move_to_end(key)
                return known
            scanning = _Scanning(fingerprint=dataset.fingerprint, waiting={session})
            self._known[key] = scanning
            self._trim()
        arguments = (classifier, dataset, SPLITS[which], layer, scanning)
        threading.Thread(target=self._work, args=arguments, name="scan", daemon=True).start()
        return scanning

    def _trim(self) -> None:
        finished = [key for key, each in self._known.items() if each.answer.done()]
        for key in finished[: max(0, len(self._known) - SCANS_KEPT)]:
            del self._known[key]

    def _work(self, classifier: Classifier, dataset: DatasetSpec, split: str, layer: str, scanning: _Scanning) -> None:
        from resnet_core.activations.channel_scan import ScanStopped, scan_channels

        def told(stage: str, done: int, total: int) -> None:
            scanning.stage, scanning.done, scanning.total = stage, done, total
            if stage == READING and not scanning.waiting:
                raise ScanStopped("Stopped while the pictures were read; start again whenever you like.")

        try:
            sample = self.pictures(classifier, dataset, split, told=told)
            told(LOOKING, 0, len(sample))
            scan = scan_channels(
                classifier.model,
                sample,
                layer,
                progress=lambda done, total: told(LOOKING, done, total),
                in_turn=partial(patiently, self._services.desk, gone=lambda: not scanning.waiting),
                stopped=lambda: not scanning.waiting,
            )
        except BaseException as error:  # whoever waits raises it; the next who asks tries again
            scanning.answer.set_exception(error)
        else:
            scanning.answer.set_result(Scanned(scan=scan, dataset=dataset, split=split))


def patiently(desk: Desk, work: Callable[[], T], *, gone: Callable[[], bool]) -> T:
    """What `work()` returns, at the desk; where too many wait there, a piece of a long work comes again a little later.

    Raises what the work raises, and the desk's DeviceError once it is closed or everybody has `gone`.
    """
    begun = threading.Event()

    def begin() -> T:
        begun.set()
        return work()

    while True:
        try:
            return desk.run(begin)
        except DeviceError as refused:
            if begun.is_set() or str(refused) == CLOSED or gone():
                raise
        time.sleep(LOOK_AGAIN)


def _succeeded(scanning: _Scanning) -> bool:
    return scanning.answer.done() and scanning.answer.exception() is None


def _over(scanning: _Scanning) -> bool:
    """True for a scan that failed, or that everybody has given up: it cannot be joined."""
    return not _succeeded(scanning) and (scanning.answer.done() or not scanning.waiting)
