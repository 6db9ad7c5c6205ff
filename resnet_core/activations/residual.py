"""Inside a residual block: what comes in (x), what the block adds (F(x)), their sum and what leaves, and how the whole
network does without one of the two.

    parts = block_parts(model, inputs, "layer2.0")
    with switching_off(model, {"layer2.1": "branch"}): logits = model(images)
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnet_core.activations.capture import fitting_inputs, observing, run_forward
from resnet_core.activations.layers import find_layers
from resnet_core.errors import ModelError
from resnet_core.models.resnet import Off, ResidualBlock

_switching = threading.RLock()


@dataclass(frozen=True, kw_only=True)
class BlockParts:
    """The tensors of one block for a batch, float32 `[N, C, h, w]` on the CPU; identity and total are None in a plain
    block, which has no skip."""

    identity: Tensor | None  # x, brought to the branch's shape where that differs
    branch: Tensor  # F(x)
    total: Tensor  # their sum, before the last ReLU; where one of them is switched off, the other alone
    output: Tensor


@dataclass(frozen=True, kw_only=True)
class BlockShare:
    """How much one block changes its input: Euclidean norms of x and of F(x), averaged over the pictures."""

    name: str
    identity: float
    branch: float

    @property
    def ratio(self) -> float:
        """‖F(x)‖ / ‖x‖; infinite where nothing comes in."""
        return self.branch / self.identity if self.identity else float("inf")


def list_blocks(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the blocks in the order in which a picture meets them; empty for a network without any."""
    return tuple(name for name, module in model.named_modules() if isinstance(module, ResidualBlock))


def block_parts(model: nn.Module, inputs: Tensor, block: str) -> BlockParts:
    """Return what happens inside that block for inputs [N,3,H,W]. Raises ModelError for a name that is no block."""
    found: list[BlockParts] = []

    def take(_: str, identity: Tensor | None, branch: Tensor, output: Tensor, off: Off | None) -> None:
        total = branch if identity is None or off == "skip" else identity if off == "branch" else branch + identity
        parts = [None if each is None else _kept(each) for each in (identity, branch, total, output)]
        found.append(BlockParts(identity=parts[0], branch=parts[1], total=parts[2], output=parts[3]))  # type: ignore[arg-type]

    _watch(model, inputs, (block,), take)
    return found[0]


def block_shares(model: nn.Module, inputs: Tensor) -> tuple[BlockShare, ...]:
    """Return for every block with a skip how much it changes inputs [N,3,H,W] on their way."""
    names = [name for name in list_blocks(model) if _block(model, name).residual]
    shares: list[BlockShare] = []

    def take(name: str, identity: Tensor | None, branch: Tensor, output: Tensor, off: Off | None) -> None:
        assert identity is not None
        norms = [float(each.float().flatten(1).norm(dim=1).mean()) for each in (identity, branch)]
        shares.append(BlockShare(name=name, identity=norms[0], branch=norms[1]))  # the maps themselves are let go

    _watch(model, inputs, names, take)
    return tuple(shares)


@contextlib.contextmanager
def switching_off(model: nn.Module, off: Mapping[str, Off]) -> Iterator[None]:
    """While open, each named block leaves out its "branch" or its "skip"; whoever asks the model gets what remains.

    Two who switch at the same time take turns: else the second would give back what the first had taken. Raises
    ModelError for a name that is no block, and for a plain block, which has only its branch.
    """
    blocks = {name: _block(model, name) for name in off}
    for name, block in blocks.items():
        if not block.residual:
            raise ModelError(f"The block {name!r} is a plain one: it has no skip, so nothing can be switched off.")
        if off[name] not in ("branch", "skip"):
            raise ModelError(f"Switch off “branch” or “skip” of {name!r}, not “{off[name]}”.")
    with _switching:
        before = {name: block.off for name, block in blocks.items()}
        try:
            for name, block in blocks.items():
                block.off = off[name]
            yield
        finally:
            for name, block in blocks.items():
                block.off = before[name]


_Take = Callable[[str, Tensor | None, Tensor, Tensor, Off | None], None]  # name, x, F(x), output, what is off


def _watch(model: nn.Module, inputs: Tensor, names: Sequence[str], take: _Take) -> None:
    """Sends inputs through the network; hands each block's parts to `take` as soon as the block is done."""
    blocks = {name: _block(model, name) for name in names}
    if not blocks:
        return
    find_layers(model, blocks)
    images = fitting_inputs(model, inputs)
    came_in: dict[str, Tensor] = {}
    handles = [block.register_forward_pre_hook(_noting(came_in, name)) for name, block in blocks.items()]

    def note(name: str, output: Tensor) -> None:
        block, x = blocks[name], came_in.pop(name)
        take(name, block.skip(x) if block.residual else None, block.branch(x), output, block.off)

    try:
        with torch.inference_mode(False), torch.no_grad(), observing(model, dict(blocks), note):
            run_forward(model, images)
    finally:
        for handle in handles:
            handle.remove()


def _noting(came_in: dict[str, Tensor], name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    owner = threading.get_ident()

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if threading.get_ident() == owner:  # others may be asking the same network
            came_in[name] = inputs[0].clone()

    return hook


def _kept(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format)


def _block(model: nn.Module, name: str) -> ResidualBlock:
    try:
        module = model.get_submodule(name)  # a dictionary of them all for every name would be quadratic in the depth
    except AttributeError:
        module = None
    if not isinstance(module, ResidualBlock):
        blocks = list_blocks(model)
        told = f"choose one of {', '.join(blocks[:20])}" if blocks else "this network has none"
        raise ModelError(f"“{str(name)[:60]}” is no block; {told}.")
    return module
