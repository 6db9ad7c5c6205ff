"""A model card in Markdown (Mitchell et al. 2019), written from what a checkpoint knows about itself.

Nothing is guessed: a section whose facts are missing is left out. Class names are other people's text and are escaped.
"""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from resnet_core.data.image_gate import visible_text
from resnet_core.data.preprocessing import draft_size
from resnet_core.errors import ModelError
from resnet_core.inference.evaluation import Evaluation
from resnet_core.inference.export import INPUT, Source, without_places
from resnet_core.models.zoo import get_architecture
from resnet_core.training.checkpoint import Checkpoint

CLASSES_SHOWN = 100
# key of a checkpoint's metrics: words, shown as per cent
METRICS = {
    "val_top1": ("top-1 accuracy", True),
    "val_top5": ("top-5 accuracy", True),
    "val_loss": ("loss", False),
    "val_ece": ("expected calibration error, its temperature fitted on these pictures", True),
    "val_ece_held_out": ("expected calibration error, temperature fitted on others", True),
}
# setting of a training: words before its value, in the order of the card; what is None or off is left out
RECIPE = {
    "preset": "preset",
    "epochs": "epochs asked for",
    "batch_size": "pictures a step",
    "optimizer": "optimizer",
    "learning_rate": "learning rate up to",
    "schedule": "schedule",
    "momentum": "momentum",
    "weight_decay": "weight decay",
    "label_smoothing": "label smoothing",
    "ema_decay": "weights averaged with decay",
    "augment": "augmentation",
    "mixup": "mixup",
    "cutmix": "cutmix",
    "drop_path": "chance that a picture skips the last block",
    "image_size": "picture size (px)",
    "start_image_size": "picture size of the first epochs (px)",
    "pretrained": "started from ImageNet weights",
    "init_from": "started from",
    "freeze": "weights kept up to",
    "seed": "seed",
}


def model_card(
    source: Source, *, format: str | None = None, scores: Evaluation | None = None, scored_on: str = ""
) -> str:
    """The card; `format` says which file it lies beside, `scores` adds a table measured on the data `scored_on`."""
    checkpoint = source.checkpoint
    sections = (
        ("Classes", _classes(checkpoint)),
        ("Numbers", _numbers(checkpoint, scores, scored_on)),
        ("Data", _data(checkpoint)),
        ("Recipe", _recipe(checkpoint)),
        ("Limits", _limits(checkpoint, scores)),
        ("How to use it", _usage(source, format)),
        ("Versions", _versions(checkpoint)),
    )
    filled = [f"## {title}\n\n{text}" for title, text in ((t, "\n".join(lines)) for t, lines in sections) if text]
    return "\n\n".join([f"# Model card: {plain(source.name)}", _what(checkpoint, source.network), *filled]) + "\n"


def plain(text: object) -> str:
    """The text as Markdown shows it letter by letter, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|$~&-])", r"\\\1", visible_text(str(text)))


def _what(checkpoint: Checkpoint, network: nn.Module) -> str:
    try:
        title = get_architecture(checkpoint.architecture).title
    except ModelError:
        title = checkpoint.architecture
    options = checkpoint.architecture_arguments
    details = [f"{sum(parameter.numel() for parameter in network.parameters()):,} parameters"]
    if options.get("width") not in (None, 64):
        details.append(f"{options['width']} channels in its first stage")
    if options.get("stem") == "small":
        details.append("a stem for small pictures")
    if options.get("residual") is False:
        details.append("without skip connections")
    mirror = " A prediction averages the picture and its mirror image." if checkpoint.flip_average else ""
    return (
        f"{plain(title)} ({', '.join(details)}), which names one of {len(checkpoint.class_names):,} classes. "
        f"{checkpoint.preprocessing.describe()}{mirror}"
    )


def _classes(checkpoint: Checkpoint) -> Iterator[str]:
    shown = [plain(name) for name in checkpoint.class_names[:CLASSES_SHOWN]]
    more = len(checkpoint.class_names) - len(shown)
    yield ", ".join(shown) + (f" and {more:,} more, all in the file's description" if more else "") + "."


def _numbers(checkpoint: Checkpoint, scores: Evaluation | None, scored_on: str) -> Iterator[str]:
    known = checkpoint.metrics
    told = [f"{words} {_number(known[key], percent)}" for key, (words, percent) in METRICS.items() if key in known]
    if "config" in checkpoint.training and "val_ece" not in known:  # as the training told it
        told = [words.replace("loss ", "loss before the temperature ") for words in told]
    if told:
        count = f" on {known['n_val']:,} validation pictures" if isinstance(known.get("n_val"), int) else ""
        in_turn = _part(checkpoint, "taught").get("judged_by") == "cross-validation"
        how = ", each kept back once in turn" if count and in_turn else ""
        yield f"Stored in the checkpoint: {', '.join(told)}{count}{how}."
    low, high = known.get("val_top1_low"), known.get("val_top1_high")
    if isinstance(low, int | float) and isinstance(high, int | float):
        yield f"Its accuracy on others lies most likely between {low:.1%} and {high:.1%}."
    recall = known.get("val_recall")
    if isinstance(recall, dict) and scores is None:
        found = [f"{plain(name)} {share:.1%}" for name, share in recall.items() if isinstance(share, int | float)]
        yield f"Found of each class: {', '.join(found)}."
    if checkpoint.temperature != 1.0:
        yield f"Logits are divided by a temperature of {checkpoint.temperature:g} before the softmax."
    yield from _refusals(checkpoint)
    if scores is None:
        return
    where = f" of {plain(scored_on)}" if scored_on else ""
    yield (
        f"\nMeasured for this card on {scores.n:,} pictures{where}: top-1 {scores.top1:.1%}, loss {scores.loss:.3f}, "
        f"expected calibration error {scores.ece:.1%}.\n"
    )
    yield "| class | pictures | found | right when it says so |\n|---|---:|---:|---:|"
    for row in scores.per_class:
        yield f"| {plain(row.label)} | {row.n:,} | {row.recall:.1%} | {row.precision:.1%} |"


def _refusals(checkpoint: Checkpoint) -> Iterator[str]:
    """How often it says that it does not know a picture, by the curves that were stored when that was fitted."""
    unknown, threshold = checkpoint.unknown, checkpoint.unknown_threshold
    if unknown is None or threshold is None:
        return
    for curve, what in (
        (unknown.known, "of its classes, by which the threshold was set"),
        (unknown.others, "of other things, each source left out of the fit"),
    ):
        if curve is not None:
            yield f"“I do not know this” for {curve.share_below(threshold):.1%} of {curve.count:,} pictures {what}."
    if unknown.sources:
        yield f"That was learnt against: {', '.join(plain(source) for source in unknown.sources)}."


def _data(checkpoint: Checkpoint) -> Iterator[str]:
    config = _config(checkpoint)
    taught, adopted = _part(checkpoint, "taught"), _part(checkpoint, "adopted_from")
    if isinstance(taught.get("counts"), dict):
        counts = ", ".join(f"{plain(name)} {plain(count)}" for name, count in taught["counts"].items())
        yield f"Taught to the body of “{plain(taught.get('from', '?'))}” with so many pictures: {counts}."
    if adopted.get("file"):
        yield f"The weights came from elsewhere, in a file called {plain(adopted['file'])}; their data is not known."
    if config.get("dataset"):
        yield f"Trained on {plain(config['dataset'])}."
    if isinstance(config.get("rendered_share"), int | float) and config["rendered_share"] > 0:
        yield f"Pictures rendered by ResNet Lab were mixed into training: {config['rendered_share']:.0%} of its number."
    if checkpoint.data_fingerprint:
        yield f"Fingerprint of the data: {plain(checkpoint.data_fingerprint)}."


def _recipe(checkpoint: Checkpoint) -> Iterator[str]:
    config = _config(checkpoint)
    off = (None, "", False, "none")
    told = [f"- {words}: {_setting(config[key])}" for key, words in RECIPE.items() if config.get(key) not in off]
    yield from told
    training = checkpoint.training
    if isinstance(training.get("epoch"), int):
        step = f" (step {training['step']:,})" if isinstance(training.get("step"), int) else ""
        yield f"- these weights: after epoch {training['epoch']:,}{step}"


def _limits(checkpoint: Checkpoint, scores: Evaluation | None) -> Iterator[str]:
    if checkpoint.unknown_threshold is None:
        yield "- It always names one of its classes, also for a picture of something else."
    else:
        yield "- Below its threshold it says that it does not know the picture; it cannot notice everything foreign."
    side = checkpoint.preprocessing.crop
    yield f"- It sees {side} × {side} px; what is too small for that on the whole picture is lost."
    if "val_top1" in checkpoint.metrics and "epoch" in checkpoint.training:
        yield "- The epoch was chosen on the validation pictures, so expect a little less on others."
    weak = [row for row in (scores.per_class if scores else ()) if row.n and row.recall < 0.5]
    if weak:
        yield f"- It misses more than half of: {', '.join(plain(row.label) for row in weak)}."


def _usage(source: Source, format: str | None) -> Iterator[str]:
    side = source.checkpoint.preprocessing.crop
    if format == "pt2":
        yield "    python predict.py photo.jpg\n"
        version = plain(torch.__version__.partition("+")[0])
        yield f"`predict.py` lies beside the model and needs only pillow and torch; torch {version} wrote the file."
    elif format == "onnx":
        yield from _onnx_lines(source)
    else:
        yield "    python -m resnet_core predict photo.jpg --checkpoint MODEL.safetensors\n"
        yield "with ResNet Lab installed; MODEL is the name of the file."
    if format in ("onnx", "pt2"):
        yield (
            f"Its input is RGB pixels 0–255 as uint8 [N, 3, {side}, {side}]; its outputs are the probabilities [N, "
            f"{len(source.checkpoint.class_names)}] and how known each picture looks [N], from 0 to 1."
        )


def _onnx_lines(source: Source) -> Iterator[str]:
    resize, side = source.checkpoint.preprocessing.resize, source.checkpoint.preprocessing.crop
    yield f"""```python
import json
import numpy, onnxruntime
from PIL import Image, ImageOps

network = onnxruntime.InferenceSession("MODEL.onnx")
about = {{key: json.loads(text) for key, text in network.get_modelmeta().custom_metadata_map.items()}}
opened = Image.open("photo.jpg")
opened.draft(None, ({draft_size(resize)}, {draft_size(resize)}))  # a large JPEG is decoded at a fraction of its size
upright = ImageOps.exif_transpose(opened).convert("RGBA")
image = Image.new("RGB", upright.size, "white")
image.paste(upright, mask=upright.getchannel("A"))
image = image.resize([int({resize} * edge / min(image.size)) for edge in image.size], Image.Resampling.BILINEAR)
left, top = (round((edge - {side}) / 2) for edge in image.size)
pixels = numpy.asarray(image.crop((left, top, left + {side}, top + {side}))).transpose(2, 0, 1)[None]
[probabilities], [score] = network.run(None, {{"{INPUT}": numpy.ascontiguousarray(pixels)}})
if about["unknown_threshold"] is not None and score < about["unknown_threshold"]:
    print("I do not know this; nearest:")
print(about["class_names"][probabilities.argmax()], probabilities.max())
```
"""


def _versions(checkpoint: Checkpoint) -> Iterator[str]:
    if checkpoint.versions:
        told = ", ".join(f"{plain(name)} {plain(version)}" for name, version in checkpoint.versions.items())
        yield f"The checkpoint was written with {told}."


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    config = without_places(checkpoint.training).get("config")
    return config if isinstance(config, dict) else {}


def _part(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    """What the checkpoint tells of its making under that name; nothing where a file tells nonsense."""
    part = checkpoint.training.get(name)
    return part if isinstance(part, dict) else {}


def _setting(value: object) -> str:
    return "yes" if value is True else f"{value:g}" if isinstance(value, float) else plain(value)


def _number(value: object, percent: bool) -> str:
    if not isinstance(value, int | float):
        return plain(value)
    return f"{value:.1%}" if percent else f"{value:.3f}"
