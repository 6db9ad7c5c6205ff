"""Teaching: the head is the true optimum, groups stay whole, the judgement is honest, bad input gets a sentence."""

import io
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from resnet_core.data.datasets import load_dataset
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.data.rendered import render_flower
from resnet_core.errors import ConfigError, DatasetError, ImageError, ModelError
from resnet_core.models.zoo import build_model
from resnet_core.training.bursts import deal_folds, find_groups, thumbnail
from resnet_core.training.calibration import cautious_temperature
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.examples import (
    Example,
    check_counts,
    check_overlaps,
    examples_of,
    folder_names,
    named,
    tidy_label,
)
from resnet_core.training.head import DECAYS, SAFE_DECAY, Lesson, choose_decay, fit_head, head_path, split
from resnet_core.training.judging import judge, wilson
from resnet_core.training.looking import Backbone, Look, LookMemory, look_at, make_backbone
from resnet_core.training.promotion import WAYS, fine_tuning_settings, val_pictures, write_dataset
from resnet_core.training.teaching import Material, gather, save_start, teach

NAMES = ("daisy", "roses", "tulips")


def lesson(
    n: int = 60,
    classes: int = 3,
    width: int = 8,
    *,
    seed: int = 0,
    groups: torch.Tensor | None = None,
    gap: float = 1.0,
) -> Lesson:
    """Pictures whose features lie around a centre of their class, `gap` spreads apart; both views differ a little."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % classes
    centres = torch.randn(classes, width, generator=generator) * gap
    one = centres[targets] + torch.randn(n, width, generator=generator)
    views = torch.stack([one, one + 0.1 * torch.randn(n, width, generator=generator)], dim=1)
    return Lesson(views=views, targets=targets, groups=torch.arange(n) if groups is None else groups, classes=classes)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    network = build_model("resnet20", num_classes=7).eval()
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments=dict(network.architecture_arguments),
        class_names=tuple("abcdefg"),
        preprocessing=Preprocessing(resize=36, crop=32),
        flip_average=True,
        unknown_threshold=0.5,
        temperature=3.0,
    )
    return make_backbone("a small one", checkpoint, network)


def flower(label: str, index: int, *, group: str = "", key: str = "") -> Example:
    return Example(
        label=label,
        name=f"{label} {index}",
        key=key or f"{label}/{index}",
        read=lambda _: render_flower(label if label in NAMES else "daisy", index, seed=1, size=48),
        group=group,
    )


def flowers(each: int = 6, names: tuple[str, ...] = NAMES[:2]) -> list[Example]:
    return [flower(label, index) for label in names for index in range(each)]


def broken(label: str, name: str) -> Example:
    def refuse(_: int) -> Image.Image:
        raise ImageError(f"{name} is empty (0 bytes).")

    return Example(label=label, name=name, key=name, read=refuse)


# the head


@pytest.mark.parametrize("decay", [1.0, 0.03])
def test_the_head_is_where_a_long_plain_gradient_descent_ends(decay: float):
    taught = lesson(n=31, classes=3, width=5, seed=3)  # classes of 11, 10 and 10 pictures
    head = list(head_path(taught, [0.3, decay]))[1]
    features = taught.views.double().flatten(0, 1)
    targets = taught.targets.repeat_interleave(2)
    mean, spread = features.mean(0), features.std(0, correction=0)
    inputs = (features - mean) / spread
    weight, bias = torch.zeros(3, 5, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    counts = torch.bincount(targets).double()
    for _ in range(6_000):  # by hand: softmax minus one-hot
        gaps = torch.softmax(inputs @ weight.T + bias, 1) - nn.functional.one_hot(targets, 3)
        gaps = gaps / counts[targets][:, None] / 3
        weight = weight - 0.5 * (gaps.T @ inputs + decay * weight)
        bias = bias - 0.5 * gaps.sum(0)
    torch.testing.assert_close(head.weight * spread, weight, atol=1e-5, rtol=0)
    logits = head.logits(features)
    expected = inputs @ weight.T + bias
    torch.testing.assert_close(
        logits - logits.mean(1, keepdim=True), expected - expected.mean(1, keepdim=True), atol=1e-4, rtol=0
    )


def test_a_feature_that_never_moves_and_one_of_huge_size_do_no_harm():
    taught = lesson(seed=1, gap=3)
    views = taught.views.clone()
    views[..., 0] = 7.0
    views[..., 1] *= 1e6
    head = fit_head(Lesson(views=views, targets=taught.targets, groups=taught.groups, classes=3), 0.1)
    assert torch.isfinite(head.weight).all()
    assert not head.weight[:, 0].any()
    assert (head.logits(views[:, 0]).argmax(1) == taught.targets).double().mean() > 0.9


def test_every_class_has_the_same_say_however_many_pictures_it_has():
    """Features that tell nothing: the answer is even, not “the larger class”."""
    targets = torch.tensor([0] * 90 + [1] * 10)
    views = torch.zeros(100, 1, 2)
    head = fit_head(Lesson(views=views, targets=targets, groups=torch.arange(100), classes=2), 0.1)
    torch.testing.assert_close(head.bias, torch.zeros(2, dtype=torch.float64), atol=1e-6, rtol=0)


def test_noise_is_learned_more_carefully_than_what_is_clear():
    clear = choose_decay(lesson(gap=4, n=90), seed=0)
    noise = choose_decay(lesson(gap=0, n=90, width=60), seed=0)
    assert noise == max(DECAYS)
    assert clear < noise


def test_where_nothing_can_be_kept_back_the_decay_is_the_safe_one():
    taught = lesson(n=20, classes=2, groups=torch.arange(20) % 2)
    assert choose_decay(taught, seed=0) == SAFE_DECAY


# groups


@st.composite
def dealt(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, int, int]:
    count = draw(st.integers(1, 40))
    classes = draw(st.integers(1, 4))
    targets = draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count))
    groups = draw(st.lists(st.integers(0, 12), min_size=count, max_size=count))
    _, dense = torch.tensor(groups).unique(return_inverse=True)
    return torch.tensor(targets), dense, draw(st.integers(2, 6)), draw(st.integers(0, 3))


@given(dealt())
@hypothesis_settings(max_examples=60)
def test_groups_never_straddle_a_split(case: tuple[torch.Tensor, torch.Tensor, int, int]):
    targets, groups, folds, seed = case
    fold_of = deal_folds(targets, groups, folds, seed=seed)
    assert torch.equal(fold_of, deal_folds(targets, groups, folds, seed=seed))
    assert all(len(fold_of[groups == group].unique()) == 1 for group in groups.unique())
    assert int(fold_of.max()) < folds
    whole = Lesson(views=torch.zeros(len(targets), 1, 1), targets=targets, groups=groups, classes=5)
    for fold in range(folds):
        learned, kept = split(whole, fold_of == fold)
        if kept is not None:
            assert not set(learned.groups.tolist()) & set(kept.groups.tolist())
            assert set(kept.targets.tolist()) <= set(learned.targets.tolist())


@given(st.integers(2, 5), st.integers(1, 6), st.integers(0, 5))
@hypothesis_settings(max_examples=25)
def test_single_pictures_are_spread_evenly_over_the_folds(folds: int, times: int, seed: int):
    targets = torch.arange(3).repeat_interleave(folds * times)
    fold_of = deal_folds(targets, torch.arange(len(targets)), folds, seed=seed)
    for index in range(3):
        assert torch.bincount(fold_of[targets == index], minlength=folds).tolist() == [times] * folds


def picture(seed: int, size: int = 64) -> Image.Image:
    """A coarse pattern of its own, with a photo's slow changes."""
    noise = random.Random(seed).randbytes(5 * 5 * 3)
    return Image.frombytes("RGB", (5, 5), noise).resize((size, size), Image.Resampling.BICUBIC)


def changed(image: Image.Image, kind: str) -> Image.Image:
    if kind == "mirrored":
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if kind == "smaller":
        return image.resize((41, 41), Image.Resampling.BILINEAR)
    if kind == "brighter":
        return image.point(lambda value: min(255, value + 5))
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=30)
    return Image.open(out).convert("RGB")


@pytest.mark.parametrize("kind", ["mirrored", "smaller", "brighter", "compressed"])
def test_a_near_copy_joins_the_group_of_its_original(kind: str):
    pictures = [picture(0), picture(1), changed(picture(0), kind)]
    groups = find_groups(["", "", ""], torch.stack([thumbnail(each) for each in pictures]))
    assert groups[0] == groups[2] != groups[1]


def test_different_pictures_stay_apart_and_bursts_are_chains():
    drawn = [render_flower(name, index, seed=1, size=64) for name in NAMES for index in range(10)]
    groups = find_groups([""] * 30, torch.stack([thumbnail(each) for each in drawn]))
    assert len(groups.unique()) >= 29
    first, last = picture(2), picture(3)
    film = [Image.blend(first, last, step / 40) for step in range(41)]  # every frame like the next, the ends unlike
    thumbs = torch.stack([thumbnail(frame) for frame in film])
    assert len(find_groups([""] * 41, thumbs).unique()) == 1
    assert len(find_groups(["", ""], thumbs[[0, 40]]).unique()) == 2


def test_given_groups_hold_whatever_the_pictures_look_like():
    thumbs = torch.stack([thumbnail(picture(seed)) for seed in range(4)])
    groups = find_groups(["a", "", "a", ""], thumbs)
    assert groups[0] == groups[2]
    assert len(groups.unique()) == 3


# the judgement


def test_frames_of_bursts_do_not_flatter():
    """Features that only tell bursts apart: frame by frame all would seem right, burst by burst it is guessing."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(24).repeat_interleave(10)
    own = torch.randn(24, 40, generator=generator)[groups]
    views = (own + 0.05 * torch.randn(240, 40, generator=generator))[:, None]
    targets = groups % 2
    honest = judge(Lesson(views=views, targets=targets, groups=groups, classes=2), seed=0)
    naive = judge(Lesson(views=views, targets=targets, groups=torch.arange(240), classes=2), seed=0)
    assert honest is not None
    assert naive is not None
    assert naive.top1 > 0.95
    assert honest.top1 < 0.8
    assert honest.groups == 24
    assert honest.low < 0.5 < honest.high
    assert honest.high - honest.low > naive.high - naive.low


def test_few_pictures_are_each_judged_once_and_many_are_kept_back_once():
    few = judge(lesson(n=60), seed=0)
    many = judge(lesson(n=600), seed=0)
    assert few is not None
    assert many is not None
    assert (few.method, few.n, few.folds) == ("cross-validation", 60, 5)
    assert (many.method, many.n) == ("hold-out", 150)
    for judged in (few, many):
        assert sum(map(sum, judged.confusion)) == judged.n
        assert judged.top1 == pytest.approx(sum(judged.confusion[i][i] for i in range(3)) / judged.n)
        assert judged.low <= judged.top1 <= judged.high


def test_a_class_of_one_burst_is_not_judged_and_said_so():
    groups = torch.arange(60)
    groups[torch.arange(60) % 3 == 2] = 59
    judged = judge(lesson(n=60, groups=groups.unique(return_inverse=True)[1]), seed=0)
    assert judged is not None
    assert judged.unjudged == (2,)
    assert sum(judged.confusion[2]) == 0
    assert judged.n == 40


def test_where_every_class_is_one_burst_nothing_is_claimed():
    assert judge(lesson(n=30, groups=torch.arange(30) % 3), seed=0) is None


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(1.0, 10, 0.7225, 1.0), (0.0, 10, 0.0, 0.2775), (0.85, 100, 0.7672, 0.9069), (0.5, 2, 0.0945, 0.9055)],
)
def test_the_interval_is_wilsons(right: float, count: int, low: float, high: float):
    assert wilson(right, count) == pytest.approx((low, high), abs=2e-4)


def test_frames_of_a_burst_are_one_case_of_how_sure_answers_may_be():
    """Twenty copies of a picture that is answered rightly are no twenty right answers."""
    groups = torch.cat([torch.arange(10), torch.full((20,), 10)])
    told = judge(lesson(n=30, classes=2, groups=groups, gap=4), seed=0)
    assert told is not None
    assert told.n == 30
    assert sum(bin.count for bin in told.calibration.reliability) <= 12  # the burst holds both classes


def test_ten_right_answers_out_of_ten_do_not_make_sure_of_everything():
    logits = torch.eye(2, dtype=torch.float64).repeat(5, 1) * 30
    targets = torch.arange(10) % 2
    temperature = cautious_temperature(logits, targets)
    sure = torch.softmax(logits / temperature, 1).max()
    assert sure == pytest.approx(1 - 1 / 12, abs=0.05) or temperature == pytest.approx(5.0, rel=1e-3)
    true = torch.distributions.Categorical(logits=torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)))
    drawn = torch.multinomial(true.probs, 1, generator=torch.Generator().manual_seed(1))[:, 0]
    assert cautious_temperature(2 * true.logits.double(), drawn) == pytest.approx(2.0, abs=0.2)


# looking


def test_the_features_are_those_that_fc_is_given(backbone: Backbone):
    looks = look_at(flowers(2), backbone, LookMemory())
    for example, look in zip(flowers(2), looks, strict=True):
        assert isinstance(look, Look)
        inputs = backbone.checkpoint.preprocessing(example.read(0))[None]
        with torch.no_grad():
            for view, images in zip(look.views, (inputs, inputs.flip(-1)), strict=True):
                expected = backbone.network.avgpool(backbone.network.forward_features(images)).flatten()
                torch.testing.assert_close(view, expected, atol=1e-5, rtol=1e-4)


def test_what_was_looked_at_is_not_looked_at_again(backbone: Backbone):
    memory, seen = LookMemory(), []

    def in_turn(work: Callable[[], object]) -> object:
        seen.append(work)
        return work()

    look_at(flowers(3), backbone, memory, in_turn=in_turn)
    before = len(seen)
    told: list[tuple[int, int]] = []
    look_at([*flowers(3), flower("tulips", 0)], backbone, memory, in_turn=in_turn, progress=lambda *p: told.append(p))
    assert len(seen) == before + 1
    assert told == [(7, 7)]
    other = make_backbone("another", backbone.checkpoint, build_model("resnet20", num_classes=7).eval())
    assert other.key != backbone.key
    look_at(flowers(1), other, memory, in_turn=in_turn)
    assert len(seen) == before + 2


def test_the_memory_forgets_the_oldest_when_it_is_full(backbone: Backbone):
    look = look_at(flowers(1), backbone, LookMemory())[0]
    assert isinstance(look, Look)
    memory = LookMemory(limit=3 * look.size())
    for name in "abcd":
        memory.put("b", name, look)
        memory.get("b", "a")
    assert [name for name in "abcd" if memory.get("b", name)] == ["a", "c", "d"]


def test_a_network_without_a_head_cannot_be_taught():
    square = Preprocessing(resize=8, crop=8)
    nothing = Checkpoint(architecture="resnet20", architecture_arguments={}, class_names=(), preprocessing=square)
    with pytest.raises(ModelError, match="without a layer fc"):
        make_backbone("x", nothing, build_model("resnet20", include_top=False))


# teaching


def test_the_taught_model_is_a_plain_checkpoint_that_answers_as_the_head_does(backbone: Backbone, tmp_path: Path):
    taught = teach(flowers(8, NAMES), backbone)
    assert taught.checkpoint.class_names == NAMES
    assert (taught.checkpoint.unknown, taught.checkpoint.unknown_threshold) == (None, None)
    save_checkpoint(tmp_path / "taught.safetensors", taught.checkpoint, taught.state_dict)
    checkpoint, model = load_checkpoint(tmp_path / "taught.safetensors")
    assert checkpoint.architecture == "resnet20"
    assert checkpoint.temperature == pytest.approx(taught.checkpoint.temperature)
    body = backbone.network.state_dict()
    assert all(torch.equal(tensor, body[name]) for name, tensor in model.state_dict().items() if "fc" not in name)
    inputs = torch.stack([checkpoint.preprocessing(example.read(0)) for example in flowers(8, NAMES)])
    with torch.no_grad():
        logits = (model(inputs) + model(inputs.flip(-1))) / 2
    right = (logits.argmax(1) == torch.arange(3).repeat_interleave(8)).double().mean()
    assert right > 0.6  # random features of drawings it has learned from
    again = teach(flowers(8, NAMES), backbone)
    assert torch.equal(again.state_dict["fc.weight"], taught.state_dict["fc.weight"])


def test_the_report_counts_what_was_used_and_names_what_was_not(backbone: Backbone):
    pictures = [*flowers(5), broken("daisy", "bad.jpg"), flower("roses", 2, key="copy")]
    report = teach(pictures, backbone).report
    assert report.counts == {"daisy": 5, "roses": 5}
    assert report.left_out == (("bad.jpg", "bad.jpg is empty (0 bytes)."),)
    assert any("counted once: roses 2" in note for note in report.notes)
    story = report.to_json()
    assert story["judged"] == 10
    assert 0 <= story["top1_low"] <= story["top1"] <= story["top1_high"] <= 1
    assert story["left_out"] == [{"image": "bad.jpg", "error": "bad.jpg is empty (0 bytes)."}]


@pytest.mark.parametrize(
    ("examples", "classes", "sentence"),
    [
        ([], (), "There are no classes yet"),
        (flowers(3, ("daisy",)), (), "only one class, “daisy”"),
        ([*flowers(3), flower("tulips", 0)], (), "“tulips” has only one picture; add at least one more"),
        (flowers(3), ("daisy", "roses", "<script>"), "“<script>” has no pictures; add some"),
        ([*flowers(3), broken("tulips", "x"), broken("tulips", "y")], (), "“tulips” has no readable picture"),
        ([*flowers(3), flower("tulips", 1), broken("tulips", "x")], (), "one picture (1 cannot be read)"),
        (
            [flower("daisy", i, key=str(i)) for i in range(3)] + [flower("Daisies", i, key=str(i)) for i in range(3)],
            (),
            "“Daisies” and “daisy” hold the same 3 pictures",
        ),
    ],
    ids=["nothing", "one class", "one picture", "an empty class", "all broken", "nearly all broken", "twins"],
)
def test_what_cannot_be_taught_is_refused_with_the_reason(
    backbone: Backbone, examples: list[Example], classes: tuple[str, ...], sentence: str
):
    with pytest.raises(DatasetError) as caught:
        teach(examples, backbone, classes=classes)
    assert sentence in str(caught.value)


def test_pictures_in_two_classes_are_counted_and_named():
    notes = check_overlaps(["a", "a", "b", "b", "c"], ["1", "2", "2", "3", "4"])
    assert notes == ("1 picture is in both “a” and “b”; remove them from one.",)
    with pytest.raises(DatasetError, match="hold the same 2 pictures"):
        check_overlaps(["a", "a", "b", "b"], ["1", "2", "2", "1"])


def test_limits_are_said_in_a_sentence():
    with pytest.raises(DatasetError, match=r"20,002 pictures are too many to teach; the limit is 20,000"):
        check_counts({"a": 10_001, "b": 10_001})
    with pytest.raises(DatasetError, match="1,001 classes are too many"):
        check_counts({str(index): 2 for index in range(1001)})
    assert named(["a", "b", "c", "d", "e", "f", "g"]) == "a, b, c, d, e and 2 more"


def test_names_that_are_written_in_two_ways_are_one_class(backbone: Backbone):
    composed, apart = "rosé", "rose\u0301 "
    assert tidy_label(composed) == tidy_label(apart)
    pictures = [flower(composed, 0, key="1"), flower(apart, 1, key="2"), *flowers(2, ("roses",))]
    taught = teach(pictures, backbone)
    assert taught.report.counts == {"roses": 2, "rosé": 2}
    others = [Example(label="Daisy", name="n", key=f"n{i}", read=lambda _, i=i: picture(i)) for i in range(2)]
    twins = teach([*flowers(2), *others], backbone)
    assert any("differ only in capitals" in note for note in twins.report.notes)


NASTY = [
    "<script>alert(1)</script>",
    "../../etc",
    "con",
    "a/b",
    "a\\b",
    ".hidden",
    "train",
    "花",
    "x" * 300,
    "",
    " .",
    "A",
    "a",
    "a 2",
]


def test_folder_names_are_safe_everywhere_and_all_different():
    names = folder_names(NASTY)
    assert len({name.casefold() for name in names.values()}) == len(NASTY)
    for name in names.values():
        assert not set('<>:"/\\|?*\0') & set(name)
        assert len(name.encode()) <= 130
        assert not name.startswith(".")
        assert name.strip(" .") == name
        assert name.casefold() not in ("train", "con")
    assert names["花"] == "花"


# promotion


def test_the_promoted_folder_holds_every_picture_once_and_splits_no_group(backbone: Backbone, tmp_path: Path):
    bursts = [flower(name, index, group=f"{name}{index // 4}") for name in NAMES for index in range(16)]
    material = gather(bursts, backbone, LookMemory())
    folder = write_dataset(material, tmp_path / "taught", val_pictures(material))
    dataset = load_dataset(str(folder), data_dir=tmp_path)
    assert dataset.class_names == NAMES
    assert len(dataset.train) + len(dataset.val) == 48
    assert 6 <= len(dataset.val) <= 16
    pairs = zip(material.examples, material.groups.tolist(), strict=True)
    group_of = {example.read(0).tobytes(): group for example, group in pairs}
    seen = {
        split: {group_of[dataset.source.load(each.path).tobytes()] for each in dataset.split(split)}
        for split in ("train", "val")
    }
    assert not seen["train"] & seen["val"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taught"]


def bursts_of(*classes: list[int]) -> Material:
    """Nothing but labels and groups: one list of group sizes a class."""
    targets, groups, group = [], [], 0
    for index, sizes in enumerate(classes):
        for size in sizes:
            targets += [index] * size
            groups += [group] * size
            group += 1
    return Material(
        class_names=tuple(f"class {index}" for index in range(len(classes))),
        examples=(),
        looks=(),
        targets=torch.tensor(targets),
        groups=torch.tensor(groups),
        left_out=(),
        notes=(),
    )


@pytest.mark.parametrize(
    ("classes", "judged"),
    [
        (([30], [20, 20]), [0, 20]),
        (([60], [30, 30], [30, 30]), [0, 30, 30]),
        (([20, 20], [20, 20]), [20, 20]),
        (([20, 20],) * 5, [20] * 5),
        (([1] * 20, [1] * 10), [4, 2]),
        (([1, 1, 30, 30], [8] * 5), [2, 8]),
    ],
)
def test_every_class_that_can_be_is_judged_after_a_promotion(classes: tuple[list[int], ...], judged: list[int]):
    material = bursts_of(*classes)
    val = val_pictures(material)
    assert [int(val[material.targets == index].sum()) for index in range(len(classes))] == judged


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    classes=st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=8), min_size=2, max_size=6),
    shared=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_promotion_splits_no_group_and_leaves_something_of_each_class(
    classes: list[list[int]], shared: bool, seed: int
):
    material = bursts_of(*classes)
    if shared:  # near-copies in two classes: their groups are one
        groups = material.groups.clone()
        groups[groups == groups.max()] = 0
        material = replace(material, groups=groups)
    try:
        val = val_pictures(material, seed=seed)
    except DatasetError:
        assert all(len(sizes) == 1 for sizes in classes) or shared
        return
    assert val.any()
    for group in range(int(material.groups.max()) + 1):
        assert len(torch.unique(val[material.groups == group])) <= 1
    for index, sizes in enumerate(classes):
        assert not val[material.targets == index].all()
        if not shared:
            assert bool(val[material.targets == index].any()) is (len(sizes) > 1)


def test_a_promoted_training_begins_with_a_head_that_never_saw_what_judges_it(backbone: Backbone, tmp_path: Path):
    material = gather([flower(name, index) for name in NAMES for index in range(10)], backbone, LookMemory())
    val = val_pictures(material)
    lied_to = material.targets.clone()
    lied_to[val] = (lied_to[val] + 1) % len(NAMES)
    for name, targets in (("honest", material.targets), ("lied", lied_to)):
        save_start(replace(material, targets=targets), backbone, val, tmp_path / name)
    (checkpoint, honest), (_, lied) = (load_checkpoint(tmp_path / name) for name in ("honest", "lied"))
    assert checkpoint.class_names == NAMES
    for name, tensor in honest.state_dict().items():
        assert torch.equal(tensor, lied.state_dict()[name]), name
    save_start(replace(material, targets=lied_to), backbone, torch.zeros_like(val), tmp_path / "all")
    seen = load_checkpoint(tmp_path / "all")[1].state_dict()["fc.weight"]
    assert not torch.equal(seen, honest.state_dict()["fc.weight"])


def test_a_promotion_that_could_keep_nothing_back_is_refused(backbone: Backbone):
    material = gather([flower(name, i, group=name) for name in NAMES for i in range(4)], backbone, LookMemory())
    with pytest.raises(DatasetError, match="nothing could be kept back"):
        val_pictures(material)


@pytest.mark.parametrize("way", WAYS)
def test_the_fine_tuning_goes_on_with_the_same_network_and_pictures(backbone: Backbone, way: str):
    settings = fine_tuning_settings(backbone.checkpoint, way=way)
    config = TrainConfig(**settings)
    assert (config.model, config.image_size, config.resize) == ("resnet20", 32, 36)
    assert config.freeze == {"frozen": "layer3", "staged": "layer2", "full": "none"}[way]
    with pytest.raises(ConfigError):
        fine_tuning_settings(backbone.checkpoint, way="sideways")


def test_a_normalisation_no_training_has_is_refused_instead_of_replaced(backbone: Backbone):
    for mean, std, told in (
        ((0.0,) * 3, (1.0,) * 3, "none"),
        ((0.5,) * 3, (0.5,) * 3, None),
        ((0.0,) * 3, (0.5,) * 3, None),
    ):
        checkpoint = replace(backbone.checkpoint, preprocessing=Preprocessing(resize=36, crop=32, mean=mean, std=std))
        if told:
            assert fine_tuning_settings(checkpoint, way="full")["normalize"] == told
        else:
            with pytest.raises(ConfigError, match="way of its own"):
                fine_tuning_settings(checkpoint, way="full")


def test_a_folder_is_taught_with_its_subfolders_as_bursts(tmp_path: Path, make_folder: Callable[..., Path]):
    root = make_folder(["a/1.png", "a/monday/1.png", "a/monday/2.png", "b/1.png", "b/2.png"])
    found = examples_of(load_dataset(str(root), data_dir=tmp_path))
    assert sorted(each.group for each in found) == ["", "", "", "a/monday", "a/monday"]
    assert {each.name for each in found} == {"1.png", "2.png"}
