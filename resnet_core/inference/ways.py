"""The ways to ask one model: as the page does, the command line, the HTTP API, an exported file.

Asking takes picture files and returns probabilities float32 [N, K] in label order; what a way does not tell, since it
was only asked for the best answers, is UNTOLD.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_core.data.images import read_image
from resnet_core.data.preprocessing import Preprocessing, to_pixels
from resnet_core.errors import CheckpointError, DeviceError
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.exported import Exported
from resnet_core.models.zoo import MAX_CLASSES

log = logging.getLogger(__name__)

Ask = Callable[[Sequence[Path]], Tensor]

LIMIT = 1e-3  # what probabilities may differ by
UNTOLD = -1.0
API_TOP_K = 1000  # the most that POST /api/classify tells
API_SECONDS = 60.0
COMMAND_SECONDS = 300.0
BROKE_OFF = "The command “predict” broke off instead of answering; the log says more."
NOBODY = "nothing of ours answers at that address"
NEWER = "the app has a newer epoch by now"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to ask; `engine` names what computed the answers, where that is known once it was asked.

    With `scores` it answers how known each picture looks, float32 [N, 1], instead of probabilities.
    """

    name: str
    ask: Ask
    scores: bool = False
    engine: Callable[[], str] = lambda: ""
    limit: Callable[[], float] = lambda: LIMIT


class NotAsked(Exception):
    """This way cannot be asked here; the text says why, as the end of a sentence."""


def ask_app(classifier: Classifier) -> Ask:
    """As the page does, with the engine it would choose."""

    def ask(pictures: Sequence[Path]) -> Tensor:
        classifier.warm_up()
        answers = classifier.classify_batch([read_image(picture) for picture in pictures])
        told = [[(p.label, p.probability) for p in answer.predictions] for answer in answers]
        return in_label_order(told, classifier.class_names)

    return ask


def ask_file(exported: Exported, preprocessing: Preprocessing) -> Ask:
    """An exported file, with the pictures resized and cut by us."""

    def ask(pictures: Sequence[Path]) -> Tensor:
        return exported.judge(_pixels(pictures, preprocessing)).probabilities

    return ask


def ask_file_scores(exported: Exported, preprocessing: Preprocessing) -> Ask:
    """An exported file, for how known each picture looks: float32 [N, 1]."""

    def ask(pictures: Sequence[Path]) -> Tensor:
        return exported.judge(_pixels(pictures, preprocessing)).scores[:, None]

    return ask


class CommandLine:
    """`predict --json` in a process of its own, started at once so that it works while others do; to be closed."""

    def __init__(self, checkpoint: str, pictures: Sequence[Path], *, runs_dir: Path) -> None:
        given = str(Path(checkpoint).resolve()) if os.path.isfile(checkpoint) else checkpoint
        options = ["--json", f"--checkpoint={given}", f"--runs-dir={runs_dir.resolve()}", f"--top-k={MAX_CLASSES}"]
        self._pictures = list(pictures)
        self._process = start_command("predict", *options, "--", *map(str, pictures))

    def asker(self, class_names: Sequence[str]) -> Ask:
        """The way to its answers, for the pictures it was started with."""

        def ask(pictures: Sequence[Path]) -> Tensor:
            assert list(pictures) == self._pictures
            lines = self._lines()
            try:
                told = [_told(json.loads(line)) for line in lines]
            except (KeyError, TypeError, ValueError) as error:
                raise CheckpointError(BROKE_OFF) from error
            if len(told) != len(pictures):
                raise CheckpointError(BROKE_OFF)
            return in_label_order(told, class_names)

        return ask

    def close(self) -> None:
        """Makes sure that no process is left."""
        if self._process.poll() is None:
            self._process.kill()
        with contextlib.suppress(ValueError):  # its output was read already
            self._process.communicate()

    def _lines(self) -> list[str]:
        """What it printed. Raises NotAsked when it takes too long, CheckpointError when it fails: that is an answer."""
        try:
            output, problem = self._process.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise NotAsked(f"it took longer than {COMMAND_SECONDS:.0f} s") from error
        if self._process.returncode:
            log.warning("predict ended with %d: %s", self._process.returncode, problem.strip())
            raise CheckpointError(BROKE_OFF)
        return output.splitlines()


def ask_api(url: str, model: str, class_names: Sequence[str], *, epoch: object = None) -> Ask:
    """`POST /api/classify` of an app that runs; `model` as that app calls it, `epoch` the one meant of a run."""
    count = min(API_TOP_K, len(class_names))
    place = f"{url.rstrip('/')}/api/classify?{urllib.parse.urlencode({'model': model, 'top_k': count})}"

    def ask(pictures: Sequence[Path]) -> Tensor:
        replies = [_post(place, picture.read_bytes()) for picture in pictures]
        try:
            told = [_told(reply) for reply in replies]
            epochs = {reply["model"]["epoch"] for reply in replies if "model" in reply}
        except (KeyError, TypeError, ValueError) as error:
            raise NotAsked(NOBODY) from error
        if epochs - {epoch}:  # the run went on training meanwhile
            raise NotAsked(NEWER)
        return in_label_order(told, class_names)

    return ask


def in_label_order(answers: Sequence[Sequence[tuple[str, float]]], class_names: Sequence[str]) -> Tensor:
    """float32 [N,K] of (label, probability) pairs in any order. Raises CheckpointError for a label there is not."""
    rows = torch.full((len(answers), len(class_names)), UNTOLD)
    for row, answer in zip(rows, answers, strict=True):
        for label, probability in answer:
            free = [i for i, name in enumerate(class_names) if name == label and row[i] == UNTOLD]
            if not free:
                raise CheckpointError(f"It answers “{label[:60]}”, which is no class of this model.")
            row[free[0]] = probability
    return rows


def start_command(*arguments: str, own_group: bool = False) -> "subprocess.Popen[str]":
    """`python -m resnet_core …` in a process of its own, UTF-8 whatever the system speaks.

    With `own_group` it leads a process group (POSIX), so that it can be ended with all it starts.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "resnet_core", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="backslashreplace",
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1"},
        start_new_session=own_group and os.name == "posix",
    )


def _pixels(pictures: Sequence[Path], preprocessing: Preprocessing) -> Tensor:
    return torch.stack([to_pixels(preprocessing.square(read_image(picture))) for picture in pictures])


def _told(answer: dict[str, Any]) -> list[tuple[str, float]]:
    return [(str(p["label"]), float(p["probability"])) for p in answer["predictions"]]


def _post(place: str, picture: bytes) -> dict[str, Any]:
    """The answer as JSON. Raises NotAsked; CheckpointError for an app that breaks: that is an answer; DeviceError for
    an address that is none."""
    if not place.startswith(("http://", "https://")):
        raise DeviceError("The API's address must begin with http:// or https://.")
    request = urllib.request.Request(place, data=picture, headers={"Content-Type": "application/octet-stream"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=API_SECONDS) as reply:
            answer: dict[str, Any] = json.loads(reply.read(10 << 20))
            return answer
    except urllib.error.HTTPError as refusal:
        with refusal:
            if refusal.code == 500:  # those above come from a proxy, or say that many wait
                raise CheckpointError("The app failed (status 500); see its log.") from refusal
            raise NotAsked(_refused(refusal)) from refusal
    except (OSError, ValueError) as error:
        raise NotAsked(NOBODY) from error


def _refused(refusal: urllib.error.HTTPError) -> str:
    if refusal.code == 401:
        return "this app asks for a password"
    try:
        return f"it said: {str(json.loads(refusal.read(10_000))['error'])[:200]}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"it refused with status {refusal.code}"
