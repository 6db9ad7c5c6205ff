"""One photo, from the bytes of a JPEG of 500×375 px to probabilities: ours against the ways others have."""

import io
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.harness import Benchmark, CannotMeasure, Comparison, Measured, Options

NETWORKS = ("resnet18", "resnet34", "resnet50")
WARM_UPS, REPETITIONS = 3, 15
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PEERS = ("channels-last", "onnxruntime", "openvino-f32", "openvino-bf16")

Answer = Callable[[bytes], list[float]]


def ours(options: Options) -> Measured:
    """read_image and Classifier, as the page, the API and the command line use them."""
    from resnet_core.data.images import read_image

    notes = {}

    def make(name: str) -> Answer:
        classifier = our_classifier(name, options)
        classifier.warm_up()
        notes[name] = classifier.engine_reason

        def answer(content: bytes) -> list[float]:
            image = read_image(content, name="photo.jpg", draft_size=classifier.draft_size)
            found = {each.label: each.probability for each in classifier.classify(image).predictions}
            return [found[label] for label in sorted(found)]

        return answer

    return _measure(make, notes)


def eager(options: Options) -> Measured:
    """The tutorial's way: torchvision's transforms and network, float32."""
    return _measure(lambda name: torchvision_answer(torchvision_network(name)))


def channels_last(options: Options) -> Measured:
    """The usual advice: channels_last, and bf16 autocast where the processor has it."""
    import torch

    from resnet_core.processor import has_bf16

    half = has_bf16() and options.precision == "auto"

    def make(name: str) -> Answer:
        network = torchvision_network(name).to(memory_format=torch.channels_last)

        def run(images: Any) -> Any:
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                return network(images.contiguous(memory_format=torch.channels_last)).float()

        return torchvision_answer(run)

    return _measure(make, {"autocast": "bf16" if half else "none"})


def onnxruntime(options: Options) -> Measured:
    """The network exported to ONNX, onnxruntime's own settings."""
    import onnxruntime as runtime
    import torch

    def make(name: str) -> Answer:
        session = runtime.InferenceSession(_onnx(name), providers=["CPUExecutionProvider"])
        images = session.get_inputs()[0].name
        return torchvision_answer(lambda inputs: torch.from_numpy(session.run(None, {images: inputs.numpy()})[0]))

    return _measure(make, {"onnxruntime": runtime.__version__})


def openvino(options: Options, *, precision: str) -> Measured:
    """The network converted by OpenVINO's own tools, compiled for latency."""
    import torch

    from resnet_core.inference.openvino_engine import import_openvino

    if precision == "bf16" and options.precision == "fp32":
        raise CannotMeasure("bf16 was not asked for")
    runtime = import_openvino()  # keeps its telemetry asleep
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}

    def make(name: str) -> Answer:
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder, "network.onnx")
            exported.write_bytes(_onnx(name))
            compiled = runtime.compile_model(runtime.convert_model(exported), "CPU", settings)
        return torchvision_answer(lambda inputs: torch.from_numpy(compiled(inputs.numpy())[0]))

    return _measure(make, {"openvino": runtime.__version__})


def our_classifier(name: str, options: Options) -> Any:
    """A Classifier of five classes with fixed weights at 224 px; without the mirror image, as the others answer."""
    from resnet_core.data.preprocessing import Preprocessing
    from resnet_core.inference.classifier import Classifier
    from resnet_core.training.checkpoint import Checkpoint

    model = our_network(name)
    checkpoint = Checkpoint(
        architecture=name,
        architecture_arguments=model.architecture_arguments,
        class_names=tuple("abcde"),
        preprocessing=Preprocessing(resize=256, crop=224),
    )
    return Classifier(checkpoint, model, precision=options.precision)


def our_network(name: str) -> Any:
    """The network with fixed weights, its last layer scaled so that answers differ: logits spread by about 2."""
    import torch

    from resnet_core.models.zoo import build_model

    torch.manual_seed(0)
    model = build_model(name, num_classes=5).eval()
    with torch.no_grad():
        pictures = torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64)
        model.fc.weight.mul_(2 / model(pictures).std())
    return model


def torchvision_network(name: str) -> Any:
    """torchvision's network with the same weights."""
    from torchvision import models

    network = getattr(models, name)(num_classes=5).eval()
    network.load_state_dict(our_network(name).state_dict())
    return network


def torchvision_answer(network: Callable[[Any], Any]) -> Answer:
    """From bytes to probabilities with Pillow and torchvision's transforms around a network [1,3,224,224] → [1,K]."""
    import torch
    from PIL import Image
    from torchvision import transforms as steps

    sizes = [steps.Resize(256), steps.CenterCrop(224)]
    prepare = steps.Compose([*sizes, steps.ToTensor(), steps.Normalize(MEAN, STD)])

    def answer(content: bytes) -> list[float]:
        with torch.no_grad():
            logits = network(prepare(Image.open(io.BytesIO(content)).convert("RGB"))[None])[0]
            return torch.softmax(logits, dim=0).tolist()  # type: ignore[no-any-return]

    return answer


def milliseconds(answer: Answer, content: bytes, repetitions: int = REPETITIONS) -> float:
    """The median time of an answer after some to warm up."""
    for _ in range(WARM_UPS):
        answer(content)
    times = []
    for _ in range(repetitions):
        started = time.perf_counter()
        answer(content)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _measure(make: Callable[[str], Answer], notes: dict[str, Any] | None = None) -> Measured:
    content, values, answers = _jpeg(), {}, []
    for name in NETWORKS:
        answer = make(name)
        answers += answer(content)
        values[name] = milliseconds(answer, content)
    return Measured(values=values, answers=answers, notes=notes or {})


def _jpeg() -> bytes:
    from resnet_core.data.rendered import render_flower

    content = io.BytesIO()
    render_flower("tulips", 1, size=512).resize((500, 375)).save(content, "JPEG", quality=90)
    return content.getvalue()


def _onnx(name: str) -> bytes:
    import torch

    content = io.BytesIO()
    torch.onnx.export(our_network(name), (torch.zeros(1, 3, 224, 224),), content, dynamo=False)
    return content.getvalue()


def _not_installed(package: str, extra: Callable[[], bool] = lambda: True) -> str | None:
    if find_spec(package) is None:
        return f"{package} is not installed (requirements-bench.txt)"
    return None if extra() else "this processor has no bf16"


def _has_bf16() -> bool:
    from resnet_core.processor import has_bf16

    return has_bf16()


def _rows(name: str) -> list[Comparison]:
    against = partial(Comparison, metric=name, unit="ms", larger_is_better=False)
    peers = [against(peer=peer, at_least=1.0, at_least_fp32=1.0, moonshot=1.3) for peer in PEERS]
    return [against(peer="eager", at_least=4.0, at_least_fp32=1.5, moonshot=7.0), *peers]


BENCHMARK = Benchmark(
    name="photo",
    claim="One photo, from JPEG bytes to probabilities: ours against eager torch and the runtimes made for it.",
    sides={
        "ours": ours,
        "eager": eager,
        "channels-last": channels_last,
        "onnxruntime": onnxruntime,
        "openvino-f32": partial(openvino, precision="f32"),
        "openvino-bf16": partial(openvino, precision="bf16"),
    },
    comparisons=tuple(row for name in NETWORKS for row in _rows(name)),
    tolerance=0.02,
    missing={
        "onnxruntime": partial(_not_installed, "onnxruntime"),
        "openvino-f32": partial(_not_installed, "openvino"),
        "openvino-bf16": partial(_not_installed, "openvino", _has_bf16),
    },
)
