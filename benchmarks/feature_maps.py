"""Every channel of a layer as one encoded picture: forward to the layer, and what drawing adds to it."""

import statistics
import time
from typing import Any

import torch

from resnet_core.activations.capture import capture_activations
from resnet_core.activations.render import encode_sheet, render_sheet
from resnet_core.models.zoo import build_model

ROUNDS = 15


def run() -> dict[str, Any]:
    """Milliseconds of the forward pass and of drawing, ResNet-34 at 224 px, for an early and the last stage."""
    model = build_model("resnet34", num_classes=5).eval()
    inputs = torch.randn(1, 3, 224, 224)
    return {"layers": {layer: _measure(model, inputs, layer) for layer in ("conv1", "layer2", "layer4")}}


def _measure(model: torch.nn.Module, inputs: torch.Tensor, layer: str) -> dict[str, Any]:
    forward, draw = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        activation = capture_activations(model, inputs, [layer])[layer][0]
        captured = time.perf_counter()
        encoded = encode_sheet(render_sheet(activation).image)
        draw.append(time.perf_counter() - captured)
        forward.append(captured - started)
    return {
        "channels": len(activation),
        "ms_forward": round(statistics.median(forward) * 1000, 1),
        "ms_picture": round(statistics.median(draw) * 1000, 1),
        "kilobytes": round(len(encoded) / 1000),
    }
