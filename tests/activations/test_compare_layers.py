"""How alike two networks see: CKA against its defining properties and another formula, channels against numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from resnet_core.activations.likeness import channel_likeness, compare_layers, layer_features, linear_cka
from resnet_core.activations.picture_sample import load_sample
from resnet_core.data.datasets import rendered_flowers
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import ConfigError, ModelError
from resnet_core.models.zoo import build_model


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_centring(first: Tensor, second: Tensor) -> float:
    """The same estimate the other way: U-centred Gram matrices (Székely & Rizzo 2014), their cosine."""

    def centred(features: Tensor) -> np.ndarray:
        gram = (features.double() @ features.double().T).numpy().copy()
        count = len(gram)
        np.fill_diagonal(gram, 0)
        rows = gram.sum(0) / (count - 2)
        gram = gram - rows[:, None] - rows[None] + gram.sum() / ((count - 1) * (count - 2))
        np.fill_diagonal(gram, 0)
        return gram

    one, other = centred(first), centred(second)
    return float((one * other).sum() / np.sqrt((one * one).sum() * (other * other).sum()))


@pytest.mark.parametrize("sizes", [(5, 3), (40, 90), (300, 20)])
def test_cka_equals_the_cosine_of_centred_gram_matrices(sizes: tuple[int, int]) -> None:
    common = noise(30, 4)
    first = torch.cat([common, noise(30, sizes[0], seed=1)], dim=1) + 3
    second = torch.cat([common * 2, noise(30, sizes[1], seed=2)], dim=1)
    assert linear_cka(first, second) == pytest.approx(by_centring(first, second), abs=1e-9)
    assert linear_cka(first, second) == pytest.approx(linear_cka(second, first), abs=1e-12)


def test_a_rotated_scaled_and_shifted_copy_is_the_same() -> None:
    features = noise(50, 20)
    rotation = torch.linalg.qr(noise(20, 20, seed=1)).Q
    assert linear_cka(features, features) == pytest.approx(1)
    assert linear_cka(features, 7 * features @ rotation + noise(20, seed=2)) == pytest.approx(1, abs=1e-5)
    assert linear_cka(features, features * torch.linspace(0.01, 3, 20)) < 0.99


def test_unrelated_layers_are_not_alike_however_many_channels_they_have() -> None:
    pairs = [(noise(40, 4000, seed=seed), noise(40, 3000, seed=seed + 50)) for seed in range(5)]
    assert max(abs(linear_cka(*pair)) for pair in pairs) < 0.2
    one, other = (each - each.mean(dim=0) for each in pairs[0])
    plain = (one.T @ other).square().sum() / ((one.T @ one).norm() * (other.T @ other).norm())
    assert plain > 0.9  # the estimate with bias, which would call them alike


def test_layers_that_see_no_difference_give_no_number_and_few_pictures_are_refused() -> None:
    assert np.isnan(linear_cka(torch.ones(10, 4), noise(10, 4)))
    for first, second in ((noise(3, 4), noise(3, 4)), (noise(8, 4), noise(9, 4))):
        with pytest.raises(ConfigError, match="at least 4 pictures"):
            linear_cka(first, second)


def test_each_channel_correlates_as_numpy_says() -> None:
    first, second = noise(6, 7, 5), noise(6, 7, 5, seed=1)
    second[1] = first[1] * 3 + 2
    second[2] = -first[2]
    first[3] = 0.25
    alike = channel_likeness(first, second)
    for channel in (0, 1, 2, 4, 5):
        expected = np.corrcoef(first[channel].flatten(), second[channel].flatten())[0, 1]
        assert float(alike[channel]) == pytest.approx(expected, abs=1e-5)
    assert alike[1] == pytest.approx(1)
    assert alike[2] == pytest.approx(-1)
    assert alike[3].isnan()


@pytest.mark.parametrize(("first", "second"), [((4, 3, 3), (5, 3, 3)), ((4, 3, 3), (4, 2, 3)), ((4,), (4,))])
def test_channels_that_do_not_correspond_are_a_sentence(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="do not correspond"):
        channel_likeness(torch.zeros(first), torch.zeros(second))


def test_two_networks_are_compared_over_the_same_pictures_each_prepared_its_own_way() -> None:
    torch.manual_seed(0)
    flowers = rendered_flowers(train=1, val=4, size=52)
    large, small = (load_sample(flowers, "val", Preprocessing(resize=edge, crop=edge)) for edge in (48, 32))
    first, second = build_model("resnet18", num_classes=5, width=8), build_model("resnet20", num_classes=5)
    heard: list[tuple[int, int]] = []
    value = compare_layers(
        [first, second], ["layer2", "layer2"], [large, small], progress=lambda *now: heard.append(now)
    )
    features = [
        layer_features(model, sample.inputs(range(20)), "layer2") for model, sample in ((first, large), (second, small))
    ]
    assert value == pytest.approx(by_centring(*features), abs=1e-5)
    assert heard[-1] == (20, 20)
    assert compare_layers([first, first], ["layer2", "layer2"], [large, large]) == pytest.approx(1)
    assert features[0].shape == (20, 16 * 16)
