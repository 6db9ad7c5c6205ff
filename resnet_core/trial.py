"""Trials of computing one way or another on this processor: a small ResNet, trained and asked, timed fairly.

A single convolution misleads: measured on 2 AVX2 cores, convolutions alone were 10–20 % faster contiguous while whole
training steps of ResNet-18, -20 and -34 were 1–18 % faster in channels_last. So the trial has what a network has: stem,
pooling, normalisation, skips and four stages.

Wall time misleads on a busy machine: with two other programs on 2 cores, the ratio of the two formats came out between
0.66 and 1.49. The processor's time of one thread came out between 1.14 and 1.21, and between 0.78 and 0.93 with torch
held to SSE4.1, where real steps had 0.77. So one thread computes, its own time counts, and sides take turns.
"""

import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

now = time.perf_counter
# Windows counts a thread's time in ticks of 16 ms, too coarse for steps of 40 ms.
worked = time.perf_counter if os.name == "nt" else time.thread_time

Step = Callable[[], object]
Layer = tuple[Tensor, Tensor, Tensor]  # filters, scale and shift of the normalisation

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def fastest(sides: Mapping[str, Step], *, rounds: int, budget: float, clock: Callable[[], float]) -> dict[str, float]:
    """Each side's shortest time in s by this clock, of as many rounds as begin within `budget` seconds."""
    for run in sides.values():
        run()  # the first time it chooses and builds its kernels
    best = dict.fromkeys(sides, math.inf)
    started = now()
    for turn in range(rounds):
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            began = clock()
            sides[name]()
            best[name] = min(best[name], max(clock() - began, 1e-9))
        if now() - started > budget:
            break
    return best


def compute_alone() -> int:
    """Lets the calling thread compute with one core; threads that come later get as many as always. Returns how many.

    torch hands the number set last to every thread that computes for the first time, and it keeps it: without this, a
    photo asked for during the trial would have been answered by one core, and so would all later ones of its thread.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    put_back = threading.Thread(target=torch.set_num_threads, args=(before,))
    put_back.start()
    put_back.join()
    return before


def time_training(bf16: bool) -> dict[str, float]:
    """Shortest times of a training step in s by how it computes, on one core."""
    sides = {name: _training(layout) for name, layout in LAYOUTS.items()}
    if bf16:
        sides["bf16"] = _training(torch.channels_last, bf16=True)
    return fastest(sides, rounds=5, budget=0.6, clock=worked)


def time_answering() -> dict[str, float]:
    """Shortest times of one picture's answer in s by how it lies in memory, on one core."""
    return fastest({name: _answering(layout) for name, layout in LAYOUTS.items()}, rounds=4, budget=0.4, clock=worked)


def time_threads(few: int, many: int) -> float:
    """How many times as fast a training step is with many threads as with few. Leaves either number set."""
    step = _training(torch.channels_last)

    def run(threads: int) -> None:
        torch.set_num_threads(threads)
        step()

    sides = {"few": lambda: run(few), "many": lambda: run(many)}
    times = fastest(sides, rounds=6, budget=0.3, clock=now)
    return times["few"] / times["many"]


def _training(layout: torch.memory_format, *, bf16: bool = False) -> Step:
    """Forward and backward of a small ResNet on 4 pictures of 112 px."""
    images, layers = _make_network(width=32, batch=4, side=112, layout=layout)
    parameters = [tensor.requires_grad_() for layer in layers for tensor in layer]

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            answer = _forward(images, layers, training=True)
        torch.autograd.grad(answer.float().square().sum(), parameters)

    return step


def _answering(layout: torch.memory_format) -> Step:
    """The forward pass of a ResNet with 4 blocks for one picture of 224 px."""
    images, layers = _make_network(width=64, batch=1, side=224, layout=layout)

    def step() -> None:
        with torch.inference_mode():
            _forward(images, layers, training=False)

    return step


def _make_network(*, width: int, batch: int, side: int, layout: torch.memory_format) -> tuple[Tensor, list[Layer]]:
    """Images `[batch, 3, side, side]` and the layers of a ResNet with one basic block in each of its four stages."""
    generator = torch.Generator().manual_seed(0)  # its own: a seeded training next door must not notice

    def draw(*shape: int) -> Tensor:
        values = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
        return (values / math.sqrt(math.prod(shape[1:]))).contiguous(memory_format=layout)

    def layer(channels: int, inputs: int, kernel: int) -> Layer:
        one = torch.ones(channels, dtype=torch.float32, device="cpu")
        return draw(channels, inputs, kernel, kernel), one, torch.zeros_like(one)

    layers = [layer(width, 3, 7)]
    for inputs, channels in itertools.pairwise((width, width, 2 * width, 4 * width, 8 * width)):
        layers += [layer(channels, inputs, 3), layer(channels, channels, 3)]
        if inputs != channels:
            layers.append(layer(channels, inputs, 1))
    return draw(batch, 3, side, side), layers


def _forward(images: Tensor, layers: list[Layer], *, training: bool) -> Tensor:
    """The last feature map's mean `[N, C]`."""

    def apply(inputs: Tensor, layer: Layer, stride: int = 1) -> Tensor:
        filters, scale, shift = layer
        mean, variance = (None, None) if training else (shift, scale)
        outputs = functional.conv2d(inputs, filters, stride=stride, padding=filters.shape[-1] // 2)
        return functional.batch_norm(outputs, mean, variance, scale, shift, training=training)

    rest = iter(layers)
    maps = functional.max_pool2d(functional.relu(apply(images, next(rest), 2)), 3, 2, 1)
    for first in rest:
        stride = 1 if first[0].shape[0] == first[0].shape[1] else 2
        inner = apply(functional.relu(apply(maps, first, stride)), next(rest))
        shortcut = maps if stride == 1 else apply(maps, next(rest), stride)
        maps = functional.relu(inner + shortcut)
    return maps.mean((2, 3))


def bf16_error() -> float:
    """Largest deviation of a bfloat16 convolution and its two gradients, each over its largest float32 value.

    At most 1, which also stands for results that are no numbers.
    """
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 64, 14, 14, generator=generator, dtype=torch.float32, device="cpu")
    filters = torch.randn(64, 64, 3, 3, generator=generator, dtype=torch.float32, device="cpu") / 24

    def results(dtype: torch.dtype) -> list[Tensor]:
        given = [tensor.to(dtype, memory_format=torch.channels_last).requires_grad_() for tensor in (images, filters)]
        outputs = functional.conv2d(given[0], given[1], padding=1)
        return [outputs.detach(), *torch.autograd.grad(outputs, given, outputs.detach())]

    pairs = zip(results(torch.bfloat16), results(torch.float32), strict=True)
    errors = [float((coarse.float() - exact).abs().max() / exact.abs().max()) for coarse, exact in pairs]
    return min(1.0, max(errors)) if all(map(math.isfinite, errors)) else 1.0
