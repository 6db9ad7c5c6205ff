"""`gradcam`: where a network looked, or why it said one class and not another, painted over the picture."""

import argparse
import json
from pathlib import Path

from torch import Tensor

from resnet_core.activations.contrast import contrast_map, contrast_overlay, last_map, share_for
from resnet_core.activations.gradcam import overlay, square_under
from resnet_core.activations.heat import HeatMap, heat_map, trust_heat
from resnet_core.activations.trust import TrustTest
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
    found = _map(classifier, inputs, layer, label, options)
    square = square_under(image, preprocessing, SIDE)
    paint = contrast_overlay if options.against else overlay
    painted = paint(square, found.heat, options.strength)
    write_with(options.output, lambda target: painted.save(target, form))
    index = classifier.class_names.index(label)
    test = trust_heat(classifier.model, inputs, layer, index, method=options.method) if options.trust else None
    _report(options, layer, label, found, test)
    return 0


def _map(classifier: Classifier, inputs: Tensor, layer: str, label: str, options: argparse.Namespace) -> HeatMap:
    index = classifier.class_names.index(_known(classifier, label))
    if not options.against:
        return heat_map(classifier.model, inputs, layer, index, method=options.method)
    if options.method != "gradcam" or options.trust:
        raise ConfigError("--against draws a map of its own; leave out --method and --trust, or --against.")
    other = classifier.class_names.index(_known(classifier, options.against))
    return HeatMap(heat=contrast_map(classifier.model, inputs, layer, index, other)[0])


def _known(classifier: Classifier, label: str) -> str:
    if label not in classifier.class_names:
        names = ", ".join(map(display_name, classifier.class_names[:10]))
        raise ConfigError(f"This model has no class “{display_name(label)}”; it has {names}.")
    return label


def _report(options: argparse.Namespace, layer: str, label: str, found: HeatMap, test: TrustTest | None) -> None:
    if options.json:
        rows = [[round(value, 4) for value in row] for row in found.heat.tolist()]
        facts = {"image": options.picture, "layer": layer, "label": label, "against": options.against}
        facts |= {"method": options.method} if not options.against else {}
        facts |= {"trust": test.to_json()} if test else {}
        print(json.dumps({**facts, "map": rows, "output": str(options.output)}, ensure_ascii=False))
        return
    where = display_name(str(options.output))
    if options.against:
        print(
            f"{where}: orange speaks for {display_name(label)} ({share_for(found.heat):.0%} of the weight), "
            f"blue for {display_name(options.against)}, at {layer}."
        )
        return
    print(f"{where}: the brighter, the more a place speaks for {display_name(label)}, at {layer}.")
    if found.channels:
        print(f"The {found.used} strongest of its {found.channels} channels were taken away one by one.")
    if test:
        print(_verdict(test))


REASONS = {
    "empty": "it is empty",
    "unclear": "the test came upon numbers that are none, so it proves nothing",
    "survives": "it hardly changes when all weights are random",
    "chance": "covering its brightest places costs the class no more than covering places at random",
    "untaught": "networks with random weights do as well when their brightest places are covered",
}


def _verdict(test: TrustTest) -> str:
    numbers = (
        f"rank correlation with all weights random {test.steps[-1].likeness:.2f}; deletion area "
        f"{test.deletion.area:.3f}, at random {test.deletion.chance_mean:.3f} ± {test.deletion.chance_spread:.3f}"
    )
    if test.verdict.trusted:
        return f"The map passed the trust test ({numbers})."
    return f"Do not trust this map: {'; '.join(REASONS[reason] for reason in test.verdict.reasons)} ({numbers})."
