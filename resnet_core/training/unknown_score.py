"""How known a picture looks to a network: one number in [0, 1] from its pooled stages, part of the checkpoint.

Two parts, each of which may be missing, are summed and squashed: a small head that was fitted to tell pictures of the
network's classes from others, and how nearly a picture points where the centre of a class does. They are fitted by
`resnet_core.inference.unknown`. The curves say what a threshold costs, so that a page can tell it without any data.
"""

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

THRESHOLD = 0.5  # every fitted score is scaled so that this refuses the share of known pictures it was fitted for
LARGEST_SIDE = 65_536  # of a stored tensor
MOST_POINTS = 1001  # of a curve


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Scores of some pictures, as quantiles: the first the lowest score, the last the highest, in equal steps."""

    quantiles: tuple[float, ...]
    count: int  # pictures behind it

    @classmethod
    def of(cls, scores: Tensor, *, points: int = 101) -> "Curve":
        """The curve of scores `[N]`, rounded to what a file needs."""
        steps = torch.linspace(0, 1, points, dtype=torch.float64)
        found = torch.quantile(scores.double(), steps)
        return cls(quantiles=tuple(round(value, 5) for value in found.tolist()), count=len(scores))

    def share_below(self, threshold: float) -> float:
        """The share in [0, 1] of these pictures whose score lies below the threshold; grows with it."""
        values = self.quantiles
        place = bisect.bisect_left(values, threshold)
        if place in (0, len(values)):
            return 0.0 if place == 0 else 1.0
        low, high = values[place - 1], values[place]
        return (place - 1 + (threshold - low) / (high - low)) / (len(values) - 1)

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return {"quantiles": list(self.quantiles), "count": self.count}

    @classmethod
    def from_json(cls, fields: Any) -> "Curve":
        """The inverse of `to_json`. Raises ValueError, TypeError or KeyError."""
        values = tuple(float(value) for value in fields["quantiles"][: MOST_POINTS + 1])
        if not 2 <= len(values) <= MOST_POINTS or not all(map(math.isfinite, values)) or list(values) != sorted(values):
            raise ValueError("a curve is not made of rising numbers")
        return cls(quantiles=values, count=int(fields["count"]))


@dataclass(frozen=True, kw_only=True, eq=False)
class UnknownScore:
    """How known a picture looks: sigmoid of the weighted parts. Tensors are float32 on the CPU.

    Features are standardised and cut at ±`limit`, so that nothing a camera can send leaves the range that was seen.
    """

    width: int  # F: how many features the network gives
    columns: Tensor  # int64 [D]: those that are looked at
    mean: Tensor  # [D]
    scale: Tensor  # [D], above 0
    limit: float = 4.0
    head: tuple[Tensor, ...] = ()  # weight [H, D], bias [H], …, weight [1, H], bias [1]; ReLU between
    directions: Tensor | None = None  # [D, P]: whitened directions in which angles are measured
    centres: Tensor | None = None  # [C, P], one a class
    head_weight: float = 0.0
    nearness_weight: float = 0.0
    offset: float = 0.0
    known: Curve | None = None  # pictures of the classes that the fit did not see
    others: Curve | None = None  # pictures of other things, from sources that the fit did not see
    sources: tuple[str, ...] = ()  # what other things it was fitted against

    def parts(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The head's number and the nearness, float32 `[N]` each (0 where missing), of features `[N, F]`."""
        looked = features.float()[:, self.columns]
        standard = ((looked - self.mean) / self.scale).clamp(-self.limit, self.limit)
        none = torch.zeros_like(looked[:, 0])
        return (
            _run_head(self.head, standard) if self.head else none,
            _nearness(standard @ self.directions, self.centres)
            if self.directions is not None and self.centres is not None
            else none,
        )

    def raw(self, features: Tensor) -> Tensor:
        """The weighted sum float32 `[N]` before it is squashed; higher is more known."""
        head, nearness = self.parts(features)
        return self.head_weight * head + self.nearness_weight * nearness + self.offset

    def score(self, features: Tensor) -> Tensor:
        """How known each picture looks, float32 `[N]` in [0, 1], of features `[N, F]` on the CPU."""
        return torch.sigmoid(self.raw(features))

    def tensors(self) -> dict[str, Tensor]:
        """What is stored beside the weights, by name."""
        named: dict[str, Tensor | None] = {name: getattr(self, name) for name in _VECTORS}
        named |= {f"head.{index}": tensor for index, tensor in enumerate(self.head)}
        named |= {"directions": self.directions, "centres": self.centres}
        return {name: tensor.contiguous() for name, tensor in named.items() if tensor is not None}

    def to_json(self) -> dict[str, Any]:
        """What is stored in the description."""
        return {
            **{name: getattr(self, name) for name in ("width", *_NUMBERS)},
            "known": self.known.to_json() if self.known else None,
            "others": self.others.to_json() if self.others else None,
            "sources": list(self.sources),
        }

    @classmethod
    def from_stored(cls, fields: Any, tensors: Mapping[str, Tensor]) -> "UnknownScore":
        """What `to_json` and `tensors` wrote. Raises ValueError, TypeError or KeyError when anything does not fit."""
        numbers = {name: float(fields[name]) for name in _NUMBERS}
        if not all(map(math.isfinite, numbers.values())) or numbers["limit"] <= 0:
            raise ValueError("a number of the unknown score is not usable")
        head = tuple(tensors[f"head.{index}"].float() for index in range(sum(n.startswith("head.") for n in tensors)))
        made = cls(
            width=int(fields["width"]),
            columns=tensors["columns"].long(),
            mean=tensors["mean"].float(),
            scale=tensors["scale"].float(),
            head=head,
            directions=tensors["directions"].float() if "directions" in tensors else None,
            centres=tensors["centres"].float() if "centres" in tensors else None,
            known=Curve.from_json(fields["known"]) if fields.get("known") else None,
            others=Curve.from_json(fields["others"]) if fields.get("others") else None,
            sources=tuple(str(name) for name in fields.get("sources", ())),
            **numbers,
        )
        _check(made, len(tensors))
        return made


_VECTORS = ("columns", "mean", "scale")
_NUMBERS = ("limit", "head_weight", "nearness_weight", "offset")


def _run_head(head: tuple[Tensor, ...], standard: Tensor) -> Tensor:
    hidden = standard
    for index in range(0, len(head), 2):
        hidden = (hidden.relu() if index else hidden) @ head[index].T + head[index + 1]
    return hidden[:, 0]


def _nearness(points: Tensor, centres: Tensor) -> Tensor:
    """Cosine `[N]` of the angle between points `[N, P]` and the nearest of centres `[C, P]`; 0 for a point of length 0.

    Angles and not distances: pictures with little in them lie nearer to every centre than most flowers do.
    """
    return (normalize(points) @ normalize(centres).T).amax(1)


def _check(score: UnknownScore, stored: int) -> None:
    """Raises ValueError unless names, shapes and values fit each other."""
    count = len(score.columns)
    if stored != len(score.tensors()):
        raise ValueError("the unknown score has a tensor of another name")
    if not 0 < score.width <= LARGEST_SIDE or not 0 < count <= score.width:
        raise ValueError("the unknown score looks at no features")
    if any(getattr(score, name).shape != (count,) for name in _VECTORS):
        raise ValueError("the unknown score's columns, mean and scale differ in length")
    if not 0 <= int(score.columns.min()) <= int(score.columns.max()) < score.width:
        raise ValueError("the unknown score looks at features that are not there")
    if not all(torch.isfinite(tensor).all() for tensor in score.tensors().values()) or float(score.scale.min()) <= 0:
        raise ValueError("the unknown score holds values that are not numbers")
    _check_head(score.head, count)
    if (score.directions is None) != (score.centres is None):
        raise ValueError("the unknown score has centres without directions")
    if score.directions is not None and score.centres is not None:
        fits = score.directions.ndim == score.centres.ndim == 2 and score.directions.shape[0] == count
        if not fits or score.directions.shape[1] != score.centres.shape[1] or not score.centres.numel():
            raise ValueError("the unknown score's centres do not fit its directions")


def _check_head(head: tuple[Tensor, ...], count: int) -> None:
    if len(head) % 2 or len(head) > 8:
        raise ValueError("the unknown score's head has a layer without bias")
    width = count
    for weight, bias in zip(head[::2], head[1::2], strict=True):
        if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1] or not len(bias):
            raise ValueError("the layers of the unknown score's head do not fit each other")
        width = len(bias)
    if head and width != 1:
        raise ValueError("the unknown score's head gives more than one number")
