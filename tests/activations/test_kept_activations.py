"""What is kept of a photo: the network's own numbers, at one forward pass, within bounds, and never stale."""

import gc
import threading

import pytest
import torch
import torchvision
from shown_networks import EDGE, Runs, classifier_of, lived, photo_of
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from resnet_core.activations.capture import capture_activations
from resnet_core.activations.kept import ActivationCache
from resnet_core.activations.layers import list_layers, list_origins, relu_beside
from resnet_core.activations.residual import switching_off
from resnet_core.errors import ModelError
from resnet_core.inference.classifier import Classifier

MIB = 2**20


def prepared(classifier: Classifier, seed: int = 0) -> Tensor:
    return classifier.checkpoint.preprocessing(photo_of(seed))


def test_the_first_look_ends_at_the_deepest_layer_asked_for() -> None:
    classifier, cache = classifier_of(), ActivationCache()
    runs = Runs(classifier.model)
    assert list(cache.get(classifier, photo_of(), ["layer2.0.conv1", "bn1"])) == ["layer2.0.conv1", "bn1"]
    assert runs.forwards == 1
    assert runs.count["layer2.0.conv1"] == 1
    assert runs.count["layer2.0.bn1"] == runs.count["layer3"] == 0


def test_an_earlier_layer_of_the_same_photo_costs_no_forward() -> None:
    classifier, cache = classifier_of(), ActivationCache()
    runs = Runs(classifier.model)
    cache.get(classifier, photo_of(), ["layer3"])
    names = list_layers(classifier.model, EDGE)
    earlier = names[: names.index("layer3") + 1]
    assert len(earlier) > 35
    for name in earlier:
        cache.get(classifier, photo_of(), [name])
    cache.get(classifier, photo_of(), earlier)
    assert runs.forwards == 1


def test_later_layers_cost_one_more_forward_in_all() -> None:
    classifier, cache = classifier_of(), ActivationCache()
    runs = Runs(classifier.model)
    cache.get(classifier, photo_of(), ["conv1"])
    assert runs.forwards == 1
    for name in ("fc", "layer4", "layer1.1", "avgpool", "relu"):
        cache.get(classifier, photo_of(), [name])
    assert runs.forwards == 2


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20", "resnet8", "tutorial-cifar"])
def test_every_layer_is_just_what_a_look_at_it_alone_gives(name: str) -> None:
    classifier, cache = classifier_of(name, edge=48), ActivationCache()
    inputs = prepared(classifier)[None]
    names = list_layers(classifier.model, 48)
    kept = cache.get(classifier, photo_of(), names)
    for layer in names:
        alone = capture_activations(classifier.model, inputs, [layer])[layer][0]
        torch.testing.assert_close(kept[layer], alone, atol=1e-6, rtol=1e-6, msg=layer)
        assert kept[layer].is_contiguous()


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet18", ("conv1", "bn1", "layer4")),
        ("resnet34", ("maxpool", "layer2.0.downsample.1", "layer3.5")),
        ("resnet50", ("layer1.0.bn3", "layer2.1.conv2", "avgpool")),
        ("resnet101", ("layer1", "layer3.7.bn1", "fc")),
    ],
)
def test_maps_equal_torchvision_s_feature_extractor(name: str, layers: tuple[str, ...]) -> None:
    classifier = classifier_of(name, width=64) if name != "resnet101" else classifier_of(name)
    theirs = getattr(torchvision.models, name)(num_classes=5)
    theirs.load_state_dict(classifier.model.state_dict(), strict=True)
    for module in theirs.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # else the extractor's own batch norms would already be rectified
    with torch.no_grad():
        expected = create_feature_extractor(theirs.eval(), list(layers))(prepared(classifier)[None])
    kept = ActivationCache().get(classifier, photo_of(), layers)
    for layer in layers:
        scale = float(expected[layer].abs().max())
        assert float((kept[layer] - expected[layer][0]).abs().max()) <= 1e-5 * max(1.0, scale), layer


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_before_and_after_the_relu_of_a_block_equal_torchvision_s_own_nodes(name: str) -> None:
    classifier = classifier_of(name, width=64)
    theirs = getattr(torchvision.models, name)(num_classes=5)
    theirs.load_state_dict(classifier.model.state_dict(), strict=True)
    for module in theirs.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    nodes = {"layer2.0.add": "sum", "layer2.0": "after", "bn1": "bn1", "relu": "relu"}
    with torch.no_grad():
        expected = create_feature_extractor(theirs.eval(), nodes)(prepared(classifier)[None])
    cache = ActivationCache()
    before = cache.get(classifier, photo_of(), ["layer2.0", "bn1"], "before")
    after = cache.get(classifier, photo_of(), ["layer2.0", "bn1"], "after")
    torch.testing.assert_close(before["layer2.0"], expected["sum"][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(after["layer2.0"], expected["after"][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(before["bn1"], expected["bn1"][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(after["bn1"], expected["relu"][0], atol=1e-5, rtol=1e-5)


def test_the_in_place_relu_does_not_rewrite_what_was_kept() -> None:
    classifier, cache = classifier_of(), ActivationCache()
    assert classifier.model.relu.inplace
    cache.get(classifier, photo_of(), ["layer4"])
    assert float(cache.get(classifier, photo_of(), ["bn1"])["bn1"].min()) < 0
    assert float(cache.get(classifier, photo_of(), ["relu"])["relu"].min()) == 0


def test_a_relu_is_found_where_it_is() -> None:
    model = lived("resnet18", width=16)
    found = {name: relu_beside(model, name) for name in list_layers(model, EDGE)}
    assert found["conv1"] == found["maxpool"] == found["avgpool"] == found["fc"] == "none"
    assert found["bn1"] == found["layer1.0.bn1"] == "follows"
    assert found["layer1.0.bn2"] == "none"  # the sum comes between
    assert found["relu"] == found["layer1.0.relu2"] == found["layer1.0"] == found["layer1"] == "ends"
    plain = lived("resnet20", residual=False)
    assert relu_beside(plain, "layer1.0.bn2") == "follows"


def test_a_relu_that_runs_twice_is_told_by_what_went_into_it() -> None:
    """torchvision's blocks use one ReLU module for both places."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=5).eval()
    assert relu_beside(model, "layer1.0.bn1") == "follows"
    assert relu_beside(model, "layer1.0.bn2") == "none"
    assert relu_beside(model, "layer1.0.conv1") == "none"


def test_no_relu_beside_a_layer_is_a_sentence() -> None:
    classifier = classifier_of()
    with pytest.raises(ModelError, match="No ReLU stands right behind 'conv1'"):
        ActivationCache().get(classifier, photo_of(), ["conv1"], "before")
    with pytest.raises(ModelError, match="did you mean layer4"):
        ActivationCache().get(classifier, photo_of(), ["layer9"])


def test_shared_tensors_are_kept_once() -> None:
    classifier, cache = classifier_of(), ActivationCache()
    names = list_layers(classifier.model, EDGE)
    given = cache.get(classifier, photo_of(), names)
    every = sum(tensor.numel() * 4 for tensor in given.values())
    assert 0 < cache.size < 0.72 * every
    assert len(list_origins(classifier.model)) < 0.72 * len(names)


def test_no_more_is_kept_than_the_limit_and_the_oldest_photo_goes_first() -> None:
    classifier = classifier_of()
    whole = ActivationCache()
    whole.get(classifier, photo_of(), ["fc"])
    cache = ActivationCache(int(whole.size * 2.5))
    for seed in range(5):
        cache.get(classifier, photo_of(seed), ["fc"])
        assert cache.size <= whole.size * 2.5
    runs = Runs(classifier.model)
    cache.get(classifier, photo_of(4), ["layer1"])
    cache.get(classifier, photo_of(3), ["layer1"])
    assert runs.forwards == 0
    cache.get(classifier, photo_of(0), ["layer1"])
    assert runs.forwards == 1


@pytest.mark.parametrize("limit", [0, 1, 50_000])
def test_a_photo_larger_than_the_limit_is_answered_all_the_same(limit: int) -> None:
    classifier, cache = classifier_of(), ActivationCache(limit)
    inputs = prepared(classifier)[None]
    for layers in (["layer1", "conv1"], ["layer4"], ["conv1"]):
        found = cache.get(classifier, photo_of(), layers)
        expected = capture_activations(classifier.model, inputs, layers)
        assert all(torch.allclose(found[name], expected[name][0], atol=1e-6) for name in layers)
        assert cache.size <= limit


def test_many_threads_that_ask_for_one_photo_share_one_forward() -> None:
    classifier, cache = classifier_of(), ActivationCache()
    list_layers(classifier.model)
    runs = Runs(classifier.model)
    found: list[Tensor] = []
    gate = threading.Barrier(8)

    def ask() -> None:
        gate.wait()
        found.append(cache.get(classifier, photo_of(), ["layer3"])["layer3"])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs.forwards == 1
    assert len(found) == 8
    assert all(torch.equal(each, found[0]) for each in found)


def test_a_classifier_that_is_gone_takes_its_activations_along() -> None:
    cache, stays = ActivationCache(), classifier_of()
    goes = classifier_of()
    cache.get(stays, photo_of(), ["conv1"])
    left = cache.size
    cache.get(goes, photo_of(), ["layer4"])
    assert cache.size > left
    del goes
    gc.collect()
    assert cache.size == left


def test_two_networks_and_two_photos_are_not_mixed_up() -> None:
    cache, one, other = ActivationCache(), classifier_of(), classifier_of()
    other.model.conv1.weight.data.mul_(-1)
    first = cache.get(one, photo_of(0), ["conv1"])["conv1"]
    assert torch.allclose(cache.get(other, photo_of(0), ["conv1"])["conv1"], -first)
    assert not torch.allclose(cache.get(one, photo_of(1), ["conv1"])["conv1"], first)
    assert torch.equal(cache.get(one, photo_of(0), ["conv1"])["conv1"], first)


def test_what_a_lesson_switched_off_is_not_mixed_up_with_the_network_itself() -> None:
    classifier, cache = classifier_of(), ActivationCache()
    whole = cache.get(classifier, photo_of(), ["layer1", "layer4"])
    with switching_off(classifier.model, {"layer1.1": "branch"}):
        without = cache.get(classifier, photo_of(), ["layer1"])["layer1"]
        with pytest.raises(ModelError, match=r"'layer1.1.conv1' did not run"):
            cache.get(classifier, photo_of(), ["layer1.1.conv1"])
    assert not torch.allclose(without, whole["layer1"])
    assert torch.equal(cache.get(classifier, photo_of(), ["layer1"])["layer1"], whole["layer1"])


def test_a_network_first_seen_while_something_is_switched_off_still_has_all_its_layers() -> None:
    model = lived("resnet18", width=16)
    with switching_off(model, {"layer2.1": "branch"}):
        names = list_layers(model, 40)
    assert "layer2.1.conv1" in names


def test_hooks_and_train_flags_are_given_back_also_when_the_picture_is_too_small() -> None:
    classifier = classifier_of("resnet8", edge=48)
    classifier.model.layer1.train()
    ActivationCache().get_of(classifier, torch.zeros(3, 48, 48), ["fc"])
    with pytest.raises(ModelError, match="use at least 9×9 pixels"):
        ActivationCache().get_of(classifier, torch.zeros(3, 2, 2), ["fc"])
    assert classifier.model.layer1.training
    assert not classifier.model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in classifier.model.modules())


def test_a_photo_takes_as_much_as_is_said_of_resnet34() -> None:
    """The docstring's 36 MB at 224 px, from shapes alone at a quarter of the edge: a sixteenth of the maps."""
    classifier, cache = classifier_of("resnet34", edge=56, width=64), ActivationCache()
    cache.get(classifier, photo_of(), ["fc"])
    assert 2.0 * MIB < cache.size < 2.8 * MIB
