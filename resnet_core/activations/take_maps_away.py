"""Activations as a file for numpy, with what it takes to make them again: names, preprocessing, the picture itself.

file = np.load("maps.npz", allow_pickle=False)
file["layer1"]                        # float32 [C, h, w]
json.loads(str(file["about"]))        # model, layers, class names, preprocessing …
"""

import io
import json
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from resnet_core.activations.kept import ActivationCache
from resnet_core.activations.layers import Relu
from resnet_core.activations.turns import InTurn, at_once
from resnet_core.errors import ModelError
from resnet_core.inference.classifier import Classifier
from resnet_core.models.describe import describe

ABOUT = "about"  # keys beside the layers; no layer is called so, since none of them names a module
INPUT = "about_input"
MOST_BYTES = 512 * 2**20  # of activations in one file


@dataclass(frozen=True, kw_only=True, eq=False)
class TakenMaps:
    """Activations of one picture and where they come from."""

    activations: Mapping[str, Tensor]  # by layer, [C,h,w] or [K]
    inputs: Tensor  # the picture as the network saw it, [3,H,W]
    about: dict[str, Any]  # plain JSON


def take_maps(
    cache: ActivationCache,
    classifier: Classifier,
    image: Image.Image,
    layers: list[str] | tuple[str, ...],
    *,
    model: str,
    picture: str = "",
    relu: Relu = "given",
    in_turn: InTurn = at_once,
) -> TakenMaps:
    """Return these layers' activations of an RGB picture; the network's work is done by way of `in_turn`.

    Raises ModelError for an unknown layer, and for too many: before the network runs.
    """
    checkpoint = classifier.checkpoint
    inputs = checkpoint.preprocessing(image)
    if len(layers) > 1:  # one alone is no more than the network itself takes
        _check_size(in_turn(lambda: _shapes(classifier, inputs, layers)).values())
    found = in_turn(lambda: cache.get_of(classifier, inputs, layers, relu))
    _check_size(activation.shape for activation in found.values())
    about = {
        "model": model,
        "architecture": checkpoint.architecture,
        "picture": picture,
        "layers": list(found),
        "relu": relu,
        "shapes": {name: list(activation.shape) for name, activation in found.items()},
        "class_names": list(checkpoint.class_names),
        "preprocessing": checkpoint.preprocessing.to_json(),
        "preprocessing_in_words": checkpoint.preprocessing.describe(),
    }
    return TakenMaps(activations=found, inputs=inputs, about=about)


def _shapes(classifier: Classifier, inputs: Tensor, layers: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Of those layers that there are, without any arithmetic."""
    height, width = inputs.shape[-2:]
    rows = describe(classifier.model, (height, width)).layers
    return {row.name: row.output_shape for row in rows if row.name in layers}


def _check_size(shapes: Iterable[Sequence[int]]) -> None:
    size = 4 * sum(math.prod(shape) for shape in shapes)
    if size > MOST_BYTES:
        raise ModelError(
            f"These layers hold {size / 2**20:,.0f} MB, one file at most {MOST_BYTES // 2**20} MB; choose fewer layers."
        )


def write_npz(taken: TakenMaps) -> bytes:
    """Return the .npz file: an array a layer under its name, `about` as JSON text, `about_input`; no pickles inside."""
    arrays = {name: activation.numpy() for name, activation in taken.activations.items()}
    text = np.array(json.dumps(taken.about, ensure_ascii=False))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, array in {**arrays, ABOUT: text, INPUT: taken.inputs.numpy()}.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
    return stream.getvalue()
