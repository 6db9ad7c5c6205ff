"""A classifier answers the same whatever engine computes, looks for one only when that pays, and survives a bad one."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from networks import small_network
from PIL import Image
from torch import Tensor, nn

from resnet_core.activations.capture import capture_activations
from resnet_core.activations.gradcam import grad_cam
from resnet_core.data.images import read_image
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import CheckpointError, ConfigError
from resnet_core.inference import classifier as module
from resnet_core.inference.classifier import Classifier, network_inputs
from resnet_core.inference.engine_choice import Choice
from resnet_core.training.checkpoint import Checkpoint

ENGINES = ("plain", "folded", "openvino")  # the last falls back to folded where it is not installed


def make_classifier(*, model: nn.Module | None = None, engine: str | None = None, **changes: object) -> Classifier:
    checkpoint = Checkpoint(
        architecture="resnet18",
        architecture_arguments={"num_classes": 7},
        class_names=tuple("abcdefg"),
        preprocessing=Preprocessing(resize=40, crop=36),
        flip_average=True,
    )
    chosen = replace(checkpoint, **changes)  # type: ignore[arg-type]
    return Classifier(chosen, small_network("resnet18", {}) if model is None else model, engine=engine)


@pytest.fixture
def pictures() -> list[Image.Image]:
    generator = torch.Generator().manual_seed(1)
    coarse = [torch.randint(256, (9, 7 + count, 3), dtype=torch.uint8, generator=generator) for count in range(5)]
    return [Image.fromarray(each.numpy()).resize((90, 60), Image.Resampling.BICUBIC) for each in coarse]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("flip", [False, True])
def test_every_engine_answers_as_the_plain_network(engine: str, flip: bool, pictures: list[Image.Image]) -> None:
    plain, fast = make_classifier(engine="plain", flip_average=flip), make_classifier(engine=engine, flip_average=flip)
    for count in (1, 3, 5):
        expected = plain.classify_batch(pictures[:count])
        for theirs, ours in zip(expected, fast.classify_batch(pictures[:count]), strict=True):
            assert [each.label for each in ours.predictions] == [each.label for each in theirs.predictions]
            assert [each.probability for each in ours.predictions] == pytest.approx(
                [each.probability for each in theirs.predictions], abs=1e-4
            )
    assert fast.engine_name == engine or engine == "openvino"
    assert fast.engine_reason.startswith(f"Engine: {fast.engine_name}, ")


def test_inputs_are_those_of_the_preprocessing() -> None:
    preprocessing = Preprocessing(resize=20, crop=16, mean=(0.1, 0.5, 0.9), std=(0.2, 0.1, 1.5))
    squares = [Image.new("RGB", (16, 16), color) for color in ("black", "white", "orange")]
    expected = torch.stack([preprocessing(square.resize((20, 20))) for square in squares])
    inputs = network_inputs(squares, preprocessing)
    assert inputs.dtype == torch.float32
    assert torch.allclose(inputs, expected, atol=1e-5)
    assert all(
        square.getpixel((0, 0)) == color for square, color in zip(squares[:2], [(0,) * 3, (255,) * 3], strict=True)
    )


# ---- When it is chosen --------------------------------------------------------------------------------------------


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads in which an engine was chosen; the choice itself is the plain network."""
    threads: list[str] = []

    def choose(plain: module.PlainEngine, *_: object, **__: object) -> Choice:
        threads.append(threading.current_thread().name)
        return Choice(engine=plain, name="plain", reason="Engine: plain, chosen.")

    monkeypatch.setattr(module, "choose_engine", choose)
    return threads


def test_one_photo_does_not_wait_for_a_choice(chosen: list[str], pictures: list[Image.Image]) -> None:
    classifier = make_classifier()
    classifier.classify(pictures[0])
    assert not chosen
    assert classifier.engine_name == "plain"
    assert "until so many pictures" in classifier.engine_reason


def test_once_the_plain_network_has_worked_as_long_as_choosing_takes_one_is_chosen_once(
    chosen: list[str], pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = make_classifier()
    classifier.classify(pictures[0])
    monkeypatch.setattr(module, "CHOOSING_SECONDS", 0.0)
    for _ in range(3):
        classifier.classify(pictures[0])
    assert len(chosen) == 1
    assert classifier.engine_reason == "Engine: plain, chosen."


def test_warming_up_chooses_at_once_and_only_once(chosen: list[str]) -> None:
    classifier = make_classifier()
    threads = [threading.Thread(target=classifier.warm_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(chosen) == 1


def test_while_one_thread_chooses_the_others_are_answered(
    pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def choose(plain: module.PlainEngine, *_: object, **__: object) -> Choice:
        began.set()
        assert go_on.wait(30)
        return Choice(engine=plain, name="plain", reason="Engine: plain, chosen.")

    monkeypatch.setattr(module, "choose_engine", choose)
    monkeypatch.setattr(module, "CHOOSING_SECONDS", 0.0)
    classifier = make_classifier()
    first = threading.Thread(target=classifier.classify, args=(pictures[0],))
    first.start()
    assert began.wait(30)
    try:
        assert classifier.classify(pictures[1]).predictions
    finally:
        go_on.set()
        first.join()


def test_the_engine_can_be_asked_for_by_argument_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_LAB_ENGINE", "folded")
    from_environment, from_argument = make_classifier(), make_classifier(engine="plain")
    from_environment.warm_up()
    from_argument.warm_up()
    assert (from_environment.engine_name, from_argument.engine_name) == ("folded", "plain")
    monkeypatch.setenv("RESNET_LAB_ENGINE", "fastest")
    with pytest.raises(ConfigError, match="“fastest” is not an engine"):
        make_classifier()


# ---- When it goes wrong -------------------------------------------------------------------------------------------


class Breaks:
    """Works for the self-test, then no more."""

    name = "openvino"

    def __init__(self, answer: Tensor | Exception) -> None:
        self.answer = answer

    def __call__(self, inputs: Tensor) -> Tensor:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def with_engine(monkeypatch: pytest.MonkeyPatch, engine: Breaks, **changes: object) -> Classifier:
    choice = Choice(engine=engine, name=engine.name, reason="Engine: openvino, fast.")
    monkeypatch.setattr(module, "choose_engine", lambda *_, **__: choice)
    classifier = make_classifier(engine="openvino", **changes)
    classifier.warm_up()
    return classifier


def test_an_engine_that_breaks_later_is_left_and_the_photo_answered(
    pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = with_engine(monkeypatch, Breaks(RuntimeError("out of memory")))
    answer = classifier.classify(pictures[0])
    assert answer.predictions == make_classifier(engine="plain").classify(pictures[0]).predictions
    assert classifier.engine_name == "plain"
    assert classifier.engine_reason == "Engine: plain, since openvino broke (RuntimeError)."


def test_where_only_the_engine_overflows_the_plain_network_answers(
    pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = with_engine(monkeypatch, Breaks(torch.full((1, 7), torch.inf)))
    answer = classifier.classify(pictures[0])
    assert answer.predictions == make_classifier(engine="plain").classify(pictures[0]).predictions


@pytest.mark.parametrize("engine", ["auto", *ENGINES])
def test_a_model_without_numbers_is_an_error_with_every_engine(engine: str, pictures: list[Image.Image]) -> None:
    model = small_network("resnet18", {})
    with torch.no_grad():
        model.fc.bias.fill_(torch.nan)
    classifier = make_classifier(model=model, engine=engine)
    classifier.warm_up()
    with pytest.raises(CheckpointError, match="invalid numbers"):
        classifier.classify(pictures[0])


# ---- What it must not touch ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_the_model_object_stays_as_it_was_and_feature_maps_come_from_it(
    engine: str, pictures: list[Image.Image]
) -> None:
    untouched, classifier = make_classifier(engine="plain"), make_classifier(engine=engine)
    kinds = [(name, type(part)) for name, part in untouched.model.named_modules()]
    classifier.classify_batch(pictures)
    assert [(name, type(part)) for name, part in classifier.model.named_modules()] == kinds
    state = classifier.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in untouched.model.state_dict().items())
    inputs = classifier.checkpoint.preprocessing(pictures[0])[None]
    for layer in ("conv1", "layer1.0.bn2", "layer4.1.relu2"):
        seen = capture_activations(classifier.model, inputs, [layer])[layer]
        assert torch.equal(seen, capture_activations(untouched.model, inputs, [layer])[layer])
    heat = grad_cam(classifier.model, inputs, "layer4", 2)
    assert torch.equal(torch.as_tensor(heat), torch.as_tensor(grad_cam(untouched.model, inputs, "layer4", 2)))


@pytest.mark.parametrize("engine", ["folded", "openvino"])
def test_a_fast_engine_never_runs_the_model_s_modules(engine: str, pictures: list[Image.Image]) -> None:
    classifier = make_classifier(engine=engine)
    classifier.warm_up()
    ran: list[str] = []
    for part in classifier.model.modules():
        part.register_forward_hook(lambda *_: ran.append("ran"))
    classifier.classify(pictures[0])
    assert not ran


@pytest.mark.parametrize("engine", ENGINES)
def test_eight_threads_get_the_same_answers(engine: str, pictures: list[Image.Image]) -> None:
    classifier = make_classifier(engine=engine)
    expected = [classifier.classify(picture).predictions for picture in pictures]
    wrong: list[int] = []

    def work(start: int) -> None:
        for index in range(start, start + 5):
            if classifier.classify(pictures[index % 5]).predictions != expected[index % 5]:
                wrong.append(index)  # noqa: PERF401 (several threads append)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- Real photos --------------------------------------------------------------------------------------------------

SHIPPED = Path(__file__).parents[2] / "assets" / "flowers.safetensors"


def flower_photos(folder: Path) -> list[Path]:
    paths = sorted((folder / "flower_photos").glob("val/*/*.jpg"))
    return paths or pytest.skip("The val photos of flower_photos are not in the shared data.")


def test_fast_and_plain_agree_on_real_photos(shared_data: Path) -> None:
    plain = Classifier.load(SHIPPED, engine="plain")
    fast = [Classifier.load(SHIPPED, engine=engine) for engine in ("folded", "openvino")]
    paths = flower_photos(shared_data)
    expected, answers = [], [[], []]  # type: ignore[var-annotated]
    for start in range(0, len(paths), 50):
        squares = [plain.checkpoint.preprocessing(read_image(path)) for path in paths[start : start + 50]]
        expected.append(plain.probabilities(torch.stack(squares)))
        for kept, classifier in zip(answers, fast, strict=True):
            kept.append(classifier.probabilities(torch.stack(squares)))
    truth = torch.cat(expected)
    assert len(truth) >= 500
    for found in map(torch.cat, answers):
        assert (found.argmax(1) == truth.argmax(1)).double().mean() >= 0.997
        assert (found - truth).abs().max() <= 0.02


def test_a_phone_s_photo_read_as_a_draft_is_answered_as_the_whole_one(shared_data: Path, tmp_path: Path) -> None:
    """Val photos blown up until drafts of 1/4 and 1/8 are taken; sides are multiples of 8, as cameras have them."""
    classifier = Classifier.load(SHIPPED, engine="folded")
    for scale, path in zip((4, 8) * 6, flower_photos(shared_data)[::45], strict=False):
        photo = read_image(path)
        times = 8 * (classifier.draft_size * scale // 8 + 1) / min(photo.size)
        sides = [8 * round(side * times / 8) for side in photo.size]
        target = tmp_path / f"{path.stem}.jpg"
        photo.resize((sides[0], sides[1]), Image.Resampling.BICUBIC).save(target, quality=90)
        whole, draft = read_image(target), read_image(target, draft_size=classifier.draft_size)
        assert draft.width * scale == whole.width
        expected = {each.label: each.probability for each in classifier.classify(whole).predictions}
        for each in classifier.classify(draft).predictions:
            assert each.probability == pytest.approx(expected[each.label], abs=0.02)
