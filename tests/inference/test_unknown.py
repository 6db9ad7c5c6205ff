"""How known a picture looks: fitted honestly, stored whole, the same in every batch and with every engine."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import small_network
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import CheckpointError, DatasetError
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.unknown import Recipe, auroc, fit_centres, fit_unknown, fit_without_negatives
from resnet_core.models.pooled import answer_with_features, stage_channels
from resnet_core.models.resnet import Network
from resnet_core.training import checkpoint as module
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, read_checkpoint, save_checkpoint
from resnet_core.training.unknown_score import THRESHOLD, Curve, UnknownScore

WIDTH, CLASSES = 24, 3
RECIPES = {
    "both": Recipe(nearness=True, epochs=6),
    "head": Recipe(epochs=6),
    "linear head": Recipe(hidden=0, epochs=6),
    "nearness": Recipe(head=False, nearness=True),
}


def cloud(count: int, *, at: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features around three centres, shifted; and which centre."""
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(99))
    targets = torch.arange(count) % CLASSES
    return centres[targets] + torch.randn(count, WIDTH, generator=generator) + at, targets


def fitted(recipe: Recipe, **changes: Any) -> UnknownScore:
    known, targets = cloud(400)
    far = 9 * torch.randn(60, WIDTH, generator=torch.Generator().manual_seed(8))
    others = {"near": cloud(300, at=2.5, seed=5)[0], "far": far}
    return fit_unknown(known, targets, cloud(300, seed=1)[0], changes.get("others", others), recipe=recipe)


# ---- Fitting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_a_fitted_score_tells_others_apart_and_refuses_the_share_it_was_asked_to(name: str) -> None:
    score = fitted(RECIPES[name])
    fresh, other = score.score(cloud(3000, seed=2)[0]), score.score(cloud(1000, at=2.5, seed=7)[0])
    assert auroc(fresh, other) > 0.97
    assert float((fresh < THRESHOLD).double().mean()) == pytest.approx(RECIPES[name].refused, abs=0.04)
    assert float(fresh.median()) == pytest.approx(0.9, abs=0.05)
    assert score.known is not None
    assert score.known.share_below(THRESHOLD) == pytest.approx(RECIPES[name].refused, abs=0.01)


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_pictures_give_the_same_score_and_leave_chance_alone(name: str) -> None:
    others = {"near": cloud(100, at=2.5, seed=5)[0]}
    before = torch.get_rng_state()
    first, second = (fitted(RECIPES[name], others=others) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    rows = cloud(20, seed=3)[0]
    assert torch.equal(first.score(rows), second.score(rows))
    assert not any(tensor.requires_grad for tensor in first.tensors().values())


def test_without_other_pictures_there_is_no_head_and_still_a_score() -> None:
    score = fitted(Recipe(), others={})
    assert not score.head
    assert auroc(score.score(cloud(200, seed=2)[0]), score.score(torch.randn(200, WIDTH) * 9)) > 0.97


@pytest.mark.parametrize(("count", "refused"), [(24, 0.1), (100, 0.05), (900, 0.05)])
def test_classes_alone_suffice_for_a_threshold_that_holds_for_further_pictures(count: int, refused: float) -> None:
    """The mean over some draws; with 24 pictures one draw tells little."""
    lost, found = [], []
    for seed in range(6):
        score = fit_without_negatives(*cloud(count, seed=seed), refused=refused)
        lost.append(float((score.score(cloud(2000, seed=50)[0]) < THRESHOLD).double().mean()))
        found.append(auroc(score.score(cloud(500, seed=50)[0]), score.score(torch.randn(500, WIDTH) * 9)))
    assert sum(lost) / 6 <= refused + 0.06
    assert min(found) > 0.9


def test_more_numbers_than_pictures_are_no_problem() -> None:
    generator = torch.Generator().manual_seed(3)
    targets = torch.arange(20) % 5
    centres = 2 * torch.randn(5, 500, generator=generator)
    features = centres[targets] + torch.randn(20, 500, generator=generator)
    score = fit_without_negatives(features, targets)
    assert torch.isfinite(score.score(features)).all()
    assert float(score.score(2 * torch.randn(50, 500, generator=generator)).median()) < THRESHOLD


def test_few_pictures_give_the_directions_of_the_large_matrix() -> None:
    generator = torch.Generator().manual_seed(4)
    targets = torch.arange(30) % 3
    rows = torch.randn(30, 40, generator=generator) * torch.linspace(0.5, 3, 40)
    directions, centres = fit_centres(rows, targets, dimensions=6)
    gaps = (rows - rows.mean(0)).double()
    widest = torch.linalg.eigh(gaps.T @ gaps / 30).eigenvectors.flip(1)[:, :6]
    aligned = torch.nn.functional.normalize(directions.double(), dim=0).T @ widest
    torch.testing.assert_close(aligned.abs(), torch.eye(6, dtype=torch.float64), atol=1e-4, rtol=0)
    twice, _ = fit_centres(torch.cat([rows, rows]), torch.cat([targets, targets]), dimensions=6)  # 60 rows: by eigh
    unit = torch.nn.functional.normalize(twice, dim=0)
    assert float((unit * torch.nn.functional.normalize(directions, dim=0)).sum(0).abs().min()) > 0.9999
    assert centres.shape == (3, 6)


def test_every_fit_without_negatives_is_a_turn_of_its_own() -> None:
    turns = []

    def in_turn(work: Callable[[], Any]) -> Any:
        turns.append(work)
        return work()

    features, targets = cloud(40)
    score = fit_without_negatives(features, targets, in_turn=in_turn)
    assert len(turns) == 6
    assert torch.equal(score.score(features), fit_without_negatives(features, targets).score(features))


@pytest.mark.parametrize("constant", [0.0, 7.0])
def test_channels_that_never_change_divide_by_nothing(constant: float) -> None:
    known, targets = cloud(60)
    known[:, :5] = constant
    score = fit_unknown(known, targets, known, {"others": known + 2})
    assert torch.isfinite(score.score(known)).all()


def test_too_few_pictures_are_a_sentence() -> None:
    few, targets = cloud(7)
    for attempt in (lambda: fit_without_negatives(few, targets), lambda: fit_unknown(few, targets, few, {})):
        with pytest.raises(DatasetError, match="At least 8 pictures"):
            attempt()


@settings(max_examples=40)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_auroc_is_the_share_of_pairs_won(known: list[int], others: list[int]) -> None:
    pairs = [(a > b) + (a == b) / 2 for a in known for b in others]
    assert auroc(torch.tensor(known), torch.tensor(others)) == pytest.approx(sum(pairs) / len(pairs))


# ---- Scores and curves --------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 9), size=st.floats(0.01, 1e6))
def test_a_score_lies_between_0_and_1_and_does_not_depend_on_the_batch(seed: int, count: int, size: float) -> None:
    rows = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed)) * size
    together = SCORE.score(rows)
    assert bool(((together >= 0) & (together <= 1)).all())
    alone = torch.cat([SCORE.score(row[None]) for row in rows])
    assert torch.allclose(together, alone, atol=1e-5)
    turned = SCORE.score(rows.flip(0)).flip(0)
    assert torch.allclose(together, turned, atol=1e-5)


SCORE = fitted(RECIPES["both"])


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=60), st.floats(-0.5, 1.5), st.floats(-0.5, 1.5))
def test_a_higher_threshold_never_refuses_fewer(scores: list[float], one: float, other: float) -> None:
    curve = Curve.of(torch.tensor(scores))
    low, high = sorted((one, other))
    assert 0 <= curve.share_below(low) <= curve.share_below(high) <= 1
    assert curve.share_below(-0.01) == 0
    assert curve.share_below(1.01) == 1


def test_a_curve_tells_the_share_that_was_there() -> None:
    scores = torch.rand(5000, generator=torch.Generator().manual_seed(0)) ** 2
    curve = Curve.of(scores)
    for threshold in (0.05, 0.3, 0.5, 0.9):
        assert curve.share_below(threshold) == pytest.approx(float((scores < threshold).double().mean()), abs=0.01)
    assert Curve.from_json(json.loads(json.dumps(curve.to_json()))) == curve


# ---- In the checkpoint --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network() -> Network:
    model = small_network("resnet18", {})
    assert isinstance(model, Network)
    return model


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    generator = torch.Generator().manual_seed(1)
    coarse = [torch.randint(256, (9, 7 + count, 3), dtype=torch.uint8, generator=generator) for count in range(7)]
    return [Image.fromarray(each.numpy()).resize((90, 60), Image.Resampling.BICUBIC) for each in coarse]


@pytest.fixture(scope="module")
def judging(network: Network) -> Checkpoint:
    """A checkpoint whose score was fitted on noise."""
    with torch.no_grad():
        images = torch.randn(40, 3, 36, 36, generator=torch.Generator().manual_seed(4))
        features = answer_with_features(network, images)[:, 7:]
    checkpoint = Checkpoint(
        architecture="resnet18",
        architecture_arguments=dict(network.architecture_arguments),
        class_names=tuple("abcdefg"),
        preprocessing=Preprocessing(resize=40, crop=36),
        flip_average=True,
    )
    recipe = Recipe(hidden=4, epochs=2, nearness=True)
    score = fit_unknown(features, torch.arange(40) % 7, features, {"a": features * 2}, recipe=recipe)
    return checkpoint.with_unknown(score)


@pytest.fixture
def saved(tmp_path: Path, judging: Checkpoint, network: nn.Module) -> Path:
    save_checkpoint(tmp_path / "own.safetensors", judging, network.state_dict())
    return tmp_path / "own.safetensors"


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], object]) -> None:
    """The same file otherwise, with checksums as a forger who knows the format would write them."""
    with safe_open(path, framework="pt") as opened:
        header = json.loads(opened.metadata()["resnet_lab"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    change(header, tensors)
    header["sha256"] = module._checksum(tensors)
    header["description_sha256"] = module._description_checksum(header)
    save_file(tensors, path, metadata={"resnet_lab": json.dumps(header)})


def test_a_checkpoint_brings_its_score_back_exactly(saved: Path, judging: Checkpoint, network: nn.Module) -> None:
    loaded, model = load_checkpoint(saved)
    assert loaded.unknown is not None
    assert judging.unknown is not None
    assert loaded.unknown_threshold == THRESHOLD
    for found in (loaded.unknown, read_checkpoint(saved).unknown):
        assert found is not None
        assert found.to_json() == judging.unknown.to_json()
        stored = judging.unknown.tensors()
        assert found.tensors().keys() == stored.keys()
        assert all(torch.equal(found.tensors()[name], stored[name]) for name in stored)
    assert model.state_dict().keys() == network.state_dict().keys()


def test_only_a_file_with_a_score_needs_the_newer_format(saved: Path, judging: Checkpoint, network: nn.Module) -> None:
    def version(path: Path) -> int:
        with safe_open(path, framework="pt") as opened:
            return int(json.loads(opened.metadata()["resnet_lab"])["format_version"])

    assert version(saved) == 2
    plain = replace(judging, unknown=None, unknown_threshold=0.3)
    save_checkpoint(saved.with_name("old.safetensors"), plain, network.state_dict())
    assert version(saved.with_name("old.safetensors")) == 1
    again = load_checkpoint(saved.with_name("old.safetensors"))[0]
    assert (again.unknown, again.unknown_threshold) == (None, 0.3)


def test_a_flipped_bit_in_the_score_is_noticed(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    with safe_open(saved, framework="pt") as opened:
        needle = opened.get_tensor("unknown.mean").numpy().tobytes()
    content[content.index(needle) + 2] ^= 4
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(saved)


def wrong(name: str, value: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Any], dict[str, Tensor]], None]:
    def change(header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        tensors[f"unknown.{name}"] = value(tensors[f"unknown.{name}"]).contiguous()

    return change


FORGED: dict[str, Callable[[dict[str, Any], dict[str, Tensor]], object]] = {
    "not a number": wrong("mean", lambda tensor: tensor * torch.nan),
    "divides by nothing": wrong("scale", lambda tensor: tensor * 0),
    "features that are not there": wrong("columns", lambda tensor: tensor + 10_000),
    "negative features": wrong("columns", lambda tensor: tensor - 1),
    "a head of another width": wrong("head.0", lambda tensor: tensor[:, 1:]),
    "two numbers": wrong("head.2", lambda tensor: tensor.repeat(2, 1)),
    "centres elsewhere": wrong("centres", lambda tensor: tensor[:, 1:]),
    "no centres": lambda header, tensors: tensors.pop("unknown.centres") is None,
    "no columns": lambda header, tensors: tensors.pop("unknown.columns") is None,
    "a stranger": lambda header, tensors: tensors.update({"unknown.extra": torch.zeros(3)}),
    "no description": lambda header, tensors: header.pop("unknown") is None,
    "an empty description": lambda header, tensors: header.update(unknown={}),
    "a text": lambda header, tensors: header.update(unknown="yes"),
    "another network's": lambda header, tensors: header["unknown"].update(width=50_000),
    "a falling curve": lambda header, tensors: header["unknown"]["known"].update(quantiles=[0.9, 0.1]),
    "an endless curve": lambda header, tensors: header["unknown"]["known"].update(quantiles=[0.5] * 9000),
    "an endless weight": lambda header, tensors: header["unknown"].update(head_weight=float("inf")),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_score_is_refused_in_one_sentence(how: str, saved: Path) -> None:
    rewrite(saved, FORGED[how])
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
    assert str(saved.parent) not in str(caught.value)


# ---- In the classifier --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["folded", "openvino"])
def test_every_engine_judges_as_the_plain_network(
    engine: str, judging: Checkpoint, network: nn.Module, pictures: list[Image.Image]
) -> None:
    expected = Classifier(judging, network, engine="plain").classify_batch(pictures)
    found = Classifier(judging, network, engine=engine).classify_batch(pictures)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.score == pytest.approx(theirs.score, abs=1e-3)
        assert [p.probability for p in mine.predictions] == pytest.approx(
            [p.probability for p in theirs.predictions], abs=1e-4
        )


def test_a_picture_is_judged_alone_as_in_a_batch(
    judging: Checkpoint, network: nn.Module, pictures: list[Image.Image]
) -> None:
    classifier = Classifier(judging, network, engine="plain")
    together = classifier.classify_batch(pictures)
    assert [answer.score for answer in together] == pytest.approx(
        [classifier.classify(picture).score for picture in pictures], abs=1e-4
    )
    mirrored = classifier.classify(pictures[0].transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert mirrored.score == pytest.approx(together[0].score, abs=1e-3)


def test_the_score_decides_and_the_probabilities_stay_what_they_were(
    judging: Checkpoint, network: nn.Module, pictures: list[Image.Image]
) -> None:
    plain = Classifier(replace(judging, unknown=None, unknown_threshold=None), network, engine="plain")
    scores = [answer.score or 0.0 for answer in Classifier(judging, network, engine="plain").classify_batch(pictures)]
    middle = sorted(scores)[3]
    judged = Classifier(replace(judging, unknown_threshold=middle), network, engine="plain").classify_batch(pictures)
    assert [answer.unknown for answer in judged] == [score < middle for score in scores]
    for mine, theirs in zip(judged, plain.classify_batch(pictures), strict=True):
        assert [p.probability for p in mine.predictions] == pytest.approx([p.probability for p in theirs.predictions])
        assert not theirs.unknown
        assert theirs.score == pytest.approx(theirs.predictions[0].probability)


def test_features_that_are_no_numbers_are_an_error(judging: Checkpoint, pictures: list[Image.Image]) -> None:
    model = small_network("resnet18", {})
    with torch.no_grad():
        model.bn1.bias.fill_(torch.inf)
    with pytest.raises(CheckpointError, match="invalid numbers"):
        Classifier(judging, model, engine="plain").classify(pictures[0])


def test_features_cover_all_stages(network: Network, judging: Checkpoint) -> None:
    assert judging.unknown is not None
    assert judging.unknown.width == 2 * sum(stage_channels(network))
