"""The fast way to an answer against the plain one: the shipped model on every val photo.

Fast: the engine this processor chooses, photos in batches. Plain: the network as torch computes it in fp32, one photo
at a time. Both average over the mirror image. The photos are small: nothing is decoded at a fraction of its size.
"""

from pathlib import Path

from benchmarks.harness import Benchmark, Comparison, Measured, Options

SHIPPED = Path(__file__).resolve().parents[1] / "assets" / "flowers.safetensors"


def both_ways(options: Options) -> Measured:
    """Shares of photos with the same answer and the same refusal, and the largest difference of a probability."""
    from benchmarks.tutorials import flower_folder
    from resnet_core.data.images import read_image
    from resnet_core.inference.classifier import Classification, Classifier

    fast = Classifier.load(SHIPPED, precision=options.precision)
    fast.warm_up()
    plain = Classifier.load(SHIPPED, engine="plain", precision="fp32")
    best, refusal, largest = 0, 0, 0.0
    with flower_folder(options.data_dir) as (folder, pictures):
        photos = sorted((folder / "val").rglob("*.jpg"))
        for photo, quick in zip(photos, fast.classify_many(photos), strict=True):
            full = plain.classify(read_image(photo))
            assert isinstance(quick, Classification)
            mine, theirs = ({each.label: each.probability for each in one.predictions} for one in (quick, full))
            best += quick.predictions[0].label == full.predictions[0].label
            refusal += quick.unknown == full.unknown
            largest = max(largest, *(abs(mine[label] - theirs[label]) for label in theirs))
    values = {
        "same answer": best / len(photos),
        "same refusal": refusal / len(photos),
        "largest difference of a probability": largest,
    }
    return Measured(values=values, notes={"pictures": pictures, "n": len(photos), "engine": fast.engine_name})


BENCHMARK = Benchmark(
    name="agreement",
    claim="What makes answers fast does not change them.",
    sides={"ours": both_ways},
    comparisons=(
        Comparison(metric="same answer", unit="share", peer=None, larger_is_better=True, at_least=0.997),
        Comparison(metric="same refusal", unit="share", peer=None, larger_is_better=True, at_least=0.997),
        Comparison(
            metric="largest difference of a probability", unit="share", peer=None, larger_is_better=False, at_most=0.02
        ),
    ),
    blocks=1,
    timed=False,
)
