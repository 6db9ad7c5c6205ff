"""The training pictures most like a photo, computed when somebody first asks; from then on they follow the photo."""

import base64
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.markup import escape
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from resnet_core.data.images import ReadImage
from resnet_core.errors import CheckpointError
from resnet_core.inference.shelf import PREFIX, shelf_of

if TYPE_CHECKING:
    from resnet_core.inference.classifier import Classifier
    from resnet_core.inference.neighbour_index import NeighbourIndex
    from resnet_core.inference.training_pictures import TrainingPictures

SHOWN = 6  # pictures
LOOK_AGAIN = 0.25  # seconds between two looks at how far it is
NO_PROGRESS = gr.Progress()  # gradio puts another in its place in each call


@dataclass(kw_only=True, eq=False)
class Indexing:
    """The index of a model's training pictures, done or under way in a thread."""

    fingerprint: str  # of the data set
    stand_in: bool = False
    taught: bool = False  # kept when the model was taught
    done: int = 0
    total: int = 0
    answer: "Future[NeighbourIndex]" = field(default_factory=Future)

    def report(self, done: int, total: int) -> None:
        """Notes how far it is."""
        self.done, self.total = done, total

    @property
    def ready(self) -> bool:
        """True once it can be asked."""
        return self.answer.done() and self.answer.exception() is None


class Indexes:
    """One index a model, computed once and by one thread, however many visitors ask for it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._known: weakref.WeakKeyDictionary[Classifier, Indexing] = weakref.WeakKeyDictionary()

    def at_hand(self, classifier: "Classifier") -> Indexing | None:
        """The finished index of that model; None where nobody has asked for it yet."""
        with self._lock:
            known = self._known.get(classifier)
        return known if known and known.ready else None

    def find(self, classifier: "Classifier", told: Callable[[int, int], None], *, model: str = "") -> Indexing:
        """The finished index, after waiting for it; `told(done, total)` hears how far it is.

        `model` is what the page calls it: a taught one has its pictures beside it on the shelf. Raises DatasetError
        where the pictures are not here, and whatever broke the work.
        """
        from resnet_core.inference.training_pictures import training_pictures

        kept = self._kept(classifier, model)
        if kept:
            return kept
        found = training_pictures(classifier.checkpoint, self._services.data_dir, allow_paths=self._services.local)
        indexing = self._begin(classifier, found)
        while True:
            try:
                indexing.answer.result(timeout=LOOK_AGAIN)
                return indexing
            except TimeoutError:
                told(indexing.done, indexing.total)

    def _kept(self, classifier: "Classifier", model: str) -> Indexing | None:
        """What was kept when this model was taught; on a server nothing is, and nothing shown."""
        if not (self._services.local and model.startswith(PREFIX)):
            return None
        known = self.at_hand(classifier)
        if known and known.taught:
            return known
        from resnet_core.inference.taught import recall_pictures

        try:
            index = recall_pictures(classifier.checkpoint, shelf_of(self._services.store).pictures(model))
        except CheckpointError:  # removed in this moment
            return None
        if index is None:
            return None
        indexing = Indexing(fingerprint=classifier.checkpoint.data_fingerprint, taught=True)
        indexing.answer.set_result(index)
        with self._lock:
            self._known[classifier] = indexing
        return indexing

    def _begin(self, classifier: "Classifier", found: "TrainingPictures") -> Indexing:
        with self._lock:
            known = self._known.get(classifier)
            if known and known.fingerprint == found.dataset.fingerprint and (known.ready or not known.answer.done()):
                return known
            indexing = Indexing(fingerprint=found.dataset.fingerprint, stand_in=found.stand_in)
            self._known[classifier] = indexing
        work = threading.Thread(target=self._work, args=(classifier, found, indexing), name="neighbours", daemon=True)
        work.start()
        return indexing

    def _work(self, classifier: "Classifier", found: "TrainingPictures", indexing: Indexing) -> None:
        from resnet_core.inference.neighbours import load_neighbours

        try:
            index = load_neighbours(
                classifier, found.dataset, progress=indexing.report, in_turn=self._services.desk.run
            )
        except BaseException as error:  # whoever waits raises it; the next who asks tries again
            indexing.answer.set_exception(error)
        else:
            indexing.answer.set_result(index)


@dataclass(frozen=True, kw_only=True)
class NearestSection:
    """The part of the page, for whoever refreshes it with the photo."""

    pictures: Any  # gr.HTML
    known: Callable[[ReadImage | None, str, str], str]  # photo, model, language -> HTML, also before somebody has asked


def nearest_section(services: Services, photo: Any, model: Any) -> NearestSection:
    """Builds a button and the place where the pictures appear."""
    indexes = Indexes(services)
    button = gr.Button(label("why_nearest"), size="sm", elem_id="why-nearest-button")
    pictures = gr.HTML("", elem_id="why-nearest")

    @failing_in_a_sentence
    def ask(picture: ReadImage | None, name: str, request: gr.Request, progress: gr.Progress = NO_PROGRESS) -> str:
        language = language_of(request)
        if picture is None:
            return f'<p class="note">{escape(say("why_no_photo", language))}</p>'
        reading = say("why_nearest_reading", language)
        classifier = services.classifier(name)
        unit = say("why_nearest_unit", language)

        def told(done: int, total: int) -> None:
            if total:
                progress((done, total), desc=reading, unit=unit)

        indexing = indexes.find(classifier, told, model=name)
        return nearest_html(services, classifier, indexing, picture, language)

    def known(picture: ReadImage | None, name: str, language: str) -> str:
        classifier = services.classifier(name) if picture else None
        indexing = indexes.at_hand(classifier) if classifier else None
        if indexing and picture:
            return nearest_html(services, classifier, indexing, picture, language)
        return f'<p class="note">{escape(say("why_nearest_first", language))}</p>' if picture else ""

    button.click(
        ask, [photo, model], pictures, concurrency_id="neighbours", concurrency_limit=4, api_visibility="private"
    )
    return NearestSection(pictures=pictures, known=known)


def nearest_html(services: Services, classifier: Any, indexing: Indexing, photo: ReadImage, language: str) -> str:
    """The nearest pictures, how many of them agree with the answer, and what was compared."""
    from resnet_core.inference.neighbours import photo_features

    index = indexing.answer.result()
    answer = services.desk.classify(classifier, photo.image, top_k=1).result().predictions[0].label
    found = index.nearest(services.desk.run(lambda: photo_features(classifier, photo.image)), SHOWN)
    count = Counter(neighbour.label for neighbour in found)[answer]
    key = "why_nearest_same" if count else "why_nearest_none"
    how = "why_nearest_taught" if indexing.taught else "why_nearest_how"
    lines = [
        say(key, language, count=count, total=len(found), label=answer),
        say(how, language, count=f"{len(index):,}", dataset=index.dataset),
        *([say("why_nearest_stand_in", language)] if indexing.stand_in else []),
    ]
    cards = "".join(_card(index.thumbnail(n.place), n.label, n.similarity, language) for n in found)
    notes = "".join(f'<p class="note">{escape(line)}</p>' for line in lines[1:])
    return f'<p class="nearest-line">{escape(lines[0])}</p><div class="nearest">{cards}</div>{notes}'


def _card(picture: bytes, name: str, similarity: float, language: str) -> str:
    words = escape(say("why_nearest_alike", language, label=name, similarity=f"{similarity:.2f}"))
    source = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    return f'<figure><img src="{source}" alt="{escape(name)}"><figcaption>{words}</figcaption></figure>'
