"""What computes the logits of a photo: the network as it is, or something that answers the same and sooner.

    plain            the model itself, float32, channels_last: what all others are held against
    folded           its steps with BatchNorm folded into the convolutions, in torch
    openvino         the same steps in OpenVINO, where that is installed

`-bf16` behind a name: weights and arithmetic in bfloat16, only where the hardware has it. `choose_engine` in
engine_choice.py tries them out. Feature maps, Grad-CAM and training never come here: they use the model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from resnet_core.inference.openvino_engine import OpenVinoEngine, computes_bf16
from resnet_core.inference.plan import convert_plan, make_plan, run_plan
from resnet_core.models.pooled import answer_with_features
from resnet_core.models.resnet import Network
from resnet_core.processor import has_bf16

FAMILIES = ("auto", "plain", "folded", "openvino")  # what a person may ask for


class Engine(Protocol):
    """Computes logits, and behind them the pooled stages where it was built for that; threads may call it at once."""

    name: str

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits [N,K] of preprocessed inputs [N,3,H,W], or [N,K+F] with features."""
        ...


class PlainEngine:
    """The model as it is; it stays the property of whoever made it. With `features` it must be a Network of ours."""

    name = "plain"

    def __init__(self, model: nn.Module, device: torch.device, *, features: bool = False) -> None:
        self.model = model
        self.device = device
        self.features = features

    @torch.inference_mode()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits [N,K] of inputs [N,3,H,W], on the model's device; with features behind them, [N,K+F]."""
        images = inputs.to(self.device).contiguous(memory_format=torch.channels_last)
        if self.features:
            assert isinstance(self.model, Network)
            return answer_with_features(self.model, images)
        return self.model(images)  # type: ignore[no-any-return]


class FoldedEngine:
    """A copy of the network without its BatchNorms. Raises UnknownNetwork where there is no plan of it."""

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        *,
        dtype: torch.dtype,
        channels_last: bool,
        features: bool = False,
    ) -> None:
        self.name = "folded" if dtype == torch.float32 else "folded-bf16"
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._device, self._dtype = device, dtype
        self._steps = convert_plan(
            make_plan(model, features=features), device=device, dtype=dtype, memory_format=self._format
        )

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits [N,K] of inputs [N,3,H,W], on the engine's device; with features behind them, [N,K+F]."""
        images = inputs.to(self._device, self._dtype).contiguous(memory_format=self._format)
        return run_plan(self._steps, images)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An engine that may be tried: building it may raise whatever a foreign library raises."""

    name: str
    build: Callable[[], Engine]

    @property
    def family(self) -> str:
        """The name without its precision and memory format."""
        return self.name.split("-")[0]

    @property
    def exact(self) -> bool:
        """True where it computes in float32, as the plain network does."""
        return "bf16" not in self.name


def list_candidates(
    model: nn.Module, device: torch.device, *, precision: str = "auto", features: bool = False
) -> tuple[Candidate, ...]:
    """Every engine but the plain one that this machine may run, the one expected to be fastest first.

    With precision "fp32" none that computes in bfloat16. What is not installed is listed too: building it says so.
    """
    half = precision != "fp32"

    def folded(dtype: torch.dtype, *, channels_last: bool = True) -> Callable[[], Engine]:
        return lambda: FoldedEngine(model, device, dtype=dtype, channels_last=channels_last, features=features)

    def openvino(numbers: str) -> Callable[[], Engine]:
        return lambda: OpenVinoEngine(model, precision=numbers, features=features)

    found = [Candidate(name="folded", build=folded(torch.float32))]
    if device.type == "cpu":
        found.append(Candidate(name="folded-rows", build=folded(torch.float32, channels_last=False)))
        found.insert(0, Candidate(name="openvino", build=openvino("f32")))
    if half and _torch_has_bf16(device):
        found.insert(0, Candidate(name="folded-bf16", build=folded(torch.bfloat16)))
    if half and device.type == "cpu" and _openvino_has_bf16():
        found.insert(0, Candidate(name="openvino-bf16", build=openvino("bf16")))
    return tuple(found)


def _torch_has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and has_bf16()


def _openvino_has_bf16() -> bool:
    try:
        return computes_bf16()
    except Exception:  # not installed, or broken in whatever way: its float32 candidate will say how
        return False
