"""What weights from elsewhere are: found out, said in one line, adopted only where they fit to the last number."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from elsewhere import RepositoryNet, TutorialNet, as_trained
from hypothesis import given
from hypothesis import strategies as st
from networks import NAMES, NETWORKS
from safetensors.torch import save_file
from torch import nn

from resnet_core.data.preprocessing import IMAGENET_MEAN, Preprocessing
from resnet_core.errors import CheckpointError, ModelError
from resnet_core.inference.adoption import adopt
from resnet_core.inference.class_list import parse_class_names, read_class_list, told_apart
from resnet_core.inference.fitting_networks import find_fits, misfit_sentence
from resnet_core.inference.foreign import ForeignWeights, open_foreign
from resnet_core.inference.foreign_names import find_naming
from resnet_core.inference.inspector import Inspection, Wishes, inspect_weights
from resnet_core.inference.shelf import ModelShelf
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from resnet_core.training.hollow import build_hollow

KNOWN = [each for each in NETWORKS if each[0] != "resnet1202"]  # a thousand layers take six seconds to compare
Store = Callable[..., ForeignWeights]


@pytest.fixture
def shelf(tmp_path: Path) -> ModelShelf:
    return ModelShelf(tmp_path / "models")


@pytest.fixture
def stored(tmp_path: Path) -> Store:
    """Writes a state dict as somebody else would and opens it."""

    def store(state: dict[str, torch.Tensor], name: str = "theirs.safetensors") -> ForeignWeights:
        save_file({key: tensor.clone().contiguous() for key, tensor in state.items()}, tmp_path / name)
        return open_foreign(tmp_path / name, scratch=tmp_path)

    return store


def small(**arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    return as_trained(build_model("resnet18", **{"num_classes": 5, "width": 8} | arguments))


def adopted(weights: ForeignWeights, shelf: ModelShelf, wishes: Wishes | None = None) -> tuple[Checkpoint, nn.Module]:
    entry = adopt(weights, inspect_weights(weights, wishes), shelf, name="adopted")
    return load_checkpoint(shelf.path(entry.name))


# Which network it is


@pytest.mark.parametrize(("name", "arguments"), KNOWN, ids=[NAMES[NETWORKS.index(each)] for each in KNOWN])
def test_every_network_of_the_registry_is_recognised(name: str, arguments: dict[str, Any]):
    network = build_hollow(name, **{"num_classes": 7, **arguments})
    fits = find_fits({key: tuple(tensor.shape) for key, tensor in network.state_dict().items()})
    assert all(fit.complete for fit in fits)
    assert network.architecture_arguments in [fit.arguments for fit in fits]
    assert {fit.architecture for fit in fits} == {name}
    if arguments.get("residual", True):
        assert fits[0].arguments == network.architecture_arguments


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
@pytest.mark.parametrize("width", [16, 96])
def test_width_stem_and_classes_are_read_off_the_shapes(name: str, width: int):
    network = build_hollow(name, num_classes=3, width=width, stem="small")
    (fit,) = find_fits({key: tuple(tensor.shape) for key, tensor in network.state_dict().items()})
    assert fit.arguments == network.architecture_arguments
    assert f"width {width}, small stem" in fit.title


def test_where_names_cannot_tell_the_plain_twin_it_can_be_chosen(stored: Store):
    weights = stored(build_model("resnet20", residual=False).state_dict())
    both = inspect_weights(weights)
    assert [fit.title for fit in both.fits] == ["ResNet-20 (CIFAR)", "ResNet-20 (CIFAR), plain twin"]
    plain = inspect_weights(weights, Wishes(model="resnet20", plain=True))
    assert [fit.arguments["residual"] for fit in plain.fits] == [False]


def test_facts_about_weights_and_pictures(stored: Store):
    found = inspect_weights(stored(small().half().state_dict()))
    assert (found.form, found.num_classes, found.precision, found.problem) == ("safetensors", 5, "float16", None)
    assert found.parameters == sum(p.numel() for p in small().parameters())
    assert found.preprocessing == Preprocessing(resize=256, crop=224)
    assert found.guessed
    assert (found.class_names, found.class_names_from) == (tuple(f"class {n}" for n in range(5)), "numbers")


@pytest.mark.parametrize(
    ("name", "size", "mean"),
    [("resnet20", 32, IMAGENET_MEAN), ("resnet8", 32, IMAGENET_MEAN), ("tutorial-cifar", 32, IMAGENET_MEAN)],
)
def test_networks_made_for_small_pictures_get_small_pictures(stored: Store, name: str, size: int, mean: Any):
    found = inspect_weights(stored(build_model(name).state_dict()))
    assert found.preprocessing == Preprocessing(resize=size, crop=size, mean=mean)


def test_a_thousand_classes_are_imagenets_where_the_network_is(stored: Store):
    found = inspect_weights(stored(build_model("resnet18", width=8).state_dict()))
    assert found.class_names_from == "imagenet"
    assert (found.class_names[0], found.class_names[999], len(found.class_names)) == ("tench", "toilet tissue", 1000)
    assert len(set(found.class_names)) == 1000, "of its two cranes one is called “crane (2)”"
    assert inspect_weights(stored(build_model("resnet20", num_classes=1000).state_dict())).class_names[0] == "class 0"


# Oracles: the same answers as the network it came from


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvisions_weights_answer_as_in_torchvision(tmp_path: Path, shelf: ModelShelf, name: str):
    torch.manual_seed(1)
    oracle = as_trained(getattr(torchvision.models, name)(weights=None))
    torch.save(oracle.state_dict(), tmp_path / f"{name}.pth")
    weights = open_foreign(tmp_path / f"{name}.pth", scratch=tmp_path, seconds=120)
    found = inspect_weights(weights)
    assert (found.fit.architecture, found.fit.matched) == (name, len(oracle.state_dict()))
    checkpoint, model = adopted(weights, shelf)
    assert checkpoint.class_names[1] == "goldfish"
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(images), oracle(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("always", [True, False])
def test_the_cifar_tutorials_weights_answer_as_in_the_tutorial(stored: Store, shelf: ModelShelf, always: bool):
    torch.manual_seed(2)
    oracle = as_trained(TutorialNet(always=always))
    weights = stored(oracle.state_dict())
    found = inspect_weights(weights)
    assert (found.convention, found.fit.architecture) == ("tutorial", "tutorial-cifar")
    assert found.fit.arguments["as_published"] is not always
    assert (found.preprocessing.mean, found.preprocessing.crop) == ((0.0, 0.0, 0.0), 32)
    assert_same(oracle, adopted(weights, shelf)[1])


@pytest.mark.parametrize(
    ("oracle", "architecture"),
    [
        (lambda: RepositoryNet((16, 32, 64), 3, padded=True), "resnet20"),
        (lambda: RepositoryNet((16, 32, 64, 128), 2, padded=False), "resnet18"),
    ],
    ids=["padded shortcuts", "projections"],
)
def test_weights_of_the_common_repositories_answer_as_there(
    stored: Store, shelf: ModelShelf, oracle: Callable[[], nn.Module], architecture: str
):
    torch.manual_seed(3)
    network = as_trained(oracle())
    weights = stored(network.state_dict())
    found = inspect_weights(weights)
    assert (found.convention, found.fit.architecture) == ("cifar repositories", architecture)
    assert_same(network, adopted(weights, shelf)[1])


def assert_same(oracle: nn.Module, model: nn.Module) -> None:
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images), oracle(images), rtol=1e-5, atol=1e-5)


# Prefixes and precisions (row 31)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "_orig_mod.module.", "model.net.module."])
def test_prefixes_are_taken_off(stored: Store, shelf: ModelShelf, prefix: str):
    model = small()
    weights = stored({f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()})
    found = inspect_weights(weights)
    assert (found.prefix, found.problem) == (prefix, None)
    assert_same(model, adopted(weights, shelf)[1])


def test_what_stands_beside_the_prefix_is_left_out_or_is_the_head():
    naming = find_naming(
        ["backbone.conv1.weight", "backbone.layer1.0.bn1.bias", "fc.weight", "criterion.w", "n_averaged"]
    )
    assert naming.ours == {
        "conv1.weight": "backbone.conv1.weight",
        "layer1.0.bn1.bias": "backbone.layer1.0.bn1.bias",
        "fc.weight": "fc.weight",
    }
    assert naming.left_out == ("criterion.w", "n_averaged")


def test_a_head_behind_a_dropout_is_the_head(stored: Store, shelf: ModelShelf):
    model = small()
    state = {name.replace("fc.", "fc.1."): tensor for name, tensor in model.state_dict().items()}
    assert_same(model, adopted(stored(state), shelf)[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_answer_as_their_values_say(stored: Store, shelf: ModelShelf, dtype: torch.dtype):
    state = {n: t.to(dtype) if t.is_floating_point() else t for n, t in small().state_dict().items()}
    oracle = small()
    oracle.load_state_dict(state)
    _, model = adopted(stored(state), shelf)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert_same(oracle, model)


def test_old_files_without_step_counters_are_whole(stored: Store, shelf: ModelShelf):
    model = small()
    state = {n: t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert_same(model, adopted(stored(state), shelf)[1])


# What does not fit (rows 29 and 30)


def problem(found: Inspection) -> str:
    assert found.problem is not None
    assert len(found.problem) < 600
    assert "\n" not in found.problem
    return found.problem


def test_another_architecture_is_said_in_one_line():
    with torch.device("meta"):
        network = torchvision.models.wide_resnet50_2(weights=None)
    fits = find_fits({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()})
    assert [fit.title for fit in fits] == ["ResNet-50"]
    assert misfit_sentence("wide.pth", fits, {}) == (
        "“wide.pth” fits no network here; the nearest is ResNet-50: 144 of 320 tensors match, 176 with another shape "
        "(layer1.0.conv1.weight is 128×64×1×1, the network needs 64×64×1×1)."
    )


def test_a_model_that_was_asked_for_is_compared_with(stored: Store):
    weights = stored(small().state_dict())
    found = inspect_weights(weights, Wishes(model="resnet50"))
    assert "the nearest is ResNet-50" in problem(found)
    assert " missing (" in problem(found)
    with pytest.raises(ModelError, match="resnet17"):
        inspect_weights(weights, Wishes(model="resnet17"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("layer2.0.conv1.weight"), "1 missing (layer2.0.conv1.weight)"),
        (lambda s: s.update({"layer1.0.se.weight": torch.zeros(3)}), "1 without a place (layer1.0.se.weight)"),
        (lambda s: s.update({"conv1.weight": torch.zeros(8, 1, 7, 7)}), "is 8×1×7×7, the network needs 8×3×7×7"),
        (lambda s: s.update({"fc.bias": torch.zeros(6)}), "fc.bias is 6, the network needs 5"),
        (lambda s: (s.pop("fc.weight"), s.pop("fc.bias")), "has no classifier (fc)"),
    ],
    ids=["missing", "too much", "grey pictures", "class count", "headless"],
)  # fmt: skip
def test_what_is_off_is_named(stored: Store, shelf: ModelShelf, change: Callable[[dict[str, Any]], Any], words: str):
    state = dict(small().state_dict())
    change(state)
    weights = stored(state)
    found = inspect_weights(weights)
    assert words in problem(found)
    with pytest.raises(CheckpointError, match=re.escape(words)):
        adopt(weights, found, shelf, name="odd")
    assert shelf.list() == ()


def test_a_list_of_another_number_of_classes_in_the_file_is_left_and_told(tmp_path: Path):
    state = {key: tensor.clone().contiguous() for key, tensor in small().state_dict().items()}
    save_file(state, tmp_path / "theirs.safetensors", metadata={"class_names": '["only", "two"]'})
    found = inspect_weights(open_foreign(tmp_path / "theirs.safetensors", scratch=tmp_path))
    assert found.problem is None
    assert found.class_names_from == "miscounted"
    assert found.class_names == tuple(f"class {number}" for number in range(found.num_classes or 0))


def test_a_network_of_another_kind_is_no_resnet(stored: Store):
    found = inspect_weights(stored(torchvision.models.squeezenet1_0(weights=None).state_dict()))
    assert "is no ResNet this app knows" in problem(found)
    assert "it holds classifier.1.bias [1000], classifier.1.weight [1000, 512, 1, 1], " in problem(found)
    assert found.fits == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_numbers_are_refused_with_their_layer(stored: Store, shelf: ModelShelf, value: float):
    model = small()
    model.layer3[1].bn2.running_mean[3] = value
    weights = stored(model.state_dict())
    found = inspect_weights(weights)
    assert "not numbers (NaN or infinite) in layer3.1.bn2.running_mean" in problem(found)
    with pytest.raises(CheckpointError, match=r"layer3\.1\.bn2\.running_mean"):
        adopt(weights, found, shelf, name="broken")


def test_negative_variances_are_refused_with_their_layer(stored: Store):
    model = small()
    model.layer1[0].bn1.running_var[0] = -1
    assert "negative variances in layer1.0.bn1.running_var" in problem(inspect_weights(stored(model.state_dict())))


def test_a_file_swapped_after_the_look_is_judged_again(tmp_path: Path, stored: Store, shelf: ModelShelf):
    weights = stored(small().state_dict())
    found = inspect_weights(weights)
    broken = small()
    broken.fc.weight.data[0, 0] = float("nan")
    save_file({name: tensor.clone() for name, tensor in broken.state_dict().items()}, weights.path)
    with pytest.raises(CheckpointError, match=r"fc\.weight"):
        adopt(weights, found, shelf, name="swapped")
    assert shelf.list() == ()


def test_a_network_that_answers_nonsense_is_refused(stored: Store, shelf: ModelShelf):
    model = small()
    with torch.no_grad():
        model.layer1[0].bn1.weight.fill_(3e38)
    weights = stored(model.state_dict())
    with pytest.raises(CheckpointError, match="not numbers"):
        adopt(weights, inspect_weights(weights), shelf, name="overflow")


# Our own checkpoints (row 28)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "ours.safetensors"
    model = small()
    described = Checkpoint(
        architecture="resnet18",
        architecture_arguments=dict(model.architecture_arguments),  # type: ignore[arg-type]
        class_names=("a", "b", "c", "d", "e"),
        preprocessing=Preprocessing(resize=73, crop=64),
        temperature=1.5,
        unknown_threshold=0.2,
        metrics={"val_top1": 0.9, "val_recall": {"a": 0.8, "b": 1.0}},
    )
    save_checkpoint(path, described, model.state_dict(), half=True)
    return path


def test_our_own_checkpoints_are_simply_opened(own: Path, tmp_path: Path, shelf: ModelShelf):
    weights = open_foreign(own, scratch=tmp_path)
    found = inspect_weights(weights)
    assert (found.form, found.guessed, found.class_names_from) == ("ours", False, "file")
    checkpoint, model = adopted(weights, shelf)
    described, original = load_checkpoint(own)
    assert checkpoint == described
    assert_same(original, model)
    assert shelf.path("adopted").stat().st_size < own.stat().st_size + 500  # half precision stays


def test_what_was_fitted_to_other_pictures_is_dropped_with_them(own: Path, tmp_path: Path, shelf: ModelShelf):
    weights = open_foreign(own, scratch=tmp_path)
    checkpoint, _ = adopted(weights, shelf, Wishes(image_size=96, class_names=tuple("vwxyz")))
    assert checkpoint.preprocessing == Preprocessing(resize=110, crop=96)
    assert checkpoint.class_names == tuple("vwxyz")
    assert (checkpoint.temperature, checkpoint.unknown_threshold) == (1.0, None)
    assert checkpoint.metrics == {}


def test_other_class_names_keep_what_was_measured_under_the_new_ones(own: Path, tmp_path: Path, shelf: ModelShelf):
    checkpoint, _ = adopted(open_foreign(own, scratch=tmp_path), shelf, Wishes(class_names=tuple("vwxyz")))
    assert checkpoint.metrics == {"val_top1": 0.9, "val_recall": {"v": 0.8, "w": 1.0}}


def test_a_flipped_bit_in_our_own_file_is_noticed(own: Path, tmp_path: Path):
    content = bytearray(own.read_bytes())
    content[-5000] ^= 1
    own.write_bytes(content)
    with pytest.raises(CheckpointError, match="checksum"):
        inspect_weights(open_foreign(own, scratch=tmp_path))


# Class names and pictures (row 33)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"0": "daisy", "1": "roses", "2": "tulips"}),
        json.dumps({"daisy": 0, "tulips": 2, "roses": 1}),
        json.dumps(["daisy", "roses", "tulips"]),
        json.dumps({"2": ["n3", "tulips"], "0": ["n1", "daisy"], "1": ["n2", "roses"]}),
        "\ufeffdaisy\nroses\ntulips\n",
        "daisy\r\n roses \r\ntulips",
    ],
)
def test_class_lists_in_their_usual_forms(tmp_path: Path, content: str):
    (tmp_path / "list.json").write_text(content, encoding="utf-8")
    assert read_class_list(tmp_path / "list.json") == ("daisy", "roses", "tulips")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!doctype html><p>404</p>", "is a web page"),
        (b"", "is empty"),
        (b"{}", "is empty"),
        (b'{"0": "a", "2": "b"}', "no name for class 1"),
        (b'{"a": "b"}', "map each class's number"),
        (b'{"0": ""}', "no name for class 0"),
        (b'["a", 3]', "no name for class 1"),
        (b'{"0": "a"', "no valid JSON"),
        (b"[" * 100_000, "no valid JSON"),
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b"a\n" * 100_001, "more than 100,000 names"),
        (b"a" * 4_000_001, "larger than 4 MB"),
    ],
)
def test_class_lists_that_cannot_be_one_are_named(tmp_path: Path, content: bytes, words: str):
    (tmp_path / "list.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as raised:
        read_class_list(tmp_path / "list.json")
    assert str(tmp_path) not in str(raised.value)


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("daisy, roses", ("daisy", "roses")),
        ("雏菊，玫瑰、郁金香", ("雏菊", "玫瑰", "郁金香")),
        ("daisy, common\nroses\n", ("daisy, common", "roses")),
        ("  ", ()),
        ("a;b;", ("a", "b")),
        ("<script>alert(1)</script>,b", ("<script>alert(1)</script>", "b")),
        ("cat, dog, cat", ("cat", "dog", "cat (2)")),
        ("cat, cat, cat (2), cat", ("cat", "cat (3)", "cat (2)", "cat (4)")),
        ("cat (2), cat, cat (2), cat", ("cat (2)", "cat", "cat (2) (2)", "cat (3)")),
    ],
)
def test_typed_class_names(typed: str, names: tuple[str, ...]):
    assert parse_class_names(typed) == names


def test_equal_names_in_the_file_are_told_apart(tmp_path: Path):
    state = {key: tensor.clone().contiguous() for key, tensor in small().state_dict().items()}
    listed = {"class_names": '["cat", "dog", "cat", "ox", "ant"]'}
    save_file(state, tmp_path / "theirs.safetensors", metadata=listed)
    found = inspect_weights(open_foreign(tmp_path / "theirs.safetensors", scratch=tmp_path))
    assert (found.class_names, found.class_names_from) == (("cat", "dog", "cat (2)", "ox", "ant"), "file")


@given(st.lists(st.sampled_from(["cat", "cat (2)", "cat (3)", "cat (2) (2)", "dog"])))
def test_no_two_classes_are_called_the_same_and_the_first_keeps_its_name(names: list[str]):
    told = told_apart(names)
    assert len(set(told)) == len(names)
    assert all(told[names.index(name)] == name for name in names)


def test_a_typed_name_of_nothing_is_refused():
    with pytest.raises(CheckpointError, match="no name for class 1"):
        parse_class_names("a,,b")


@pytest.mark.parametrize("names", [("a",), tuple("abcdefg")])
def test_a_list_of_the_wrong_length_is_refused(stored: Store, names: tuple[str, ...]):
    with pytest.raises(CheckpointError, match=f"has {len(names)} class names?, but the network tells 5 classes apart"):
        inspect_weights(stored(small().state_dict()), Wishes(class_names=names))


def test_given_names_and_pictures_reach_the_checkpoint(stored: Store, shelf: ModelShelf):
    wishes = Wishes(class_names=("<b>a</b>", *"bcde"), image_size=112, normalization="half")
    checkpoint, _ = adopted(stored(small().state_dict()), shelf, wishes)
    assert checkpoint.class_names[0] == "<b>a</b>"
    expected = Preprocessing(resize=128, crop=112, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert checkpoint.preprocessing == expected


@pytest.mark.parametrize("wishes", [{"image_size": 0}, {"image_size": 5000}, {"normalization": "odd"}])
def test_pictures_out_of_range_are_refused(stored: Store, wishes: dict[str, Any]):
    with pytest.raises(ModelError):
        inspect_weights(stored(small().state_dict()), Wishes(**wishes))
