"""A phone's photo of 12 megapixels, from the bytes of the JPEG to probabilities of a ResNet-18."""

import io

from benchmarks.harness import Benchmark, Comparison, Measured, Options
from benchmarks.photo import Answer, milliseconds, our_classifier, torchvision_answer, torchvision_network

NETWORK = "resnet18"
SIZE = (4000, 3000)
GRAIN = 6  # standard deviation of the sensor's noise in grey levels; the file has 2.7 MB, as phones write them


def ours(options: Options) -> Measured:
    """read_image with the classifier's draft size, then the classifier."""
    from resnet_core.data.images import read_image

    classifier = our_classifier(NETWORK, options)
    classifier.warm_up()

    def answer(content: bytes) -> list[float]:
        image = read_image(content, name="photo.jpg", draft_size=classifier.draft_size)
        found = {each.label: each.probability for each in classifier.classify(image).predictions}
        return [found[label] for label in sorted(found)]

    return _measure(answer, classifier.engine_reason)


def plain(options: Options) -> Measured:
    """Pillow decodes every pixel, torchvision resizes them, the network runs in float32."""
    return _measure(torchvision_answer(torchvision_network(NETWORK)), "torchvision")


def _measure(answer: Answer, note: str) -> Measured:
    content = _jpeg()
    return Measured(
        values={"phone photo": milliseconds(answer, content)},
        answers=answer(content),
        notes={"how": note, "bytes": len(content)},
    )


def _jpeg() -> bytes:
    import numpy as np
    from PIL import Image

    from resnet_core.data.rendered import render_flower

    flower = np.asarray(render_flower("tulips", 1, size=1024).resize(SIZE, Image.Resampling.BICUBIC), dtype=np.int16)
    grain = np.random.default_rng(0).normal(0, GRAIN, (SIZE[1] // 4, SIZE[0] // 4, 3)).astype(np.int16)
    noisy = flower + np.tile(grain, (4, 4, 1))
    content = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(content, "JPEG", quality=90)
    return content.getvalue()


BENCHMARK = Benchmark(
    name="phone-photo",
    claim="A phone's JPEG of 12 megapixels, from bytes to probabilities, against decoding all of it.",
    sides={"ours": ours, "plain": plain},
    comparisons=(
        Comparison(
            metric="phone photo",
            unit="ms",
            peer="plain",
            larger_is_better=False,
            at_least=3.0,
            at_least_fp32=3.0,
            moonshot=6.0,
        ),
    ),
    tolerance=0.02,
)
