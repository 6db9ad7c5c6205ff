"""`gradcam`: where a network looked, or why it said one class and not another, painted over the picture."""

import argparse
import json
from pathlib import Path

from torch import Tensor

from resnet_core.activations.contrast import contrast_map, contrast_overlay, last_map, share_for
from resnet_core.activations.gradcam import grad_cam, overlay, square_under
from resnet_core.data.images import display_name, read_image
from resnet_core.device import find_device
from resnet_core.errors import ConfigError
from resnet_core.files import write_with
from resnet_core.inference.catalog import load_classifier
from resnet_core.inference.classifier import Classifier
from resnet_core.training.runs import RunStore

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
SIDE = 448  # px of the picture that is written


def gradcam(options: argparse.Namespace) -> int:
    """Writes the picture with the map over it and says what it shows."""
    form = FORMATS.get(options.output.suffix.lower())
    if form is None:
        raise ConfigError(f"--output must end in {', '.join(FORMATS)}, not “{display_name(options.output.name)}”.")
    classifier = load_classifier(
        options.checkpoint, RunStore(options.runs_dir), allow_paths=True, device=find_device(options.device)
    )
    image = read_image(Path(options.picture), draft_size=max(classifier.draft_size, 2 * SIDE))
    preprocessing = classifier.checkpoint.preprocessing
    inputs = preprocessing(image)[None]
    layer = options.layer or last_map(classifier.model, inputs)
    label = options.label or classifier.classify(image, top_k=1).predictions[0].label
    values = _map(classifier, inputs, layer, label, options.against)
    square = square_under(image, preprocessing, SIDE)
    paint = contrast_overlay if options.against else overlay
    painted = paint(square, values, options.strength)
    write_with(options.output, lambda target: painted.save(target, form))
    _report(options, layer, label, values)
    return 0


def _map(classifier: Classifier, inputs: Tensor, layer: str, label: str, against: str | None) -> Tensor:
    index = classifier.class_names.index(_known(classifier, label))
    if not against:
        return grad_cam(classifier.model, inputs, layer, index)[0]
    other = classifier.class_names.index(_known(classifier, against))
    return contrast_map(classifier.model, inputs, layer, index, other)[0]


def _known(classifier: Classifier, label: str) -> str:
    if label not in classifier.class_names:
        names = ", ".join(map(display_name, classifier.class_names[:10]))
        raise ConfigError(f"This model has no class “{display_name(label)}”; it has {names}.")
    return label


def _report(options: argparse.Namespace, layer: str, label: str, values: Tensor) -> None:
    if options.json:
        rows = [[round(value, 4) for value in row] for row in values.tolist()]
        facts = {"image": options.picture, "layer": layer, "label": label, "against": options.against}
        print(json.dumps({**facts, "map": rows, "output": str(options.output)}, ensure_ascii=False))
        return
    where = display_name(str(options.output))
    if options.against:
        print(
            f"{where}: orange speaks for {display_name(label)} ({share_for(values):.0%} of the weight), "
            f"blue for {display_name(options.against)}, at {layer}."
        )
    else:
        print(f"{where}: the brighter, the more a place speaks for {display_name(label)}, at {layer}.")
