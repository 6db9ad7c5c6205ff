"""What other visitors need not wait for: reading models and pictures, and packing files, off the desk's thread."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from demo.api import _whole
from demo.desk import CLOSED, Desk
from demo.examples import RENDERED
from demo.maps import channel_view
from demo.maps import scans as scans_module
from demo.maps.channel_view import case_html, look_at_channel
from demo.maps.compare_view import Seen, compare
from demo.maps.inside_block import look_inside
from demo.maps.kernels_section import KERNELS_A_PAGE, _view, kernel_view
from demo.maps.layer_view import channel_under, look
from demo.maps.network_map.map_drawing import make_draw
from demo.maps.refreshing import hash_of
from demo.maps.scans import Scans, patiently
from demo.maps.switch_api import switched_json
from demo.maps.take_away_section import maps_file
from demo.services import Services
from resnet_core.activations import channel_scan, picture_sample
from resnet_core.activations.kept import ActivationCache
from resnet_core.data.datasets import rendered_flowers
from resnet_core.data.images import ReadImage, read_image_with_notes
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import ConfigError, DeviceError
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig

FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


@pytest.fixture(scope="module")
def model(services: Services) -> str:
    torch.manual_seed(0)
    run = services.store.create(TrainConfig())
    arguments = {"num_classes": len(FLOWERS), "width": 8}
    checkpoint = Checkpoint(
        architecture="resnet18",
        architecture_arguments=arguments,
        class_names=FLOWERS,
        preprocessing=Preprocessing(resize=64, crop=64),
        training={"config": {"dataset": "rendered-flowers"}},
    )
    weights = build_model("resnet18", **arguments).state_dict()
    save_checkpoint(run.folder / "best.safetensors", checkpoint, weights)
    return str(run.run_id)


@pytest.fixture(scope="module")
def photo() -> ReadImage:
    return read_image_with_notes(RENDERED[0])


def noting(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[str]:
    """The names of the threads that call that function from now on."""
    threads: list[str] = []
    real = getattr(owner, name)

    def noted(*arguments: Any, **named: Any) -> Any:
        threads.append(threading.current_thread().name)
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, noted)
    return threads


ASKED: dict[str, Callable[[Services, ReadImage, str], Any]] = {
    "layer": lambda services, photo, model: look(services, photo, model, "layer1"),
    "relevance": lambda services, photo, model: look(services, photo, model, "layer1", order="relevance"),
    "click": lambda services, photo, model: channel_under(services, photo, model, "layer2", 1, 5, 5),
    "block": lambda services, photo, model: look_inside(
        services, services.private_copies, photo, model, block="", channel=0, off={}, shared=False, language="en"
    ),
    "switched": lambda services, photo, model: switched_json(services, photo, ["layer1.0"], [], model),
    "kernels": lambda services, photo, model: kernel_view(services, model, "conv1", 0, 0, "en"),
    "channel": lambda services, photo, model: look_at_channel(services, photo, model, "layer3", 0, "en"),
    "compare": lambda services, photo, model: compare(
        services,
        Seen(model=model, photo=photo, title="a"),
        Seen(model=model, photo=photo, title="b"),
        "layer2",
        "en",
    ),
    "map": lambda services, photo, model: make_draw(services)({"model": model, "network": "", "size": 0}),
    **{
        form: lambda services, photo, model, form=form: maps_file(services, photo, model, "layer1", form)
        for form in ("png", "npz", "webp")
    },
}


@pytest.mark.parametrize("what", ASKED)
def test_models_are_read_before_anybody_waits_for_the_desk(
    services: Services, photo: ReadImage, model: str, what: str, monkeypatch: pytest.MonkeyPatch
):
    threads = noting(monkeypatch, services, "classifier")
    ASKED[what](services, photo, model)
    assert set(threads) == {threading.current_thread().name}


@pytest.mark.parametrize(
    ("form", "packing"),
    [
        ("png", "resnet_core.activations.render.encode_sheet"),
        ("npz", "resnet_core.activations.take_maps_away.write_npz"),
        ("webp", "resnet_core.activations.film._encode"),
    ],
)
def test_files_are_packed_off_the_desk_and_the_network_runs_on_it(
    services: Services, photo: ReadImage, model: str, form: str, packing: str, monkeypatch: pytest.MonkeyPatch
):
    import importlib

    module, name = packing.rsplit(".", 1)
    packed = noting(monkeypatch, importlib.import_module(module), name)
    asked = noting(monkeypatch, ActivationCache, "get_of")
    maps_file(services, photo, model, "layer1", form)
    assert packed == [threading.current_thread().name]
    assert set(asked) == {"desk"}


@pytest.fixture
def garden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few flowers."""
    few = rendered_flowers(train=2, val=4, size=64)
    monkeypatch.setattr("resnet_core.data.datasets.rendered_flowers", lambda: few)
    monkeypatch.setattr("resnet_core.activations.picture_sample.load_dataset", lambda *_, **__: few)


def found_by(scans: Scans, model: str, layer: str = "layer1") -> scans_module.Scanned:
    return scans.find(model, layer, "own_val", session="me", told=lambda *_: None)


def test_pictures_that_were_let_go_are_read_again_off_the_desk(
    services: Services, model: str, garden: None, monkeypatch: pytest.MonkeyPatch
):
    scans = Scans(services)
    scanned = found_by(scans, model)
    scans._samples.clear()
    threads = noting(monkeypatch, picture_sample, "load_sample")
    assert case_html(services, scans, services.classifier(model), scanned, 1, "en")
    assert threads == [threading.current_thread().name]


def test_what_a_layer_sees_is_worked_out_once_for_all_its_channels(
    services: Services, photo: ReadImage, model: str, monkeypatch: pytest.MonkeyPatch
):
    from resnet_core.activations import receptive_field

    channel_view._spans_of.clear()
    worked = noting(monkeypatch, receptive_field, "field_spans")
    first, second = (look_at_channel(services, photo, model, "layer2", each, "en").map_value for each in (0, 1))
    assert len(worked) == 1
    assert first["rows"] == second["rows"]
    look_at_channel(services, photo, model, "layer3", 0, "en")
    assert len(worked) == 2


# Scans


def test_a_scan_that_runs_out_of_time_is_told_and_not_waited_for(
    services: Services, model: str, garden: None, monkeypatch: pytest.MonkeyPatch
):
    def slow(*_: Any, **__: Any) -> Any:
        raise TimeoutError("the disk")

    monkeypatch.setattr(channel_scan, "scan_channels", slow)
    scans, problems = Scans(services), []

    def ask() -> None:
        try:
            found_by(scans, model, "layer2")
        except TimeoutError as problem:
            problems.append(str(problem))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(20)
    assert problems == ["the disk"]


def test_a_scan_is_filed_under_the_file_that_was_read(
    services: Services, model: str, garden: None, monkeypatch: pytest.MonkeyPatch
):
    scans, classifier = Scans(services), services.classifier(model)
    monkeypatch.setattr(services, "classifier", lambda name: classifier)  # read just before the file was replaced
    best = services.store.get(model).folder / "best.safetensors"
    stamp = services.stamp_of(classifier)
    best.touch()
    found_by(scans, model)
    assert [key[1] for key in scans._known] == [stamp]


class Crowded:
    """A desk that turns the first two away."""

    def __init__(self, refusal: str = "64 people are waiting already; try again in about 3 s.") -> None:
        self.asked, self._refusal = 0, refusal

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        self.asked += 1
        if self.asked <= 2:
            raise DeviceError(self._refusal)
        return work()


def test_a_piece_of_a_scan_comes_again_when_too_many_wait(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scans_module, "LOOK_AGAIN", 0.01)

    def broken() -> Tensor:
        raise DeviceError("the device is gone")

    def ask(desk: Any, work: Callable[[], Tensor], *, gone: bool = False) -> Tensor:
        return patiently(desk, work, gone=lambda: gone)

    crowded = Crowded()
    assert ask(crowded, lambda: torch.ones(2)).sum() == 2
    assert crowded.asked == 3
    with pytest.raises(DeviceError, match="people are waiting"):
        ask(Crowded(), lambda: torch.ones(2), gone=True)
    with pytest.raises(DeviceError, match="shutting down"):
        ask(Crowded(CLOSED), lambda: torch.ones(2))
    working = Crowded()
    with pytest.raises(DeviceError, match="the device is gone"):
        ask(working, broken)
    assert working.asked == 3
    closed = Desk()
    closed.close()
    with pytest.raises(DeviceError, match="shutting down"):
        ask(closed, lambda: torch.ones(2))


# Kernels, photos, numbers of programs


def test_of_more_than_512_kernels_those_around_the_place_are_drawn_and_named():
    network = torch.nn.Sequential(torch.nn.Conv2d(1100, 2, 1), torch.nn.Linear(1100, 2))
    pages = [_view(network, "0", 0, place, "en") for place in (0, KERNELS_A_PAGE, 10**6)]
    assert [view["told"].partition("those of ")[2].partition(";")[0] for view in pages] == [
        "channels 0 to 511",
        "channels 512 to 1023",
        "channels 1024 to 1099",
    ]
    assert len({view["picture"].tobytes() for view in pages}) == 3
    assert "channels 512 to 1023" in _view(network, "1", 0, KERNELS_A_PAGE // 64, "en")["told"]
    assert "Drawn are" not in _view(torch.nn.Sequential(torch.nn.Conv2d(512, 2, 1)), "0", 0, 0, "en")["told"]


def test_photos_of_one_color_and_other_edges_are_told_apart(photo: ReadImage):
    import dataclasses

    from PIL import Image

    wide, high = (dataclasses.replace(photo, image=Image.new("RGB", size)) for size in ((30, 20), (20, 30)))
    assert hash_of(wide) != hash_of(high)
    assert hash_of(wide) == hash_of(dataclasses.replace(photo, image=Image.new("RGB", (30, 20))))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1.5, True, "3", None])
def test_what_is_no_whole_number_is_a_sentence(value: Any):
    with pytest.raises(ConfigError, match="page must be a whole number"):
        _whole(value, "page")
    assert _whole(3.0, "page") == 3
