"""From a picture to ranked answers: the checkpoint's own preprocessing, order, temperature and threshold."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import CheckpointError, ModelError, ResNetLabError, RunError
from resnet_core.inference import catalog
from resnet_core.inference.catalog import checkpoint_path, list_checkpoints, load_classifier
from resnet_core.inference.classifier import Classifier
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.runs import RunStore

NAMES = ("a", "b", "c")


class Fixed(nn.Module):
    """Answers every picture with the same logits."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([logits]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images), -1)


@pytest.fixture
def checkpoint() -> Checkpoint:
    return Checkpoint(
        architecture="resnet20",
        architecture_arguments={"num_classes": 3},
        class_names=NAMES,
        preprocessing=Preprocessing(resize=40, crop=32),
    )


@pytest.fixture
def picture() -> Image.Image:
    noise = torch.randint(256, (50, 70, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Image.fromarray(noise.numpy())


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(3)
    return build_model("resnet20", num_classes=3)


def test_answers_are_ranked_and_add_up_to_one(checkpoint: Checkpoint, picture: Image.Image) -> None:
    answer = Classifier(checkpoint, Fixed(0.0, 2.0, 1.0)).classify(picture)
    assert [prediction.label for prediction in answer.predictions] == ["b", "c", "a"]
    expected = torch.tensor([2.0, 1.0, 0.0]).softmax(0).tolist()
    assert [prediction.probability for prediction in answer.predictions] == pytest.approx(expected)
    assert answer.seen.size == (32, 32)
    assert answer.seconds > 0


@pytest.mark.parametrize(("top_k", "count"), [(None, 3), (1, 1), (2, 2), (3, 3), (99, 3), (0, 1), (-5, 1)])
def test_top_k_is_cut_to_what_there_is(
    top_k: int | None, count: int, checkpoint: Checkpoint, picture: Image.Image
) -> None:
    answer = Classifier(checkpoint, Fixed(0.0, 2.0, 1.0)).classify(picture, top_k=top_k)
    assert len(answer.predictions) == count
    assert answer.predictions[0].label == "b"


def test_temperature_divides_the_logits(checkpoint: Checkpoint, picture: Image.Image) -> None:
    warm = Classifier(replace(checkpoint, temperature=2.0), Fixed(0.0, 2.0, 1.0)).classify(picture)
    expected = torch.tensor([1.0, 0.5, 0.0]).softmax(0).tolist()
    assert [prediction.probability for prediction in warm.predictions] == pytest.approx(expected)


def test_below_the_threshold_the_answer_is_unknown(checkpoint: Checkpoint, picture: Image.Image) -> None:
    best = float(torch.tensor([0.0, 2.0, 1.0]).softmax(0).max())
    for threshold, unknown in ((None, False), (best - 1e-4, False), (best + 1e-4, True)):
        judged = replace(checkpoint, unknown_threshold=threshold)
        assert Classifier(judged, Fixed(0.0, 2.0, 1.0)).classify(picture, top_k=1).unknown is unknown


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_without_numbers_is_an_error_not_zero_percent(
    value: float, checkpoint: Checkpoint, picture: Image.Image
) -> None:
    with pytest.raises(CheckpointError, match="invalid numbers"):
        Classifier(checkpoint, Fixed(0.0, value, 1.0)).classify(picture)


def test_a_batch_answers_as_one_by_one_in_order(
    checkpoint: Checkpoint, network: nn.Module, picture: Image.Image
) -> None:
    classifier = Classifier(checkpoint, network)
    pictures = [picture, picture.rotate(90, expand=True), Image.new("RGB", (33, 200), "red"), picture.resize((8, 8))]
    together = classifier.classify_batch(pictures)
    for one, answer in zip(pictures, together, strict=True):
        alone = classifier.classify(one)
        assert [p.label for p in alone.predictions] == [p.label for p in answer.predictions]
        assert [p.probability for p in alone.predictions] == pytest.approx(
            [p.probability for p in answer.predictions], abs=1e-5
        )
    assert classifier.classify_batch([]) == []


def test_flip_average_is_the_mean_of_both_logits(
    checkpoint: Checkpoint, network: nn.Module, picture: Image.Image
) -> None:
    classifier = Classifier(replace(checkpoint, flip_average=True), network)
    inputs = checkpoint.preprocessing(picture)[None]
    with torch.no_grad():
        expected = ((network(inputs) + network(inputs.flip(-1))) / 2).softmax(1)
    assert torch.allclose(classifier.probabilities(inputs), expected, atol=1e-6)
    mirrored = classifier.classify(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)).predictions
    assert [p.label for p in mirrored] == [p.label for p in classifier.classify(picture).predictions]


def test_it_never_changes_and_threads_may_share_it(
    checkpoint: Checkpoint, network: nn.Module, picture: Image.Image
) -> None:
    classifier = Classifier(checkpoint, network.train())
    assert not classifier.model.training
    assert not any(parameter.requires_grad for parameter in classifier.model.parameters())
    before = {name: tensor.clone() for name, tensor in classifier.model.state_dict().items()}
    expected = classifier.classify(picture).predictions
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(classifier.classify(picture))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        assert [p.label for p in answer.predictions] == [p.label for p in expected]
    assert len(answers) == 8
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.model.state_dict().items())


def test_load_from_a_file_gives_the_same_answers(
    checkpoint: Checkpoint, network: nn.Module, picture: Image.Image, tmp_path: Path
) -> None:
    arguments = dict(network.architecture_arguments)  # type: ignore[arg-type]
    save_checkpoint(
        tmp_path / "m.safetensors", replace(checkpoint, architecture_arguments=arguments), network.state_dict()
    )
    loaded = Classifier.load(tmp_path / "m.safetensors")
    assert loaded.class_names == NAMES
    assert loaded.classify(picture).predictions == Classifier(checkpoint, network).classify(picture).predictions


# ---- The catalog ----------------------------------------------------------------------------------------------


def with_weights(store: RunStore, checkpoint: Checkpoint, network: nn.Module, *which: str) -> str:
    run = store.create(TrainConfig(name="my run"))
    arguments = dict(network.architecture_arguments)  # type: ignore[arg-type]
    for kind in which:
        described = replace(checkpoint, architecture_arguments=arguments, training={"kind": kind})
        save_checkpoint(run.folder / f"{kind}.safetensors", described, network.state_dict())
    return run.run_id


def test_every_listed_model_can_be_loaded(
    store: RunStore, checkpoint: Checkpoint, network: nn.Module, picture: Image.Image
) -> None:
    run_id = with_weights(store, checkpoint, network, "best", "last")
    with_weights(store, checkpoint, network)
    names = [entry.name for entry in list_checkpoints(store) if not entry.name.startswith(catalog.IMAGENET)]
    assert [name for name in names if name != "flowers"] == [run_id, f"{run_id}/last"]
    for name in names:
        assert load_classifier(name, store).classify(picture).predictions
    assert load_classifier(f"{run_id}/last", store).checkpoint.training == {"kind": "last"}
    assert load_classifier(run_id, store).checkpoint.training == {"kind": "best"}


@pytest.mark.parametrize(
    "name",
    ["", "nope", "../x", "/etc/passwd", "nope/last", "a/b/c", "imagenet/", "imagenet/resnet19", "x" * 999, "\0"],
)
def test_an_unknown_model_is_one_sentence(name: str, store: RunStore) -> None:
    for allow_paths in (False, True):
        if allow_paths and name == "/etc/passwd":
            continue
        with pytest.raises(ResNetLabError) as caught:
            load_classifier(name, store, allow_paths=allow_paths)
        assert isinstance(caught.value, CheckpointError | ModelError | RunError)
        assert "\n" not in str(caught.value)


def test_a_page_cannot_name_files_of_the_server_and_the_command_line_can(
    store: RunStore, checkpoint: Checkpoint, network: nn.Module
) -> None:
    run_id = with_weights(store, checkpoint, network, "best")
    path = str(store.get(run_id).folder / "best.safetensors")
    with pytest.raises(CheckpointError, match="no model"):
        load_classifier(path, store)
    assert load_classifier(path, store, allow_paths=True).class_names == NAMES
    with pytest.raises(CheckpointError):
        load_classifier("/etc/passwd", store, allow_paths=True)


def test_a_third_epoch_of_a_run_does_not_exist(store: RunStore, checkpoint: Checkpoint, network: nn.Module) -> None:
    run_id = with_weights(store, checkpoint, network, "best", "last")
    assert checkpoint_path(f"{run_id}/best", store) == checkpoint_path(run_id, store)
    for name in (f"{run_id}/resume", f"{run_id}/", f"{run_id}/../best", f"{run_id}/last/x"):
        with pytest.raises(CheckpointError):
            checkpoint_path(name, store)


def test_a_run_before_its_first_epoch_says_so(store: RunStore) -> None:
    run = store.create(TrainConfig())
    with pytest.raises(RunError, match="no checkpoint yet"):
        load_classifier(run.run_id, store)
