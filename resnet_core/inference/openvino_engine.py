"""The photo network in OpenVINO, where that is installed: built from a plan, operator by operator.

Measured on 2 AVX2 cores, one picture of 224 px, ms: eager ResNet-18/34/50 46/82/111, here 28/54/67, which is the
processor's full speed in multiplications. On cores with AMX its bf16 is the only one near their full speed.
"""

import importlib
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnet_core.device import default_num_threads
from resnet_core.inference.plan import Add, Answer, Convolve, MaxPool, Pool, Relu, Scale, Step, Thin, make_plan

SHAPES_KEPT = 3  # compiled networks an engine keeps, each with weights of its own
CHUNK = 8  # pictures at a time: more are not faster, they only take memory


def import_openvino() -> Any:
    """The module `openvino`. Raises ImportError where it is missing.

    Importing it would send an event to Google Analytics (openvino.tools.ovc, which builds a Telemetry). For this
    process its telemetry package therefore does not exist; openvino then takes its own stub that does nothing.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def computes_bf16() -> bool:
    """True where OpenVINO says that this processor has bfloat16. Raises ImportError without OpenVINO."""
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEngine:
    """Logits on the CPU in precision "f32" or "bf16"; threads share it, one picture or batch is computed at a time.

    One compiled network for single pictures, one for batches of any count, made when first asked. With `features` the
    pooled stages stand behind the logits. Raises ImportError without OpenVINO and UnknownNetwork for a network that
    has no plan.
    """

    def __init__(self, model: nn.Module, *, precision: str = "f32", features: bool = False) -> None:
        self.name = "openvino" if precision == "f32" else f"openvino-{precision}"
        self._openvino = import_openvino()
        self._core = self._openvino.Core()
        self._precision = precision
        self._model, self._features = model, features
        self._lock = threading.Lock()
        self._requests: OrderedDict[tuple[int, int, int], Any] = OrderedDict()
        self._plan: tuple[Step, ...] | None = make_plan(model, features=features)

    def __call__(self, inputs: Tensor) -> Tensor:
        """float32 logits [N,K] of preprocessed inputs [N,3,H,W]."""
        array = np.ascontiguousarray(inputs.detach().to("cpu", torch.float32).numpy())
        count = len(array)
        with self._lock:
            parts = [self._infer(array[at : at + CHUNK]) for at in range(0, count, CHUNK)]
        return torch.from_numpy(np.concatenate(parts) if len(parts) != 1 else parts[0])

    def _infer(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        request = self._request((1 if len(images) == 1 else -1, *images.shape[2:]))
        request.infer({0: self._openvino.Tensor(images, shared_memory=True)}, share_inputs=True)
        return np.array(request.get_output_tensor(0).data)  # a copy: the next picture is written to the same place

    def _request(self, shape: tuple[int, int, int]) -> Any:
        if shape not in self._requests:
            self._requests[shape] = self._compile(shape).create_infer_request()
            while len(self._requests) > SHAPES_KEPT:
                self._requests.popitem(last=False)
        self._requests.move_to_end(shape)
        return self._requests[shape]

    def _compile(self, shape: tuple[int, int, int]) -> Any:
        count, height, width = shape
        plan = self._plan or make_plan(self._model, features=self._features)
        self._plan = None  # OpenVINO keeps the weights in its own order
        network = build_graph(plan, [count, 3, height, width])
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self._precision,
            "ENABLE_CPU_PINNING": False,  # a training may need the same cores
        }
        if default_num_threads() < (os.cpu_count() or 1):  # else its own choice is better: one thread a real core
            settings["INFERENCE_NUM_THREADS"] = default_num_threads()
        return self._core.compile_model(network, "CPU", settings)


def build_graph(steps: Sequence[Step], shape: list[int]) -> Any:
    """An `openvino.Model` from images of that shape (-1: any count) to logits, behind them what the steps pool."""
    openvino, operators = import_openvino(), importlib.import_module("openvino.opset13")
    images = operators.parameter(openvino.PartialShape(shape), np.float32, name="images")
    node, pooled = images, []
    for step in steps:
        if isinstance(step, Pool):
            pooled += _pool(operators, node)
        else:
            node = _append(operators, step, node)
    answer = operators.concat([node, *pooled], 1) if pooled else node
    return openvino.Model([answer], [images], "resnet")


def _pool(ops: Any, maps: Any) -> list[Any]:
    """Mean and spread of every channel over space."""
    space = _whole(ops, [2, 3])
    gaps = ops.subtract(maps, ops.reduce_mean(maps, space, keep_dims=True))
    variance = ops.reduce_mean(ops.multiply(gaps, gaps), space, keep_dims=False)
    return [ops.reduce_mean(maps, space, keep_dims=False), ops.sqrt(variance)]


def _chain(ops: Any, steps: Sequence[Step], node: Any) -> Any:
    for step in steps:
        node = _append(ops, step, node)
    return node


def _append(ops: Any, step: Step, node: Any) -> Any:
    match step:
        case Convolve():
            pads = list(step.padding)
            node = ops.convolution(node, _constant(ops, step.weight), list(step.stride), pads, pads, [1, 1])
            return ops.add(node, _constant(ops, step.bias[None, :, None, None]))
        case Relu():
            return ops.relu(node)
        case Add():
            return ops.add(_chain(ops, step.branch, node), _chain(ops, step.skip, node))
        case MaxPool():
            pads = list(step.padding)
            pooled = ops.max_pool(node, list(step.stride), [1, 1], pads, pads, list(step.size), "floor", "explicit")
            return pooled.output(0)  # the second output would be the places of the largest values
        case Scale():
            scaled = ops.multiply(node, _constant(ops, step.scale[None, :, None, None]))
            return ops.add(scaled, _constant(ops, step.shift[None, :, None, None]))
        case Thin():
            start, stop, stride = (_whole(ops, numbers) for numbers in ([0, 0], [2**31 - 1] * 2, [step.stride] * 2))
            thinned = ops.slice(node, start, stop, stride, _whole(ops, [2, 3]))
            before, after = _whole(ops, [0, step.before, 0, 0]), _whole(ops, [0, step.after, 0, 0])
            return ops.pad(thinned, before, after, "constant", ops.constant(np.float32(0)))
        case Pool():
            raise AssertionError("only whole stages are pooled, see build_graph")
        case Answer():
            mean = ops.reduce_mean(node, _whole(ops, [2, 3]), keep_dims=False)
            logits = ops.matmul(mean, _constant(ops, step.weight), transpose_a=False, transpose_b=True)
            return ops.add(logits, _constant(ops, step.bias[None]))


def _constant(ops: Any, tensor: Tensor) -> Any:
    return ops.constant(tensor.contiguous().numpy(), shared_memory=True)


def _whole(ops: Any, numbers: list[int]) -> Any:
    return ops.constant(np.array(numbers, dtype=np.int64))
