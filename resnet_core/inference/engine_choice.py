"""Which engine answers: a short race on fixed pictures, run once for a network on a machine and then remembered.

An engine that answers differently from the plain network, or breaks, never wins, however fast it is. What is
remembered is only which one won; that it agrees is tried again with the weights at hand whenever it is built.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_core.device import default_num_threads, make_generator
from resnet_core.errors import ConfigError
from resnet_core.files import cache_dir, write_json
from resnet_core.inference.engines import FAMILIES, Candidate, Engine, PlainEngine, list_candidates
from resnet_core.inference.plan import UnknownNetwork
from resnet_core.processor import processor_name

VERSION = 1  # of the race; older results are not believed
BYTES_LIMIT = 65_536  # of a remembered file; ours has 500
CLEARLY = 1.05  # what is less than 5 % faster may be noise
GOOD_ENOUGH = 1.25  # times faster than plain: the candidates that are expected to be slower need no trial
RACE_SECONDS = 1.0  # no second candidate is tried after this
ROUNDS = 5
PROBABILITY_LIMIT = 0.02  # as promised to people; float32 stays 20 times below
LOGIT_LIMITS = {True: 1e-3, False: 0.1}  # exact or not: root mean square of the difference over the logits' spread


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the choice depends on; the same question has the same answer."""

    architecture: str
    arguments: str  # JSON
    size: int  # px, edge of the network's input
    device: str
    precision: str
    processor: str
    threads: int
    libraries: str
    version: int = VERSION


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An engine, the candidate's name, and one sentence for people on why it is this one."""

    engine: Engine
    name: str
    reason: str


def ask(model: torch.nn.Module, *, size: int, device: torch.device, precision: str = "auto") -> Question:
    """The question for a network on this machine; with precision "fp32" nothing may compute in bfloat16."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Question(
        architecture=str(getattr(model, "architecture", "") or type(model).__name__),
        arguments=json.dumps(getattr(model, "architecture_arguments", {}), sort_keys=True, default=str),
        size=size,
        device=name,
        precision=precision,
        processor=processor_name(),
        threads=default_num_threads(),
        libraries=f"torch {torch.__version__}, openvino {_version('openvino')}",
    )


def check_family(name: str) -> str:
    """The name, if people may ask for it. Raises ConfigError."""
    if name not in FAMILIES:
        raise ConfigError(f"“{name[:40]}” is not an engine; use one of {', '.join(FAMILIES)}.")
    return name


def choose_engine(
    plain: PlainEngine, question: Question, *, requested: str = "auto", temperature: float = 1.0
) -> Choice:
    """The engine for the question, and why. Where nothing else works, the plain one answers.

    Engines must agree in probabilities, for which logits are divided by `temperature`. Raises ConfigError for a
    request that is none of FAMILIES.
    """
    if check_family(requested) == "plain":
        return Choice(engine=plain, name="plain", reason="Engine: plain, as asked.")
    candidates = list_candidates(plain.model, plain.device, precision=question.precision, features=plain.features)
    race = _Race(plain, question.size, temperature)
    if not torch.isfinite(race.expected).all():
        return Choice(engine=plain, name="plain", reason="Engine: plain; the network's answers are not numbers.")
    if requested != "auto":
        return race.first_of([each for each in candidates if each.family == requested], candidates)
    return _remembered(race, question, candidates) or _run_and_remember(race, question, candidates)


def remembered_at(question: Question) -> Path:
    """Where the answer to a question is kept."""
    digest = hashlib.sha256(repr(question).encode("utf-8", "backslashreplace")).hexdigest()
    return cache_dir() / "engines" / f"{digest[:16]}.json"


class _Race:
    """Candidates against the plain network, on the same pictures."""

    def __init__(self, plain: PlainEngine, size: int, temperature: float) -> None:
        self.plain = plain
        self._started = time.perf_counter()
        self.pictures = sample_pictures(size)
        self.expected = _one_by_one(plain, self.pictures)
        self.notes: list[str] = []  # on those that could not run
        self._temperature = temperature

    def build(self, candidate: Candidate) -> Engine | None:
        """The engine, if it can be built and answers as the plain network does."""
        try:
            engine = candidate.build()
            answers = _one_by_one(engine, self.pictures)
            if self._agrees(answers, candidate.exact):
                return engine
            self.notes.append(f"{candidate.name} answered differently")
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError)
            self.notes.append(f"{candidate.family} {'is not installed' if missing else 'does not load'}")
        except UnknownNetwork:
            self.notes.append(f"{candidate.name} does not know this network")
        except Exception as error:  # a foreign library may raise anything; the plain network still answers
            self.notes.append(f"{candidate.name} does not run here ({type(error).__name__})")
        return None

    def first_of(self, wanted: Sequence[Candidate], others: Sequence[Candidate]) -> Choice:
        """The first of the wanted that works, whatever its speed; else the first of the others; else plain."""
        for candidate in (*wanted, *(each for each in others if each not in wanted)):
            if engine := self.build(candidate):
                why = "as asked" if candidate in wanted else "; ".join(self.notes)
                return Choice(engine=engine, name=candidate.name, reason=f"Engine: {candidate.name}, {why}.")
        return Choice(engine=self.plain, name="plain", reason=f"Engine: plain; {'; '.join(self.notes)}.")

    def run(self, candidates: Sequence[Candidate]) -> tuple[Choice, bool]:
        """The fastest of all, tried in the order given until one is good enough or the time is up.

        False beside it where the time was up, as on a busy machine: a quieter moment may tell another.
        """
        best: Engine = self.plain
        name, why, fastest, whole = "plain", "no other was clearly faster here", CLEARLY, True
        for index, candidate in enumerate(candidates):
            if fastest >= GOOD_ENOUGH:
                break
            if index and self._elapsed() > RACE_SECONDS:
                whole = False
                break
            if (engine := self.build(candidate)) is None:
                continue
            before, after = self._time(engine)
            if before / after > fastest:
                best, name, fastest = engine, candidate.name, before / after
                why = f"{after * 1000:.1f} ms a picture instead of {before * 1000:.1f}"
        reason = f"Engine: {'; '.join([f'{name}, {why}', *self.notes])}."
        return Choice(engine=best, name=name, reason=reason), whole

    def _agrees(self, answers: Tensor, exact: bool) -> bool:
        if answers.shape != self.expected.shape or not torch.isfinite(answers).all():
            return False
        count = int(self.plain.model.num_classes) if self.plain.features else answers.shape[1]  # type: ignore[arg-type]
        mine, theirs = (each[:, :count].div(self._temperature).softmax(1) for each in (answers, self.expected))
        if (mine - theirs).abs().max() > PROBABILITY_LIMIT:
            return False
        # An untrained network gives nearly the same probabilities for anything: its logits tell more.
        parts = [part for part in (slice(0, count), slice(count, None)) if answers[:, part].numel()]
        return all(_is_near(answers[:, part], self.expected[:, part], LOGIT_LIMITS[exact]) for part in parts)

    def _time(self, engine: Engine) -> tuple[float, float]:
        """Seconds for one picture, plain and the engine's: the best of some rounds, in turn."""
        one = self.pictures[:1]
        _seconds(self.plain, one), _seconds(engine, one)
        rounds: list[tuple[float, float]] = []
        while len(rounds) < 2 or (len(rounds) < ROUNDS and self._elapsed() < RACE_SECONDS):
            rounds.append((_seconds(self.plain, one), _seconds(engine, one)))
        return min(plain for plain, _ in rounds), min(mine for _, mine in rounds)

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started


def sample_pictures(size: int) -> Tensor:
    """Three fixed pictures [3, 3, size, size], coarse to fine, with values as normalised photos have them."""
    pictures = []
    for grid in (3, 12, 48):
        noise = torch.rand(1, 3, grid, grid, generator=make_generator("engine", grid)) * 4 - 2
        pictures.append(F.interpolate(noise, (size, size), mode="bilinear", align_corners=False))
    return torch.cat(pictures)


def _one_by_one(engine: Engine, pictures: Tensor) -> Tensor:
    """Singly, since that is what photos are: an engine need not make room for batches as long as nobody sends one."""
    return torch.cat([engine(picture[None]).float().cpu() for picture in pictures])


def _is_near(answers: Tensor, expected: Tensor, limit: float) -> bool:
    """The root mean square difference is at most `limit` times the expected numbers' spread."""
    spread = (expected - expected.mean()).square().mean().sqrt()
    off = (answers - expected).square().mean().sqrt()
    return bool(off <= limit * spread + 1e-6)


def _seconds(engine: Engine, pictures: Tensor) -> float:
    started = time.perf_counter()
    engine(pictures).cpu()
    return time.perf_counter() - started


def _run_and_remember(race: _Race, question: Question, candidates: Sequence[Candidate]) -> Choice:
    choice, whole = race.run(candidates)
    content = {"question": asdict(question), "engine": choice.name, "reason": choice.reason}
    if whole:
        with contextlib.suppress(OSError):
            write_json(remembered_at(question), content)
    return choice


def _remembered(race: _Race, question: Question, candidates: Sequence[Candidate]) -> Choice | None:
    """What won earlier, if that can be believed and still agrees."""
    path = remembered_at(question)
    try:
        if not path.is_file() or path.stat().st_size > BYTES_LIMIT:  # opening a pipe would wait for ever
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["question"] != asdict(question):
            return None
        name, reason = str(content["engine"]), str(content["reason"])[:500]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    if name == "plain":
        return Choice(engine=race.plain, name=name, reason=reason)
    candidate = next((each for each in candidates if each.name == name), None)
    engine = race.build(candidate) if candidate else None
    race.notes.clear()
    return Choice(engine=engine, name=name, reason=reason) if engine else None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
