"""How many pixels of the picture one place of a layer's maps can see, from the kernels and strides before it.

The gradient says the same for a given picture size (receptive_field.py); this needs no pass through the network.
"""

from torch import nn

from resnet_core.activations.layers import find_layer, list_layers
from resnet_core.models.resnet import Network

SKIP = ".downsample"


def field_size(model: nn.Module, layer: str) -> tuple[int, int] | None:
    """Return height and width in px of what a place far from the borders sees.

    None for networks that are not ours and for the head. A block sees what its branch sees, which is more than its
    skip does. Raises ModelError for a layer that cannot be observed.
    """
    find_layer(model, layer)
    if not isinstance(model, Network) or layer.partition(".")[0] not in (*model.stem_names, *model.stage_names):
        return None
    size, step = [1, 1], [1, 1]
    modules = dict(model.named_modules())
    for name in _path_to(model, layer):
        module = modules[name]
        if isinstance(module, nn.Conv2d | nn.MaxPool2d):
            for axis in (0, 1):
                size[axis] += (_pair(module.kernel_size)[axis] - 1) * step[axis]
                step[axis] *= _pair(module.stride)[axis]
    return size[0], size[1]


def _path_to(model: nn.Module, layer: str) -> list[str]:
    """The layers that a picture passes on its longest way to the end of this one."""
    names = list_layers(model)
    block, skip, _ = layer.partition(SKIP)
    passed = names[: names.index(layer) + 1]
    if skip:
        return [name for name in passed if SKIP not in name and not name.startswith(f"{block}.")] + [
            name for name in passed if name.startswith(block + SKIP)
        ]
    return [name for name in passed if SKIP not in name]


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
