"""One photo, from JPEG bytes to ranked answers: ours against the tutorial's way (torchvision transforms, eager, fp32).

Both sides run the same weights at the same size in one process, in random order, without flip averaging; the answers
are compared first. The result is the median of the ratios of neighbouring measurements.
"""

import io
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from PIL import Image

from resnet_core.data.images import read_image
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.data.rendered import render_flower
from resnet_core.device import import_torchvision
from resnet_core.inference.classifier import Classifier
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint

ROUNDS = 40


def run() -> dict[str, Any]:
    """Milliseconds a photo on both sides and the ratio, for three networks at 224 px."""
    content = _jpeg()
    return {"networks": {name: _compare(name, content) for name in ("resnet18", "resnet34", "resnet50")}}


def _compare(name: str, content: bytes) -> dict[str, Any]:
    classifier = _ours(name)
    sides = {"ours": partial(_answer, classifier), "tutorial": _tutorial(name, classifier.model.state_dict())}
    difference = abs(sides["ours"](content) - sides["tutorial"](content))
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(ROUNDS):
        for side in random.sample(list(sides), len(sides)):
            times[side].append(_timed(partial(sides[side], content)))
    ratios = [b / a for a, b in zip(times["ours"], times["tutorial"], strict=True)]
    return {
        "ms_ours": round(statistics.median(times["ours"]) * 1000, 1),
        "ms_tutorial": round(statistics.median(times["tutorial"]) * 1000, 1),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_quartiles": [round(q, 2) for q in statistics.quantiles(ratios, n=4)],
        "largest_difference": difference,
    }


def _answer(classifier: Classifier, content: bytes) -> float:
    return classifier.classify(read_image(content, name="photo.jpg", draft_size=256)).predictions[0].probability


def _ours(name: str) -> Classifier:
    torch.manual_seed(0)
    model = build_model(name, num_classes=5)
    checkpoint = Checkpoint(
        architecture=name,
        architecture_arguments=model.architecture_arguments,
        class_names=tuple("abcde"),
        preprocessing=Preprocessing(resize=256, crop=224),
    )
    return Classifier(checkpoint, model)


def _tutorial(name: str, weights: dict[str, torch.Tensor]) -> Callable[[bytes], float]:
    torchvision = import_torchvision()
    steps = torchvision.transforms
    prepare = steps.Compose(
        [
            steps.Resize(256),
            steps.CenterCrop(224),
            steps.ToTensor(),
            steps.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    model = getattr(torchvision.models, name)(num_classes=5).eval()
    model.load_state_dict(weights)

    def answer(content: bytes) -> float:
        with torch.no_grad():
            logits = model(prepare(Image.open(io.BytesIO(content)).convert("RGB"))[None])[0]
            return float(torch.softmax(logits, dim=0).max())

    return answer


def _jpeg() -> bytes:
    content = io.BytesIO()
    render_flower("tulips", 1, size=512).resize((500, 375)).save(content, "JPEG", quality=90)
    return content.getvalue()


def _timed(answer: Callable[[], float]) -> float:
    started = time.perf_counter()
    answer()
    return time.perf_counter() - started
