"""From a picture to ranked answers, with the checkpoint's own preprocessing, class names and temperature.

classifier = Classifier.load(path)
classifier.classify(image).predictions[0]     # Prediction(label="tulips", probability=0.93)

The first pictures go through the network as it is. Once they have taken as long as finding a faster engine would,
or when `warm_up` is called, one is chosen (engine_choice.py): so one photo never waits for a search that cannot pay.
"""

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from resnet_core.data.preprocessing import Preprocessing, draft_size
from resnet_core.errors import CheckpointError, ImageError
from resnet_core.inference.engine_choice import Choice, ask, check_family, choose_engine
from resnet_core.inference.engines import PlainEngine
from resnet_core.inference.reading import Source, read_ahead
from resnet_core.models.logits import compute_logits
from resnet_core.models.pretrained import load_pretrained
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint

log = logging.getLogger(__name__)

CHOOSING_SECONDS = 1.0  # about what importing, building and trying out an engine takes
STREAM_BATCH = 8  # pictures that `classify_many` sends through the network together


@dataclass(frozen=True)
class Prediction:
    """One ranked answer; the probability lies in [0, 1]."""

    label: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Classification:
    """All answers for one picture, the most probable first."""

    predictions: tuple[Prediction, ...]
    unknown: bool  # the checkpoint has a threshold and the picture falls below it
    score: float | None = None  # how known the picture looks, in [0, 1]; what the threshold is compared with
    seen: Image.Image  # the picture as the network saw it
    seconds: float  # preprocessing and network


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """What the network makes of some pictures, float32 on the CPU."""

    probabilities: Tensor  # [N, K], calibrated
    scores: Tensor  # [N], how known each picture looks


class Classifier:
    """A model that answers; it is never trained and never changes, so threads may share it.

    `engine` is one of auto, plain, folded, openvino; without it $RESNET_LAB_ENGINE, else auto. With precision "fp32"
    nothing computes in bfloat16; `features` adds the pooled stages to `answer_rows` although the checkpoint does not
    ask for them. Raises ConfigError for another engine.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        model: nn.Module,
        *,
        device: torch.device | None = None,
        engine: str | None = None,
        precision: str = "auto",
        features: bool = False,
    ) -> None:
        self.checkpoint = checkpoint
        self.device = device or torch.device("cpu")
        model = model.to(self.device).to(memory_format=torch.channels_last)
        self.model: nn.Module = model.eval().requires_grad_(False)
        self._requested = check_family(engine or os.environ.get("RESNET_LAB_ENGINE") or "auto")
        self._precision = precision
        self._plain = PlainEngine(self.model, self.device, features=features or checkpoint.unknown is not None)
        waiting = "Engine: plain, until so many pictures were asked that looking for a faster one pays."
        self._choice = Choice(engine=self._plain, name="plain", reason=waiting)
        self._choosing = threading.Lock()
        self._chosen = False
        self._seconds = 0.0  # spent in the plain network so far

    @classmethod
    def load(
        cls, path: Path, *, device: torch.device | None = None, engine: str | None = None, precision: str = "auto"
    ) -> "Classifier":
        """The classifier of a checkpoint file. Raises CheckpointError, and ConfigError for an unknown engine."""
        return cls(*load_checkpoint(path), device=device, engine=engine, precision=precision)

    @classmethod
    def pretrained(cls, name: str, *, device: torch.device | None = None, engine: str | None = None) -> "Classifier":
        """torchvision's published ImageNet model of 1000 classes. Raises ModelError when it cannot be had."""
        weights = load_pretrained(name)
        model = build_model(name)
        model.load_state_dict(weights.state_dict)
        preprocessing = Preprocessing(resize=weights.resize, crop=weights.crop, mean=weights.mean, std=weights.std)
        checkpoint = Checkpoint(
            architecture=name,
            architecture_arguments=dict(model.architecture_arguments),
            class_names=tuple(weights.class_names),
            preprocessing=preprocessing,
        )
        return cls(checkpoint, model, device=device, engine=engine)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in label order."""
        return self.checkpoint.class_names

    @property
    def engine_name(self) -> str:
        """What computes the answers now: plain, folded, openvino, the latter two with -bf16 where it is used."""
        return self._choice.engine.name

    @property
    def engine_reason(self) -> str:
        """One sentence on why it is this engine."""
        return self._choice.reason

    @property
    def draft_size(self) -> int:
        """What to hand to `read_image`: large JPEGs are decoded at a fraction that is exact enough for this model."""
        return draft_size(self.checkpoint.preprocessing.resize)

    def warm_up(self) -> None:
        """Chooses the engine now, in at most about two seconds; for a server, before the first visitor."""
        with self._choosing:
            if not self._chosen:
                self._choose()

    def classify(self, image: Image.Image, *, top_k: int | None = None) -> Classification:
        """The answer for one RGB picture."""
        return self.classify_batch([image], top_k=top_k)[0]

    def classify_batch(self, images: Sequence[Image.Image], *, top_k: int | None = None) -> list[Classification]:
        """The answers for some RGB pictures, in their order. Raises CheckpointError if they are not numbers."""
        if not images:
            return []
        started = time.perf_counter()
        return self._answer_squares([self.checkpoint.preprocessing.square(image) for image in images], started, top_k)

    def classify_squares(self, squares: Sequence[Image.Image], *, top_k: int | None = None) -> list[Classification]:
        """As `classify_batch`, for pictures that `preprocessing.square` has cut already."""
        return self._answer_squares(squares, time.perf_counter(), top_k) if squares else []

    def classify_many(
        self, sources: Iterable[Source], *, top_k: int | None = None
    ) -> Iterator[Classification | ImageError | CheckpointError]:
        """The answer for each source in turn, or why there is none for its picture; any number of them.

        A source is a path, a file's bytes or a function that returns an RGB picture. The next ones are decoded in
        threads while the network works.
        """
        for batch in read_ahead(sources, self._read_square, draft_size=self.draft_size, batch=STREAM_BATCH):
            started = time.perf_counter()
            squares = [square for square in batch if isinstance(square, Image.Image)]
            answers = iter(self._answer_or_tell(squares, started, top_k) if squares else ())
            yield from (item if isinstance(item, ImageError) else next(answers) for item in batch)

    @torch.inference_mode()
    def probabilities(self, inputs: Tensor) -> Tensor:
        """Calibrated probabilities float32 `[N, K]` on the CPU, of preprocessed inputs `[N, 3, H, W]`."""
        return self.judge(inputs).probabilities

    @torch.inference_mode()
    def judge(self, inputs: Tensor) -> Judgement:
        """Calibrated probabilities of preprocessed inputs `[N, 3, H, W]`, and how known each picture looks."""
        answers = self.answer_rows(inputs)
        if not torch.isfinite(answers).all():
            raise CheckpointError("The model returned invalid numbers for this picture; use another checkpoint.")
        count, unknown = len(self.class_names), self.checkpoint.unknown
        probabilities = torch.softmax(answers[:, :count] / self.checkpoint.temperature, dim=1)
        scores = unknown.score(answers[:, count:]) if unknown else probabilities.max(1).values
        return Judgement(probabilities=probabilities, scores=scores)

    def _answer_or_tell(
        self, squares: Sequence[Image.Image], started: float, top_k: int | None
    ) -> list[Classification | CheckpointError]:
        """All at once; where some answer is no number, one by one, so that a picture fails only by itself."""
        try:
            return list(self._answer_squares(squares, started, top_k))
        except CheckpointError as error:
            if len(squares) == 1:
                return [error]
            return [told for one in squares for told in self._answer_or_tell([one], time.perf_counter(), top_k)]

    def _answer_squares(
        self, squares: Sequence[Image.Image], started: float, top_k: int | None
    ) -> list[Classification]:
        judged = self.judge(network_inputs(squares, self.checkpoint.preprocessing))
        seconds = (time.perf_counter() - started) / len(squares)
        rows = zip(judged.probabilities, judged.scores.tolist(), squares, strict=True)
        return [self._answer(row, score, square, seconds, top_k) for row, score, square in rows]

    def _read_square(self, image: Image.Image) -> Image.Image:
        return self.checkpoint.preprocessing.square(image)

    def answer_rows(self, inputs: Tensor) -> Tensor:
        """float32 logits on the CPU, with the pooled stages behind them where the checkpoint has an unknown score.

        By the engine of the moment; where that fails, by the plain network.
        """
        self._choose_in_time()
        engine = self._choice.engine
        if engine is not self._plain:
            try:
                logits = compute_logits(engine, inputs, flip_average=self.checkpoint.flip_average).cpu()
                if torch.isfinite(logits).all():  # bfloat16 or not: the plain network judges what is no number
                    return logits
            except Exception as error:  # a foreign library may raise anything
                log.exception("the engine %s broke", engine.name)
                reason = f"Engine: plain, since {engine.name} broke ({type(error).__name__})."
                self._choice = Choice(engine=self._plain, name="plain", reason=reason)
        started = time.perf_counter()
        logits = compute_logits(self._plain, inputs, flip_average=self.checkpoint.flip_average).cpu()
        self._seconds += time.perf_counter() - started
        return logits

    def _choose_in_time(self) -> None:
        """Chooses once that pays, or at once where a person asked for an engine; others do not wait meanwhile."""
        if self._chosen or (self._requested == "auto" and self._seconds < CHOOSING_SECONDS):
            return
        if self._choosing.acquire(blocking=self._requested != "auto"):
            try:
                if not self._chosen:
                    self._choose()
            finally:
                self._choosing.release()

    def _choose(self) -> None:
        size = self.checkpoint.preprocessing.crop
        question = ask(self.model, size=size, device=self.device, precision=self._precision)
        try:
            self._choice = choose_engine(
                self._plain, question, requested=self._requested, temperature=self.checkpoint.temperature
            )
        finally:
            self._chosen = True
        log.info("%s", self._choice.reason)

    def _answer(
        self, row: Tensor, score: float, square: Image.Image, seconds: float, top_k: int | None
    ) -> Classification:
        count = len(row) if top_k is None else max(1, min(top_k, len(row)))
        best = row.topk(count)
        predictions = tuple(
            Prediction(self.class_names[index], value)
            for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        )
        threshold = self.checkpoint.unknown_threshold
        unknown = threshold is not None and score < threshold
        return Classification(predictions=predictions, unknown=unknown, score=score, seen=square, seconds=seconds)


def network_inputs(squares: Sequence[Image.Image], preprocessing: Preprocessing) -> Tensor:
    """float32 [N,3,H,W] of RGB squares, as `preprocessing.normalize` makes them, but for rounding, in a third of
    its time: it leaves torch's threads asleep, whose waking would disturb an engine that has threads of its own."""
    std = np.array(preprocessing.std, dtype=np.float32)[:, None, None]
    mean = np.array(preprocessing.mean, dtype=np.float32)[:, None, None]
    scale, shift = 1 / (255 * std), -mean / std
    inputs = np.empty((len(squares), 3, preprocessing.crop, preprocessing.crop), dtype=np.float32)
    for square, target in zip(squares, inputs, strict=True):
        np.multiply(np.asarray(square, dtype=np.uint8).transpose(2, 0, 1), scale, out=target)
    inputs += shift
    return torch.from_numpy(inputs)
