"""ImageNet weights published with torchvision: fetched once, checked by the hash in their file name, cached.

torchvision is imported inside the functions, since it costs a second that nothing else here needs.
"""

import hashlib
import http.client
import pickle
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_core.errors import ModelError

PRETRAINED_MODELS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
CONNECT_TIMEOUT = 10.0  # seconds; torch.hub itself would wait forever on a network that swallows packets


@dataclass(frozen=True, kw_only=True)
class PretrainedWeights:
    """A published state dict with the class names and the preprocessing it was trained for."""

    state_dict: dict[str, Tensor]
    class_names: tuple[str, ...]  # 1000, in label order
    resize: int  # shorter edge in pixels, before the crop
    crop: int  # edge of the central square in pixels
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str  # where the weights come from, for a model card


def is_pretrained_cached(name: str) -> bool:
    """Return whether ImageNet weights for this network lie in torch's cache, so that no network is needed."""
    return name in PRETRAINED_MODELS and _cached_file(published_url(name)).is_file()


def published_url(name: str) -> str:
    """Return the address of the ImageNet weights; raises ModelError for a network without any."""
    return str(_published(name).url)


def load_pretrained(name: str, *, base_url: str | None = None) -> PretrainedWeights:
    """Return torchvision's ImageNet weights (IMAGENET1K_V1) of ResNet-18 to -152, downloaded at most once.

    base_url replaces https://download.pytorch.org/models, for a mirror. Raises ModelError when there are none
    for this network, they cannot be downloaded, or the file is not the one its name promises.
    """
    weights = _published(name)
    url = published_url(name)
    if base_url is not None:
        url = f"{base_url.rstrip('/')}/{_file_name(url)}"
    recipe = weights.transforms()
    return PretrainedWeights(
        state_dict=_fetch(name, url),
        class_names=tuple(weights.meta["categories"]),
        resize=recipe.resize_size[0],
        crop=recipe.crop_size[0],
        mean=tuple(recipe.mean),
        std=tuple(recipe.std),
        source=f"torchvision {weights} ({url})",
    )


def _published(name: str) -> Any:
    """Return torchvision's weight entry."""
    if name not in PRETRAINED_MODELS:
        raise ModelError(
            f"There are no published ImageNet weights for {name!r}; there are for {', '.join(PRETRAINED_MODELS)}."
        )
    try:
        from torchvision.models import get_model_weights
    except ImportError:
        raise ModelError(f"ImageNet weights for {name} need the package torchvision, which is not installed.") from None
    return get_model_weights(name)["IMAGENET1K_V1"]


def _fetch(name: str, url: str) -> dict[str, Tensor]:
    if _cached_file(url).is_file():
        _check_cached(name, url)
    else:
        _check_connection(name, url)
    try:
        state_dict: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(name, url, error) from None
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        if "invalid hash" in str(error):
            raise ModelError(
                f"The ImageNet weights downloaded for {name} are not the published ones: the contents of "
                f"{_file_name(url)} do not match the hash in its name; try again or use another mirror."
            ) from None
        raise ModelError(
            f"The file {_file_name(url)} of ImageNet weights for {name} cannot be read as weights; "
            "delete it from torch's cache and try again."
        ) from None
    return state_dict


def _check_connection(name: str, url: str) -> None:
    """Open the address once, with a time limit."""
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT):
            pass
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _unreachable(name, url, error) from None


def _check_cached(name: str, url: str) -> None:
    """Compare a cached file with the hash in its name, which torch.hub does only right after a download."""
    file_name = _file_name(url)
    promised = file_name.rpartition(".")[0].rpartition("-")[2]
    with _cached_file(url).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(promised):
        raise ModelError(
            f"The file {file_name} of ImageNet weights for {name} in torch's cache is damaged: its contents "
            "do not match the hash in its name; delete it and try again."
        )


def _unreachable(name: str, url: str, error: Exception) -> ModelError:
    if isinstance(error, urllib.error.HTTPError):
        reason = f"the server answered {error.code} {error.reason}"
    else:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        late = "the server did not answer in time" if isinstance(cause, TimeoutError) else "the connection failed"
        reason = getattr(cause, "strerror", None) or late
    return ModelError(
        f"ImageNet weights for {name} are not on this machine and could not be downloaded: {reason}; "
        f"connect once, or put the file {_file_name(url)} into torch's cache (hub/checkpoints)."
    )


def _file_name(url: str) -> str:
    return url.rpartition("/")[2]


def _cached_file(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / _file_name(url)
