"""Exported files answer as the app does, for every kind of network, and carry all that belongs to the model."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import small_network
from PIL import Image
from safetensors import safe_open
from torch import nn

from resnet_core.data.images import read_image
from resnet_core.data.preprocessing import Preprocessing, to_pixels
from resnet_core.errors import CheckpointError, ConfigError, DeviceError, ModelError
from resnet_core.inference.catalog import SHIPPED
from resnet_core.inference.classifier import Classifier, Judgement
from resnet_core.inference.export import FORMATS, Source, export_model, without_places
from resnet_core.inference.exported import Exported, open_exported
from resnet_core.inference.take_away import predict_script
from resnet_core.inference.verification import write_test_pictures
from resnet_core.models.pooled import stage_channels
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from resnet_core.training.unknown_score import UnknownScore

NAMES = ("雏菊", "tulipe à fleurs", 'a "quoted" \\ name', "\udc80 no UTF-8", "<b>${1+1}</b>", "f|g", "seven")
# network, settings, format: tracing for ONNX takes seconds, so only where the operators differ
FAMILIES: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("resnet18", {}, "onnx"),
    ("resnet20", {}, "onnx"),
    ("resnet8", {"residual": False}, "onnx"),
    ("tutorial-cifar", {"as_published": True}, "onnx"),
    ("resnet18", {"stem": "small", "residual": False}, "pt2"),
    ("resnet50", {}, "pt2"),
    ("resnet20", {}, "pt2"),
    ("resnet8", {}, "pt2"),
    ("tutorial-cifar", {}, "pt2"),
)
GRAPHS = ("onnx", "pt2")


def make_source(name: str = "resnet8", arguments: dict[str, Any] | None = None, **changes: Any) -> Source:
    network = small_network(name, arguments or {})
    checkpoint = Checkpoint(
        architecture=name,
        architecture_arguments=dict(network.architecture_arguments),  # type: ignore[arg-type, call-overload]
        class_names=NAMES,
        preprocessing=Preprocessing(resize=44, crop=40, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3)),
    )
    return Source(name="a “test” model", checkpoint=replace(checkpoint, **changes), network=network)


def noise(count: int) -> list[Image.Image]:
    """RGB pictures of different shapes."""
    generator = torch.Generator().manual_seed(count)
    shapes = [(48 + 7 * index, 60 - 3 * index, 3) for index in range(count)]
    return [
        Image.fromarray(torch.randint(256, shape, dtype=torch.uint8, generator=generator).numpy()) for shape in shapes
    ]


def pixels_of(images: list[Image.Image], preprocessing: Preprocessing) -> torch.Tensor:
    return torch.stack([to_pixels(preprocessing.square(image)) for image in images])


def judged_by_the_app(source: Source, images: list[Image.Image]) -> Judgement:
    classifier = Classifier(source.checkpoint, source.network, engine="plain")
    return classifier.judge(torch.stack([source.checkpoint.preprocessing(image) for image in images]))


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())


def opened(source: Source, form: str, folder: Path) -> Exported:
    """Exported and opened again."""
    export_model(source, folder / f"model.{form}", format=form)
    return open_exported(folder / f"model.{form}", format=form)


def some_score(network: nn.Module) -> UnknownScore:
    """A score of made-up numbers that uses every part there is."""
    width = 2 * sum(stage_channels(network))  # type: ignore[arg-type]
    looked = width // 2
    generator = torch.Generator().manual_seed(1)
    return UnknownScore(
        width=width,
        columns=torch.randperm(width, generator=generator)[:looked],
        mean=torch.randn(looked, generator=generator),
        scale=torch.rand(looked, generator=generator) + 0.5,
        head=tuple(torch.randn(*shape, generator=generator) for shape in ((6, looked), (6,), (1, 6), (1,))),
        directions=torch.randn(looked, 5, generator=generator),
        centres=torch.randn(7, 5, generator=generator),
        head_weight=0.05,
        nearness_weight=0.1,
        offset=0.3,
    )


def rich_source() -> Source:
    """Everything a checkpoint may have, and a training that names places of this machine."""
    start = "C:\\Users\\lovelace\\runs\\best.safetensors"
    config = {"dataset": "/home/lovelace/secret place/flowers.zip", "init_from": start}
    source = make_source(flip_average=True, temperature=2.5, training={"config": config, "epoch": 3})
    return replace(source, checkpoint=source.checkpoint.with_unknown(some_score(source.network)))


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The rich source in every format; tracing takes long enough to do it once."""
    folder = tmp_path_factory.mktemp("rich")
    for form in FORMATS:
        export_model(rich_source(), folder / f"model.{form}", format=form)
    return {form: folder / f"model.{form}" for form in FORMATS}


@pytest.mark.parametrize(("name", "arguments", "form"), FAMILIES, ids=str)
def test_a_graph_of_every_family_answers_as_the_app_for_any_number_of_pictures(
    name: str, arguments: dict[str, Any], form: str, tmp_path: Path
) -> None:
    source = make_source(name, arguments)
    exported = opened(source, form, tmp_path)
    for count in (1, 5):
        images = noise(count)
        expected = judged_by_the_app(source, images)
        answer = exported.judge(pixels_of(images, source.checkpoint.preprocessing))
        assert gap(answer.probabilities, expected.probabilities) < 1e-4
        assert gap(answer.scores, expected.scores) < 1e-4


@pytest.mark.parametrize("form", FORMATS)
def test_mirror_image_temperature_and_the_score_of_the_unknown_are_inside(form: str, rich: dict[str, Path]) -> None:
    source, images = rich_source(), noise(3)
    expected = judged_by_the_app(source, images)
    exported = open_exported(rich[form], format=form)
    for count in (3, 1):
        answer = exported.judge(pixels_of(images[:count], source.checkpoint.preprocessing))
        assert gap(answer.probabilities, expected.probabilities[:count]) < 1e-4
        assert gap(answer.scores, expected.scores[:count]) < 1e-4
    assert float(expected.scores.std()) > 1e-3
    answers = exported.judge(pixels_of(images, source.checkpoint.preprocessing)).probabilities
    for other in (replace(source.checkpoint, flip_average=False), replace(source.checkpoint, temperature=1.7)):
        wrong = judged_by_the_app(replace(source, checkpoint=other), images).probabilities
        assert gap(answers, wrong) > 1e-3  # else nothing would have been compared


@pytest.mark.parametrize("form", FORMATS)
def test_class_names_and_preprocessing_travel_whole(form: str, rich: dict[str, Path]) -> None:
    exported = open_exported(rich[form], format=form)
    assert exported.class_names == NAMES
    assert Preprocessing.from_json(exported.about["preprocessing"]) == rich_source().checkpoint.preprocessing
    if form in GRAPHS:
        assert exported.about["unknown_threshold"] == 0.5
        assert exported.about["temperature"] == 2.5
        assert exported.about["model"] == "a “test” model"
        assert exported.about["versions"]["torch"] == str(torch.__version__)
        assert json.loads(json.dumps(exported.about)) == exported.about


def test_an_onnx_file_names_its_input_and_outputs_and_leaves_the_batch_open(rich: dict[str, Path]) -> None:
    import onnx

    content = onnx.load(str(rich["onnx"]))
    onnx.checker.check_model(content)
    shape = content.graph.input[0].type.tensor_type
    assert [put.name for put in content.graph.input] == ["pixels"]
    assert [put.name for put in content.graph.output] == ["probabilities", "score"]
    assert shape.elem_type == onnx.TensorProto.UINT8
    assert [edge.dim_param or edge.dim_value for edge in shape.shape.dim] == ["batch", 3, 40, 40]


def test_exporting_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    source = make_source(flip_average=True)
    before = {name: tensor.clone() for name, tensor in source.network.state_dict().items()}
    hooks = [len(module._forward_hooks) for module in source.network.modules()]
    modes = [module.training for module in source.network.modules()]
    export_model(source, tmp_path / "model.pt2", format="pt2")
    assert all(torch.equal(before[name], tensor) for name, tensor in source.network.state_dict().items())
    assert [module.training for module in source.network.modules()] == modes
    assert [len(module._forward_hooks) for module in source.network.modules()] == hooks


def test_safetensors_loses_no_bit_and_is_small_only_where_that_costs_nothing(tmp_path: Path) -> None:
    exact = make_source()
    export_model(exact, tmp_path / "exact.safetensors", format="safetensors")
    _, again = load_checkpoint(tmp_path / "exact.safetensors")
    stored = again.state_dict()
    assert all(torch.equal(stored[name], tensor) for name, tensor in exact.network.state_dict().items())
    save_checkpoint(tmp_path / "half.safetensors", exact.checkpoint, exact.network.state_dict(), half=True)
    rounded = replace(exact, network=load_checkpoint(tmp_path / "half.safetensors")[1])
    export_model(rounded, tmp_path / "small.safetensors", format="safetensors")
    with safe_open(tmp_path / "small.safetensors", framework="pt") as content:
        assert content.get_tensor("layer1.0.conv.weight").dtype == torch.float16
    assert (tmp_path / "small.safetensors").stat().st_size < 0.7 * (tmp_path / "exact.safetensors").stat().st_size


@pytest.mark.parametrize("form", FORMATS)
def test_no_file_tells_where_things_lie_on_this_machine(form: str, rich: dict[str, Path]) -> None:
    content = rich[form].read_bytes()
    assert b"lovelace" not in content
    assert str(Path(__file__).parents[2]).encode() not in content  # the tracer notes where in our source it is


def test_places_become_names_and_everything_else_stays() -> None:
    told = {
        "a": "/x/y/z.zip",
        "b": ["../data/flowers", "imagenet/resnet18", "a/b", 3],
        "c": {"d": "D:\\p\\q", "e": None},
    }
    kept = {"a": "z.zip", "b": ["flowers", "imagenet/resnet18", "a/b", 3], "c": {"d": "q", "e": None}}
    assert without_places(told) == kept


def test_what_cannot_be_exported_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source()
    with pytest.raises(ConfigError, match="not a format"):
        export_model(source, tmp_path / "model.tflite", format="tflite")
    headless = replace(source, network=build_model("resnet8", num_classes=7, include_top=False))
    with pytest.raises(ModelError, match="ends with its last stage"):
        export_model(headless, tmp_path / "model.pt2", format="pt2")
    for package in ("onnx", "onnxscript"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(DeviceError, match=f"pip install {package}"):
                export_model(source, tmp_path / "model.onnx", format="onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_cut_short_is_not_opened(form: str, rich: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / f"model.{form}"
    path.write_bytes(rich[form].read_bytes()[: rich[form].stat().st_size // 2])
    with pytest.raises(CheckpointError):
        open_exported(path, format=form)


# predict.py and the shipped model


def answers_of(script: Path, *photos: Path) -> dict[str, tuple[dict[str, float], bool]]:
    """What predict.py prints, run where nothing of ours can be imported: photo → probabilities, said to be unknown."""
    run = subprocess.run(
        [sys.executable, "-I", str(script), *map(str, photos)],
        cwd=script.parent,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told: dict[str, tuple[dict[str, float], bool]] = {}
    photo = ""
    for line in run.stdout.splitlines():
        share, _, name = line.strip().partition("%  ")
        if name:
            told[photo][0][name] = float(share) / 100
        else:
            photo, unknown, _ = line.partition(": I do not know this")
            told[photo] = ({}, bool(unknown))
    return told


def test_predict_py_answers_as_the_app_without_us(tmp_path: Path) -> None:
    source = make_source(flip_average=True, unknown_threshold=0.3)
    source = replace(source, checkpoint=replace(source.checkpoint, class_names=(*"abcdef", "雏菊 (daisy)")))
    export_model(source, tmp_path / "flöwers.pt2", format="pt2")
    script = tmp_path / "predict.py"
    script.write_text(predict_script("flöwers.pt2"), encoding="utf-8")
    pictures = write_test_pictures(tmp_path)
    told = answers_of(script, *pictures)
    classifier = Classifier(source.checkpoint, source.network, engine="plain")
    expected = {str(picture): classifier.classify(read_image(picture)) for picture in pictures}
    assert list(told) == list(expected)
    for picture, answer in expected.items():
        probabilities, unknown = told[picture]
        assert probabilities == pytest.approx({p.label: p.probability for p in answer.predictions}, abs=1e-3)
        assert unknown == answer.unknown
    best = sorted(answer.predictions[0].probability for answer in expected.values())
    assert best[-1] - best[0] > 0.01  # the pictures are told apart


def test_predict_py_is_short_and_needs_only_torch_and_pillow() -> None:
    text = predict_script("model.pt2")
    code = text.split('"""', 2)[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    imported = {line.split()[1].split(".")[0] for line in code.splitlines() if line.startswith(("import ", "from "))}
    assert imported - set(sys.stdlib_module_names) == {"torch", "PIL"}


@pytest.fixture(scope="module")
def val_photos(shared_data: Path) -> list[Image.Image]:
    """Fifty photos the shipped model was not trained on, ten of each flower."""
    folders = sorted(path for path in (shared_data / "flower_photos" / "val").iterdir() if path.is_dir())
    return [read_image(photo) for folder in folders for photo in sorted(folder.glob("*.jpg"))[:10]]


@pytest.mark.parametrize("form", FORMATS)
def test_the_shipped_model_gives_the_apps_probabilities_on_fifty_photos(
    form: str, val_photos: list[Image.Image], tmp_path: Path
) -> None:
    classifier = Classifier.load(SHIPPED, precision="fp32")
    source = Source(name="flowers", checkpoint=classifier.checkpoint, network=classifier.model)
    exported = opened(source, form, tmp_path)
    assert len(val_photos) == 50
    answer = exported.judge(pixels_of(val_photos, classifier.checkpoint.preprocessing))
    index = {name: place for place, name in enumerate(exported.class_names)}
    for row, expected in zip(answer.probabilities, classifier.classify_batch(val_photos), strict=True):
        for prediction in expected.predictions:
            assert abs(float(row[index[prediction.label]]) - prediction.probability) < 1e-3
