"""Which tensor a layer's activation is. Several layers share one: a stage returns what its last block returned, and
that what its last ReLU returned, which is the ReLU of what it received.

    conv1 → bn1 → relu       bn1: the output of bn1;  relu: the same through a ReLU
    (branch + skip) → relu2  relu2, the block, the stage: the input of relu2 through a ReLU

So an activation before or after a ReLU can be told without running the network again, and copied only once.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

Side = Literal["input", "output"]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The tensor a module received or returned, and whether a ReLU is still to be applied to it."""

    module: str
    side: Side = "output"
    relu: bool = False


class OriginNotes:
    """What is noted of one forward pass, by hooks on every module; outputs are told apart by object and version.

    The version of a tensor grows with each in-place operation, such as a ReLU's, so what went in and what came out
    are two although they are one object.
    """

    def __init__(self) -> None:
        self._alive: list[Tensor] = []  # so that no object's id is used twice
        self._known: dict[tuple[int, int], Origin] = {}
        self._entering: dict[str, Origin] = {}
        self._of: dict[str, Origin] = {}  # by layer
        self._rectified: set[Origin] = set()  # what some ReLU received

    def note_input(self, name: str) -> Any:
        """A forward pre-hook for the ReLU of that name."""

        def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            if inputs and isinstance(inputs[0], Tensor):
                origin = self._identify(inputs[0], Origin(module=name, side="input"))
                self._entering[name] = origin
                self._rectified.add(origin)

        return note

    def note_output(self, name: str, output: Tensor) -> None:
        """Notes what a module returned."""
        entered = self._entering.pop(name, None)
        mine = Origin(module=name) if entered is None else dataclasses.replace(entered, relu=True)
        self._of[name] = self._identify(output, mine)

    def origin(self, name: str, runs: Mapping[str, int]) -> Origin:
        """The origin of a layer that ran once; its own output where the tensor's maker ran several times."""
        origin = self._of[name]
        return origin if runs[origin.module] == 1 else Origin(module=name)

    def goes_into_relu(self, name: str) -> bool:
        """True when a ReLU received just this layer's output."""
        return self._of[name] in self._rectified

    def forget_tensors(self) -> None:
        """Lets the tensors of the pass go."""
        self._alive.clear()
        self._known.clear()

    def _identify(self, tensor: Tensor, otherwise: Origin) -> Origin:
        self._alive.append(tensor)
        return self._known.setdefault((id(tensor), tensor._version), otherwise)
