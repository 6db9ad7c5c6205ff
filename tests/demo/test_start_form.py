"""The training form: what its fields become, and what settings from elsewhere look like in it."""

import asyncio
import json
import math
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.services import Services
from demo.training.form_values import (
    FIELDS,
    SHOWN_BY_PRESET,
    check_allowed,
    check_name,
    config_from_form,
    form_from_config,
    others_in_words,
    read_others,
    shareable,
    shareable_event,
    shown_by_preset,
)
from demo.training.plan_picture import plan_picture, summary
from demo.training.plan_section import DatasetsAtHand, plan_html
from demo.training.rate_picture import scan_picture
from demo.training.repeat_section import repeat_section, script_of
from demo.training.settings_section import file_stem, fill, settings_section, to_be_shared
from demo.training.start_form import DEVICES, StartForm, device_choices, start_choices, start_form, wanted
from resnet_core.device import offered_devices
from resnet_core.errors import CheckpointError, ConfigError, DatasetError, RunError
from resnet_core.inference.catalog import SHIPPED
from resnet_core.processor import read_cores
from resnet_core.training.config import TrainConfig
from resnet_core.training.presets import PRESETS, make_config
from resnet_core.training.thawing import GRADUAL

UNTOUCHED: dict[str, Any] = {
    "dataset": "rendered-flowers",
    "preset": "default",
    "pretrained": False,
    "residual": True,
    "seed": 0,
    "device": "auto",
    "precision": "auto",
    "freeze": "none",
    "memory_format": "auto",
    "compile": "auto",
    "class_weights": "none",
    "sampling": "plain",
    "halve_batch": False,
    "keep": "some",
}


def filled(own_data: str | None = None, **changes: Any) -> TrainConfig:
    form = {**dict.fromkeys(FIELDS, ""), **UNTOUCHED, **changes}
    return config_from_form(tuple(form[field] for field in FIELDS), own_data=own_data)


def test_an_untouched_form_is_the_default():
    assert filled() == TrainConfig()


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_choosing_a_preset_and_pressing_start_is_exactly_that_preset(preset: str):
    shown = shown_by_preset(preset, "rendered-flowers")
    form = {**dict.fromkeys(FIELDS, ""), **UNTOUCHED, **dict(zip(SHOWN_BY_PRESET, shown, strict=True))}
    dataset = PRESETS[preset].get("dataset", "rendered-flowers")
    assert config_from_form(tuple(form[field] for field in FIELDS)) == make_config(preset, dataset=dataset)


def test_a_preset_without_a_data_set_keeps_the_one_chosen():
    assert shown_by_preset("default", "cifar10")[0] == "cifar10"


def test_typed_values_win_over_the_presets():
    config = filled(preset="tutorial-flowers", epochs="7", learning_rate="0,002", batch_size=" 8 ", optimizer="sgd")
    assert (config.epochs, config.learning_rate, config.batch_size, config.optimizer) == (7, 0.002, 8, "sgd")
    assert config.augment == PRESETS["tutorial-flowers"]["augment"]


def test_numbers_may_be_written_as_people_write_them():
    config = filled(epochs="3.0", learning_rate="1e-3", image_size=64)
    assert (config.epochs, config.learning_rate, config.image_size) == (3, 1e-3, 64)


def test_how_to_compute_can_be_overridden():
    config = filled(memory_format="contiguous", compile="on", freeze="layer3", precision="fp32")
    assert (config.memory_format, config.compile, config.freeze, config.precision) == (
        "contiguous",
        True,
        "layer3",
        "fp32",
    )
    assert filled(compile="off").compile is False


def test_skip_connections_off_is_the_plain_twin():
    assert filled(residual=False).residual is False


def test_own_pictures_win_over_the_named_data_set(tmp_path: Path):
    assert filled(own_data=str(tmp_path)).dataset == str(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("epochs", "0", "Epochs"),
        ("epochs", "2.5", "Epochs"),
        ("epochs", "ten", "Epochs"),
        ("epochs", "1e400", "Epochs"),
        ("batch_size", "0", "Batch size"),
        ("batch_size", "-4", "Batch size"),
        ("learning_rate", "-1", "Learning rate"),
        ("learning_rate", "nan", "Learning rate"),
        ("learning_rate", "inf", "Learning rate"),
        ("learning_rate", "fast", "Learning rate"),
        ("image_size", "7", "Image size"),
        ("seed", -1, "Seed"),
        ("optimizer", "rmsprop", "Optimizer"),
        ("precision", "int8", "Precision"),
    ],
)
def test_an_impossible_value_is_refused_by_the_name_of_its_field(field: str, value: Any, name: str):
    with pytest.raises(ConfigError, match=f"^{name} must be"):
        filled(**{field: value})


def test_an_empty_seed_is_zero():
    assert filled(seed=None).seed == 0
    assert not math.isnan(filled(seed=3).seed)


def test_what_was_hidden_before_can_be_set():
    config = filled(
        mixup="0,2", cutmix="1", clip_norm="2.5", patience="5", drop_path="0.1", budget_minutes="15", thaw=GRADUAL,
        class_weights="balanced", halve_batch=True, keep="all",
    )  # fmt: skip
    assert (config.mixup, config.cutmix, config.clip_norm, config.patience) == (0.2, 1.0, 2.5, 5)
    assert (config.drop_path, config.budget_minutes, config.thaw) == (0.1, 15.0, "gradual")
    assert (config.class_weights, config.halve_batch, config.keep) == ("balanced", True, "all")
    with pytest.raises(ConfigError, match="correct twice"):
        filled(class_weights="balanced", sampling="balanced")


# ---- Settings from elsewhere ----------------------------------------------------------------------------------

SOME = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["resnet18", "resnet20"]),
        "width": st.integers(8, 512),
        "residual": st.booleans(),
        "zero_init_residual": st.booleans(),
        "pretrained": st.booleans(),
        "thaw": st.sampled_from(["", "gradual", "layer4@3,layer3@5"]),
        "epochs": st.integers(1, 10_000),
        "budget_minutes": st.floats(0, 1e5),
        "batch_size": st.integers(2, 65_536),
        "learning_rate": st.floats(1e-9, 100),
        "weight_decay": st.floats(0, 10),
        "label_smoothing": st.floats(0, 0.9),
        "mixup": st.floats(0, 10),
        "drop_path": st.floats(0, 0.9),
        "patience": st.integers(0, 10_000),
        "ema_decay": st.floats(0, 0.99),
        "compile": st.booleans(),
        "halve_batch": st.booleans(),
        "flip_average": st.booleans(),
        "image_size": st.integers(8, 64),
        "resize": st.integers(64, 2048),
        "seed": st.integers(0, 2**63 - 1),
        "name": st.text(st.characters(codec="utf-8"), max_size=20),
        "preset": st.sampled_from([*PRESETS, "of a later version"]),
        "init_from": st.just("runs/best.safetensors"),
    },
)


@given(settings=SOME)
def test_what_is_loaded_and_started_again_loses_nothing(settings: dict[str, Any]):
    if "init_from" in settings:
        settings["pretrained"] = False
    config = TrainConfig(**settings)
    values, others = form_from_config(config)
    again = config_from_form(values, others=others)
    if config.preset in PRESETS and again.preset == config.preset:
        assert again == config
    assert again.replace(preset=config.preset) == config


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_run_of_a_preset_shows_as_that_preset(preset: str):
    config = make_config(preset)
    values, others = form_from_config(config)
    assert dict(zip(FIELDS, values, strict=True))["preset"] == preset
    assert others == ""


def test_a_clone_of_a_branch_begins_anew():
    config = TrainConfig(forked_from="20260101-000000-x/3", epochs=4)
    values, others = form_from_config(config)
    assert config_from_form(values, others=others) == config.replace(forked_from="")


@pytest.mark.parametrize("others", ["{", "[]", "3", '{"epochs": 3}', '{"init_from": "x", "name": "y"}'])
def test_what_travels_beside_the_form_cannot_reach_into_it(others: str):
    with pytest.raises(ConfigError, match="damaged"):
        read_others(others)


def test_files_of_this_machine_are_named_only_from_it(services: Services, monkeypatch: pytest.MonkeyPatch):
    form = {**dict.fromkeys(FIELDS, ""), **UNTOUCHED}
    config = TrainConfig(init_from="/etc/passwd")
    assert fill(services, config, None)[2 + FIELDS.index("init_from")] == "/etc/passwd"
    monkeypatch.setattr(services, "local", False)
    with pytest.raises(ConfigError, match="only people at it"):
        fill(services, config, None)
    assert fill(services, TrainConfig(init_from="flowers"), None)[2 + FIELDS.index("init_from")] == "flowers"
    shared = to_be_shared(services, TrainConfig(init_from=str(SHIPPED), dataset="/home/me/x"))
    assert (shared.init_from, shared.dataset) == ("flowers", "x"), "what is saved can be loaded again"
    for path in ("/etc/passwd", str(SHIPPED)):
        with pytest.raises(CheckpointError, match="There is no model"):
            wanted(services, None, "", "", *({**form, "init_from": path}[field] for field in FIELDS))


def test_a_training_starts_from_a_model_of_the_list_and_goes_on_with_its_network(services: Services):
    assert ("Flowers (shipped)", "flowers") in start_choices(services)
    assert not any(name.startswith("imagenet") for _, name in start_choices(services)), "that is the box below"
    form = {**dict.fromkeys(FIELDS, ""), **UNTOUCHED, "init_from": "flowers"}
    config = wanted(services, None, "", "", *(form[field] for field in FIELDS))
    assert (config.model, config.width, config.init_from) == ("resnet18", 48, str(SHIPPED))
    shown = fill(services, config, None)
    assert shown[2 + FIELDS.index("init_from")] == "flowers", "a name reads better than its file"


def test_somebody_elsewhere_cannot_ask_for_more_than_the_machine_has():
    for field in ("processes", "num_threads"):
        much = TrainConfig(**{field: read_cores().usable + 1})
        check_allowed(much, local=True)
        check_allowed(TrainConfig(**{field: 1}), local=False)
        with pytest.raises(ConfigError, match=f"{field} must be at most"):
            check_allowed(much, local=False)


def test_where_a_run_came_from_cannot_be_made_up():
    assert read_others('{"forked_from": "20260101-000000-x/3", "width": 32}') == {"width": 32}


def test_a_name_that_no_list_has_room_for_is_refused(services: Services):
    form = {**dict.fromkeys(FIELDS, ""), **UNTOUCHED}
    for name in ("x" * 80, ""):
        check_name(name)
        assert wanted(services, None, "", "", *({**form, "name": name}[field] for field in FIELDS)).name == name
    with pytest.raises(ConfigError, match="at most 80 characters"):
        wanted(services, None, "", "", *({**form, "name": "x" * 81}[field] for field in FIELDS))


@pytest.mark.parametrize("folder", ["/home/me/pictures/meadow", "C:\\Users\\me\\meadow", "data/own/meadow/"])
def test_people_elsewhere_see_no_folders_of_this_machine(folder: str):
    config = TrainConfig(dataset=folder, init_from=f"{folder}/best.safetensors", epochs=4)
    assert shareable(config, local=True) == config
    shown = shareable(config, local=False)
    assert (shown.dataset, shown.init_from, shown.epochs) == ("meadow", "best.safetensors", 4)
    event = {"event": "RunStarted", "settings": config.to_json(), "epochs": 4}
    assert shareable_event(event, local=True) == event
    assert shareable_event(event, local=False) == {**event, "settings": shown.to_json()}
    assert event["settings"] == config.to_json(), "what was read stays as it was"
    other = {"event": "Changed", "settings": {"epochs": 9}}
    assert shareable_event(other, local=False) == other
    assert shareable(TrainConfig(), local=False) == TrainConfig()


def test_settings_without_a_field_are_said():
    _, others = form_from_config(TrainConfig(width=32, momentum=0.8))
    assert json.loads(others)["width"] == 32
    assert others_in_words(others, "en") == "Also set: width 32, momentum 0.8."
    assert others_in_words("", "en") == ""


def test_a_folder_that_is_no_named_data_set_goes_into_its_box(services: Services, meadow: Path):
    folder, _, dataset, *_ = fill(services, TrainConfig(dataset=str(meadow)), None)
    assert folder == str(meadow)
    assert dataset != str(meadow)
    assert fill(services, TrainConfig(), None)[0] == ""


def test_loaded_settings_put_away_a_zip_whose_pictures_would_win(services: Services):
    assert fill(services, TrainConfig(), None)[-1] is None
    assert len(fill(services, TrainConfig(), None)) == len(FIELDS) + 3

    async def made() -> tuple[gr.Blocks, StartForm]:  # outside a loop Gradio opens two and never closes them
        with gr.Blocks() as page, gr.Row():
            form = start_form(services)
            settings_section(services, form, gr.Textbox())
        return page, form

    page, form = asyncio.run(made())
    boxes = {form.own_zip, form.own_folder}
    filling = [call for call in page.fns.values() if form.others in call.outputs and boxes & set(call.outputs)]
    assert [form.own_zip in call.outputs for call in filling] == [True] * 3, "a preset, a file and a clone"
    chosen = [call for call in page.fns.values() if (form.fields["dataset"]._id, "input") in call.targets]
    assert [(set(call.outputs), call.fn()) for call in chosen if call.fn] == [(boxes, (None, ""))]


def test_a_zip_that_is_refused_leaves_no_copy(services: Services, tmp_path: Path):
    uploads, form = services.data_dir / "uploads", {**dict.fromkeys(FIELDS, ""), **UNTOUCHED}
    one, two = tmp_path / "one.zip", tmp_path / "two.zip"
    for path, classes in ((one, ["cat"]), (two, ["cat", "dog"])):
        with zipfile.ZipFile(path, "w") as opened:
            for name in classes:
                for number in range(2):
                    opened.writestr(f"{name}/{number}.png", f"{name}{number}")

    def asked(path: Path, **changes: Any) -> TrainConfig:
        return wanted(services, str(path), "", "", *({**form, **changes}[field] for field in FIELDS))

    with pytest.raises(DatasetError, match="only one class"):
        asked(one)
    with pytest.raises(ConfigError, match="Epochs"):
        asked(two, epochs="0")
    assert not uploads.exists()
    assert Path(asked(two).dataset).parent == uploads


def test_somebody_elsewhere_cannot_load_a_folder_of_this_machine(services: Services, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(services, "local", False)
    with pytest.raises(ConfigError, match="not here"):
        fill(services, TrainConfig(dataset="/home/me/pictures"), None)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a b", "…", "", "-" * 300, "ok.v2"])
def test_a_files_name_is_harmless(name: str):
    stem = file_stem(TrainConfig(name=name, dataset="x/../y"))
    assert stem
    assert len(stem) <= 60
    assert "/" not in stem
    assert not stem.startswith((".", "-"))


# ---- The plan -------------------------------------------------------------------------------------------------


def plan_of(services: Services, folder: Path | None = None, **changes: Any) -> str:
    form = {**dict.fromkeys(FIELDS, ""), **UNTOUCHED, **changes}
    values = (None, str(folder or ""), "", *(form[field] for field in FIELDS))
    return plan_html(services, DatasetsAtHand(services), values, "en")


def test_the_plan_says_what_will_be_and_draws_it(services: Services, meadow: Path):
    told = plan_of(services, meadow, epochs="6", thaw="layer3@2,layer2@4")
    assert "meadow: ResNet-20 (CIFAR), 32 px, 6 epochs of" in told
    assert str(meadow.parent) not in told
    assert '<svg class="plan-picture"' in told
    assert told.count('class="plan-frozen"') == 4
    assert told.count('class="plan-learns"') == 2
    assert "Optimizer: sgd" in told


def test_what_cannot_start_says_why_instead(services: Services, meadow: Path):
    told = plan_of(services, meadow, learning_rate="fast")
    assert "Learning rate must be a number" in told
    assert "<svg" not in told
    assert "There is no data set" in plan_of(services, meadow / "nothing")


def test_a_budget_is_told_and_not_drawn(services: Services, meadow: Path):
    told = plan_of(services, meadow, budget_minutes="15")
    assert "meadow, 15 minutes" in told
    assert "<svg" not in told


def test_nothing_typed_gets_out_of_the_plan_as_a_script(services: Services):
    told = plan_of(services, Path("<img src=x onerror=alert(1)>${alert(1)}"))
    assert "<img" not in told
    assert "${" not in told


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"epochs": 1}, {"epochs": 300}, {"schedule": "constant"}, {"thaw": GRADUAL},
     {"start_image_size": 16, "image_size": 64, "resize": 64, "augment": "standard"}],
    ids=str,
)  # fmt: skip
def test_every_plan_is_a_sound_picture(settings: dict[str, Any], language: str):
    import xml.etree.ElementTree as ElementTree

    from resnet_core.data.datasets import rendered_flowers
    from resnet_core.device import choose_device
    from resnet_core.training.preview import preview

    where = choose_device("cpu", precision="fp32", num_threads=1, memory_format="contiguous")
    planned = preview(TrainConfig(model="resnet20", **settings), rendered_flowers(train=4, val=1, size=64), where)
    picture = ElementTree.fromstring(plan_picture(planned, language))
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    for line in picture.iter("polyline"):
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
    assert summary(planned, language) in picture.attrib["aria-label"]


def test_the_curve_of_a_scan_marks_the_suggestion():
    rates = tuple(10 ** (-6 + 0.07 * n) for n in range(100))
    picture = scan_picture(rates, tuple(2.0 - 0.01 * n for n in range(100)), 0.012, "en")
    assert 'class="plan-mark"' in picture
    assert "0.012" in picture
    assert "1e-6" in picture
    assert "plan-mark" not in scan_picture(rates, (1.0,) * 100, None, "en")
    assert scan_picture((), (), None, "en") == ""


# ---- The run elsewhere ----------------------------------------------------------------------------------------


def test_a_run_gives_its_script_once_it_has_begun(services: Services, meadow: Path):
    settings = {"dataset": str(meadow), "model": "resnet20", "image_size": 16, "epochs": 1, "num_threads": 1}
    run = services.runner.start(TrainConfig(**settings))
    assert services.runner.wait(120)
    script = script_of(services.store.get(run.run_id))
    compile(script, "train.py", "exec")
    assert "'model': 'resnet20'" in script
    waiting = services.store.create(TrainConfig(**settings))
    with pytest.raises(RunError, match="not chosen its settings yet"):
        script_of(waiting)


def test_a_run_that_is_gone_has_no_command_line_and_nobody_is_bothered(services: Services):
    async def made() -> gr.Blocks:
        with gr.Blocks() as page:
            repeat_section(services, gr.Textbox())
        return page

    line = next(call.fn for call in asyncio.run(made()).fns.values() if call.fn and call.fn.__name__ == "line")
    run = services.store.create(TrainConfig(dataset="/home/me/meadow"))
    assert "/home/me/meadow" in line(run.run_id)
    services.local = False
    try:
        assert "/home/me" not in line(run.run_id)
    finally:
        services.local = True
    assert line("gone") == ""


# ---- Before torch is there ------------------------------------------------------------------------------------

BUILD = """
import sys
from pathlib import Path
from demo.services import Services
from demo.ui import build
from resnet_core.training.config import TrainConfig
services = Services(data_dir=Path(sys.argv[1]), runs_dir=Path(sys.argv[2]))
services.store.create(TrainConfig(name="earlier"))
build(services)
assert "torch" not in sys.modules, "the page would wait for it"
"""


def test_the_page_is_built_without_torch(tmp_path: Path):
    ended = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path / "data"), str(tmp_path / "runs")],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_the_devices_are_those_of_torch_once_it_is_there(services: Services):
    assert device_choices(services)["choices"] == list(offered_devices())
    assert set(DEVICES) <= set(offered_devices())
