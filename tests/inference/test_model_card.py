"""The model card says what the checkpoint knows, nothing else, and shows other people's text as text."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from networks import small_network

from resnet_core.data.images import read_image
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.data.rendered import render_flower
from resnet_core.inference.catalog import SHIPPED
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.evaluation import Evaluation, score
from resnet_core.inference.export import Source, export_model
from resnet_core.inference.model_card import model_card, plain
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint
from resnet_core.training.unknown_score import Curve, UnknownScore

NAMES = ("<img src=x onerror=alert(1)>", "[roses](http://x)", "a|b `c` *d*\n# e", "${1+1} $x$")


@pytest.fixture(scope="module")
def bare() -> Source:
    network = build_model("resnet20", num_classes=4)
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments=dict(network.architecture_arguments),
        class_names=("a", "b", "c", "d"),
        preprocessing=Preprocessing(resize=40, crop=32),
    )
    return Source(name="bare", checkpoint=checkpoint, network=network)


def with_checkpoint(source: Source, **changes: object) -> Source:
    return replace(source, checkpoint=replace(source.checkpoint, **changes))  # type: ignore[arg-type]


def headings(card: str) -> list[str]:
    return re.findall(r"^## (.+)$", card, re.MULTILINE)


def some_scores(names: tuple[str, ...]) -> Evaluation:
    targets = torch.tensor([0, 0, 0, 1, 1, 2, 3])
    answers = torch.tensor([0, 0, 1, 0, 0, 2, 3])
    probabilities = torch.nn.functional.one_hot(answers, 4).float() * 0.9 + 0.025
    return score(probabilities, targets, names)


def test_a_checkpoint_that_knows_nothing_gives_a_short_card_without_gaps(bare: Source) -> None:
    card = model_card(bare)
    assert headings(card) == ["Classes", "Limits", "How to use it"]
    assert "None" not in card
    parameters = sum(parameter.numel() for parameter in bare.network.parameters())
    assert f"{parameters:,} parameters" in card
    assert "a, b, c, d." in card
    assert "mirror" not in card
    assert "It always names one of its classes" in card


def test_the_shipped_card_tells_what_its_checkpoint_holds() -> None:
    checkpoint, network = load_checkpoint(SHIPPED)
    card = model_card(Source(name="flowers", checkpoint=checkpoint, network=network), format="pt2")
    assert headings(card) == ["Classes", "Numbers", "Data", "Recipe", "Limits", "How to use it", "Versions"]
    assert f"top-1 accuracy {checkpoint.metrics['val_top1']:.1%}" in card
    assert f"temperature of {checkpoint.temperature:g}" in card
    assert f"after epoch {checkpoint.training['epoch']}" in card
    assert checkpoint.data_fingerprint in card
    assert checkpoint.preprocessing.describe() in card
    for name in checkpoint.class_names:
        assert name in card
    assert "python predict.py photo.jpg" in card


def test_a_measured_table_has_a_row_a_class_and_names_the_weak_ones(bare: Source) -> None:
    scores = some_scores(bare.checkpoint.class_names)
    card = model_card(bare, scores=scores, scored_on="my_garden")
    assert "on 7 pictures of my\\_garden: top-1 57.1%" in card
    rows = re.findall(r"^\| (\w) \| (\d+) \| ([\d.]+%) \| ([\d.]+%) \|$", card, re.MULTILINE)
    assert rows == [("a", "3", "66.7%", "50.0%"), ("b", "2", "0.0%", "0.0%"), ("c", "1", "100.0%", "100.0%"),
                    ("d", "1", "100.0%", "100.0%")]  # fmt: skip
    assert "misses more than half of: b." in card


def test_other_peoples_text_is_shown_letter_by_letter(bare: Source) -> None:
    source = with_checkpoint(bare, class_names=NAMES, training={"config": {"dataset": "<script>x</script>"}})
    card = model_card(replace(source, name="# <b>bold</b>"), scores=some_scores(NAMES))
    for raw in ("<img", "<script", "<b>", "[roses]", "`c`", "$x", "# e"):
        assert not re.search(r"(?<!\\)" + re.escape(raw), card)
    tables = [line for line in card.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {5}


@pytest.mark.parametrize("text", ["a_b", "1*2*3", "<i>", "[a](b)", "# x", "a|b", "`x`", "\\", "~~x~~", "a-b", "&lt;"])
def test_every_sign_of_markdown_is_taken_back(text: str) -> None:
    assert re.sub(r"\\(.)", r"\1", plain(text)) == text
    assert not re.search(r"(?<!\\)[`*_\[\]<>#|~&]", plain(text))


def test_no_folder_of_this_machine_is_told(bare: Source) -> None:
    config = {"dataset": "/home/ada/private/garden.zip", "init_from": "/srv/secret/best.safetensors", "seed": 3}
    card = model_card(with_checkpoint(bare, training={"config": config}))
    assert "garden.zip" in card
    assert "best.safetensors" in card
    assert not re.search("ada|private|srv|secret", card)


def test_refusals_are_told_with_their_cost(bare: Source) -> None:
    one = torch.ones(1)
    unknown = UnknownScore(
        width=1,
        columns=torch.zeros(1, dtype=torch.int64),
        mean=one,
        scale=one,
        known=Curve(quantiles=(0.0, 0.5, 1.0), count=200),
        others=Curve(quantiles=(0.0, 0.2, 0.4), count=50),
        sources=("cifar10",),
    )
    card = model_card(replace(bare, checkpoint=bare.checkpoint.with_unknown(unknown)))
    assert "“I do not know this” for 50.0% of 200 pictures of its classes" in card
    assert "for 100.0% of 50 pictures of other things" in card
    assert "learnt against: cifar10." in card
    assert "It always names one of its classes" not in card


def test_a_taught_model_tells_its_pictures_its_body_and_how_it_was_judged(bare: Source) -> None:
    taught = {"from": "flowers", "counts": {"<b>cat</b>": 12, "dog": 9}, "judged_by": "cross-validation"}
    metrics = {"val_top1": 0.9, "val_top1_low": 0.71, "val_top1_high": 0.97, "n_val": 21}
    card = model_card(with_checkpoint(bare, training={"taught": taught}, metrics=metrics))
    assert "on 21 validation pictures, each kept back once in turn." in card
    assert "between 71.0% and 97.0%" in card
    assert "body of “flowers” with so many pictures: " + plain("<b>cat</b>") + " 12, dog 9." in card


def test_nonsense_about_its_making_is_left_out(bare: Source) -> None:
    training = {"taught": "yes", "adopted_from": ["x"]}
    card = model_card(with_checkpoint(bare, training=training, metrics={"val_top1": 0.9, "n_val": 3}))
    assert "Taught to" not in card
    assert "from elsewhere" not in card


def test_an_adopted_model_names_its_file_and_a_judged_one_its_classes(bare: Source) -> None:
    metrics = {"val_recall": {"a": 0.5, "b": 1.0}}
    card = model_card(with_checkpoint(bare, training={"adopted_from": {"file": "x|y.pth"}}, metrics=metrics))
    assert plain("x|y.pth") in card
    assert "Found of each class: a 50.0%, b 100.0%." in card
    assert "Found of each class" not in model_card(
        with_checkpoint(bare, metrics=metrics), scores=some_scores(("a", "b", "c", "d"))
    )


def test_many_classes_are_cut_short(bare: Source) -> None:
    names = tuple(f"kind {index}" for index in range(250))
    card = model_card(with_checkpoint(bare, class_names=names))
    assert "kind 99 and 150 more" in card
    assert "kind 100," not in card


@pytest.mark.parametrize(("transparent", "threshold"), [(False, None), (True, 0.001), (False, 0.999)])
def test_the_lines_shown_for_onnx_do_what_they_say(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    transparent: bool,
    threshold: float | None,
) -> None:
    network = small_network("resnet8", {})
    checkpoint = Checkpoint(
        architecture="resnet8",
        architecture_arguments={"num_classes": 7, "width": 8},
        class_names=tuple("abcdefg"),
        preprocessing=Preprocessing(resize=44, crop=40),
        unknown_threshold=threshold,
    )
    source = Source(name="small", checkpoint=checkpoint, network=network)
    lines = re.search(r"```python\n(.+?)```", model_card(source, format="onnx"), re.DOTALL)
    assert lines is not None
    export_model(source, tmp_path / "MODEL.onnx", format="onnx")
    photo = tmp_path / "photo.jpg"
    flower = render_flower("tulips", 1, size=400).crop((0, 0, 400, 290))
    if transparent:
        flower.putalpha(flower.convert("L"))
    flower.save(photo, "PNG" if transparent else "JPEG")
    monkeypatch.chdir(tmp_path)
    exec(compile(lines.group(1), "card", "exec"), {})
    *refusal, told = capsys.readouterr().out.splitlines()
    name, probability = told.split()
    classifier = Classifier(checkpoint, network, engine="plain")
    answer = classifier.classify(read_image(photo, draft_size=classifier.draft_size))
    best = answer.predictions[0]
    assert (name, float(probability)) == (best.label, pytest.approx(best.probability, abs=1e-4))
    assert answer.unknown is (threshold == 0.999)
    assert refusal == (["I do not know this; nearest:"] if answer.unknown else [])
