"""A heat map over the square that the network saw, for the API."""

from typing import Any

from PIL import Image

from resnet_core.data.images import ReadImage

HEAT_SIZE = 336  # px of the picture under a heat map; the network's own square would be a stamp


def heat_picture(
    classifier: Any,
    photo: ReadImage,
    layer: str,
    class_index: int | None = None,
    against: int | None = None,
    method: str = "gradcam",
) -> Image.Image:
    """The heat map of a class (the answer, if None) by that method over the square the network saw, or why it and not
    `against`.

    Raises ConfigError for another method, ModelError for a layer without places.
    """
    from resnet_core.activations.contrast import contrast_map, contrast_overlay
    from resnet_core.activations.gradcam import overlay
    from resnet_core.activations.heat import heat_map

    preprocessing = classifier.checkpoint.preprocessing
    inputs = preprocessing(photo.image)[None]
    square = preprocessing.square(photo.image).resize((HEAT_SIZE, HEAT_SIZE), Image.Resampling.BICUBIC)
    if class_index is None or against is None:
        return overlay(square, heat_map(classifier.model, inputs, layer, class_index, method=method).heat)
    return contrast_overlay(square, contrast_map(classifier.model, inputs, layer, class_index, against)[0])
