"""OpenVINO answers as the network does, whatever its shape, from however many threads, and tells nobody."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import NETWORKS, assert_as_good, small_network, some_pictures

from resnet_core.inference.openvino_engine import SHAPES_KEPT, OpenVinoEngine, computes_bf16, import_openvino

try:
    import_openvino()
except ImportError:
    pytest.skip("OpenVINO is not installed; «pip install openvino» adds it.", allow_module_level=True)

ROOT = Path(__file__).parents[2]
SLOW = ("resnet101", "resnet110", "resnet1202")  # to compile; made of the same blocks as their smaller sisters
QUICK = [network for network in NETWORKS if network[0] not in SLOW]


@pytest.mark.parametrize(("name", "arguments"), QUICK, ids=str)
def test_it_answers_as_the_network_does(name: str, arguments: dict[str, Any]) -> None:
    model = small_network(name, arguments)
    engine = OpenVinoEngine(model)
    for count in (1, 3, 17):
        images = some_pictures(count, name)
        answers = engine(images)
        assert answers.dtype == torch.float32
        assert_as_good(model, images, answers)


def test_another_size_of_picture_is_another_compiled_network_and_only_some_are_kept() -> None:
    model = small_network("resnet20", {})
    engine = OpenVinoEngine(model)
    for edge in (*range(8, 8 + 2 * SHAPES_KEPT), 8):
        images = torch.randn(1, 3, edge, edge)
        with torch.no_grad():
            assert torch.allclose(engine(images), model(images), atol=1e-4)
    assert len(engine._requests) <= SHAPES_KEPT


def test_answers_are_copies_that_the_next_picture_does_not_overwrite() -> None:
    engine = OpenVinoEngine(small_network("resnet20", {}))
    first = engine(some_pictures(1, "resnet20"))
    kept = first.clone()
    engine(some_pictures(2, "resnet20")[:1])
    assert torch.equal(first, kept)


def test_pictures_in_any_memory_order_are_read_right_and_left_alone() -> None:
    model = small_network("resnet20", {})
    images = some_pictures(2, "resnet20")
    expected = OpenVinoEngine(model)(images)
    for same in (images.contiguous(memory_format=torch.channels_last), images.double(), images.flip(-1).flip(-1)):
        before = same.clone()
        assert torch.allclose(OpenVinoEngine(model)(same), expected, atol=1e-5)
        assert torch.equal(same, before)


def test_eight_threads_get_their_own_answers() -> None:
    engine = OpenVinoEngine(small_network("resnet20", {}))
    pictures = [some_pictures(count, "resnet20") for count in (1, 2, 3, 4)]
    expected = [engine(images) for images in pictures]
    wrong: list[int] = []

    def work(start: int) -> None:
        for index in range(start, start + 12):
            same = torch.equal(engine(pictures[index % 4]), expected[index % 4])
            wrong.extend([] if same else [index])

    threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_bf16_where_the_processor_has_it_is_near() -> None:
    if not computes_bf16():
        pytest.skip("This processor has no bfloat16.")
    model, images = small_network("resnet20", {}), some_pictures(3, "resnet20")
    answers = OpenVinoEngine(model, precision="bf16")(images).softmax(1)
    with torch.no_grad():
        assert (answers - model(images).softmax(1)).abs().max() < 0.05


def test_nothing_is_told_to_anybody() -> None:
    """`import openvino` alone would send an event to Google Analytics."""
    script = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        print("NETWORK", event, arguments); sys.stdout.flush()
sys.addaudithook(refuse)
import torch
from resnet_core.inference.openvino_engine import OpenVinoEngine
from resnet_core.models.zoo import build_model
OpenVinoEngine(build_model("resnet20").eval())(torch.zeros(1, 3, 32, 32))
import threading
for thread in threading.enumerate():
    if thread is not threading.current_thread() and not thread.daemon: thread.join(5)
print("loaded", [name for name in sys.modules if name.startswith("openvino_telemetry") and sys.modules[name]])
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert ran.stdout.strip() == "loaded []"
