"""Published weights over a real local HTTP server: download, cache, wrong hash, no network."""

import hashlib
import io
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import Tensor

from resnet_core.errors import ModelError
from resnet_core.models import pretrained
from resnet_core.models.pretrained import is_pretrained_cached, load_pretrained
from resnet_core.models.zoo import build_model, list_models


@dataclass
class Mirror:
    """A small server of weight files, and the requests it saw."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            served.requests.append(name)
            body = served.files.get(name)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            try:
                self.wfile.write(body or b"")
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Mirror(url=f"http://127.0.0.1:{server.server_port}/models")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture(scope="module")
def published() -> tuple[dict[str, Tensor], bytes]:
    """A whole ResNet-18 state dict and its file."""
    torch.manual_seed(5)
    state_dict = build_model("resnet18").state_dict()
    buffer = io.BytesIO()
    torch.save(state_dict, buffer)
    return state_dict, buffer.getvalue()


def publish(mirror: Mirror, content: bytes, monkeypatch: pytest.MonkeyPatch, *, digest: str = "") -> str:
    """Put a file on the mirror under the name its hash demands; make it the published file of resnet18."""
    name = f"resnet18-{digest or hashlib.sha256(content).hexdigest()[:8]}.pth"
    mirror.files[name] = content
    monkeypatch.setattr(pretrained, "published_url", lambda _name: f"{mirror.url}/{name}")
    return name


def test_weights_are_downloaded_once_then_come_from_the_cache(
    mirror: Mirror, published: tuple[dict[str, Tensor], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    state_dict, content = published
    name = publish(mirror, content, monkeypatch)
    assert not is_pretrained_cached("resnet18")
    weights = load_pretrained("resnet18", base_url=f"{mirror.url}/")
    assert is_pretrained_cached("resnet18")
    assert weights.state_dict.keys() == state_dict.keys()
    assert all(torch.equal(weights.state_dict[key], value) for key, value in state_dict.items())
    assert set(mirror.requests) == {name}
    mirror.requests.clear()
    load_pretrained("resnet18", base_url=mirror.url)
    assert mirror.requests == []


def test_weights_travel_with_class_names_and_preprocessing(
    mirror: Mirror, published: tuple[dict[str, Tensor], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(mirror, published[1], monkeypatch)
    weights = load_pretrained("resnet18", base_url=mirror.url)
    assert len(weights.class_names) == 1000
    assert (weights.class_names[0], weights.class_names[985]) == ("tench", "daisy")
    assert (weights.resize, weights.crop) == (256, 224)
    assert (weights.mean, weights.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert mirror.url in weights.source
    assert "IMAGENET1K_V1" in weights.source


@pytest.mark.parametrize("num_classes", [None, 1000])
def test_pretrained_model_of_a_thousand_classes_is_whole(
    num_classes: int | None,
    mirror: Mirror,
    published: tuple[dict[str, Tensor], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(mirror, published[1], monkeypatch)
    model = build_model("resnet18", num_classes=num_classes, pretrained=True)
    assert all(torch.equal(value, published[0][key]) for key, value in model.state_dict().items())


def test_transfer_keeps_the_body_and_starts_a_fresh_head(
    mirror: Mirror, published: tuple[dict[str, Tensor], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(mirror, published[1], monkeypatch)
    model = build_model("resnet18", num_classes=5, pretrained=True)
    assert model.fc.weight.shape == (5, 512)
    for key, value in model.state_dict().items():
        assert key.startswith("fc.") or torch.equal(value, published[0][key])
    body = build_model("resnet18", include_top=False, pretrained=True)
    assert torch.equal(body.layer4[1].conv2.weight, published[0]["layer4.1.conv2.weight"])


def test_a_file_that_breaks_its_promise_is_refused_and_not_kept(
    mirror: Mirror, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(mirror, b"something else", monkeypatch, digest="0badf00d")
    with pytest.raises(ModelError, match="do not match the hash"):
        load_pretrained("resnet18", base_url=mirror.url)
    assert list(empty_cache.iterdir()) == []
    assert not is_pretrained_cached("resnet18")


def test_a_damaged_file_in_the_cache_is_noticed(
    mirror: Mirror,
    published: tuple[dict[str, Tensor], bytes],
    empty_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = publish(mirror, published[1], monkeypatch)
    empty_cache.mkdir(parents=True)
    (empty_cache / name).write_bytes(published[1][:1000])
    with pytest.raises(ModelError, match=r"damaged.*delete it"):
        load_pretrained("resnet18", base_url=mirror.url)


def test_a_pickle_that_would_run_code_is_not_run(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = tmp_path / "ran"
    buffer = io.BytesIO()
    torch.save({"fc.weight": _Malicious(str(proof))}, buffer)
    publish(mirror, buffer.getvalue(), monkeypatch)
    with pytest.raises(ModelError, match="cannot be read as weights"):
        load_pretrained("resnet18", base_url=mirror.url)
    assert not proof.exists()


class _Malicious:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (self.path, "w")


def test_weights_of_another_network_are_refused(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    torch.save(build_model("resnet18", width=8).state_dict(), buffer)
    publish(mirror, buffer.getvalue(), monkeypatch)
    with pytest.raises(ModelError, match="belong to another network"):
        build_model("resnet18", num_classes=5, pretrained=True)


def test_a_mirror_without_the_file_is_named_as_such(mirror: Mirror) -> None:
    with pytest.raises(ModelError, match=r"could not be downloaded: the server answered 404.*resnet34-.*\.pth"):
        load_pretrained("resnet34", base_url=mirror.url)


def test_offline_is_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        with pytest.raises(ModelError) as caught:
            load_pretrained("resnet50", base_url=f"http://127.0.0.1:{closed.getsockname()[1]}")
    sentence = str(caught.value)
    assert sentence.startswith("ImageNet weights for resnet50 are not on this machine and could not be downloaded: ")
    assert "connect once" in sentence
    assert "resnet50-0676ba61.pth" in sentence
    assert str(tmp_path) not in sentence


def test_a_network_that_swallows_packets_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ModelError, match="in time"):
        load_pretrained("resnet18", base_url=f"http://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize("name", [name for name in list_models() if name not in pretrained.PRETRAINED_MODELS])
def test_networks_without_published_weights_say_so(name: str) -> None:
    assert not is_pretrained_cached(name)
    with pytest.raises(ModelError, match="no published ImageNet weights"):
        build_model(name, pretrained=True)


@pytest.mark.parametrize("setting", [{"stem": "small"}, {"width": 32}, {"residual": False}])
def test_changed_networks_do_not_pretend_to_be_pretrained(setting: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="no ImageNet weights for resnet18 with"):
        build_model("resnet18", pretrained=True, **setting)
