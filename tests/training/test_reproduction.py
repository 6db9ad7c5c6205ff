"""A command line that means the same run, and a train.py that repeats it without ResNet Lab."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from resnet_core.cli import build_parser
from resnet_core.commands.training import _new_or_resumed
from resnet_core.data.datasets import load_dataset, rendered_flowers
from resnet_core.data.rendered_files import write_rendered
from resnet_core.errors import ConfigError
from resnet_core.inference.starting import started_from
from resnet_core.training.command_line import quoted, quoted_for_windows, train_command
from resnet_core.training.config import (
    AUGMENTATIONS,
    FREEZE,
    KEEP,
    MEMORY_FORMATS,
    OPTIMIZERS,
    SCHEDULES,
    TrainConfig,
)
from resnet_core.training.engine import fit
from resnet_core.training.events import EpochEnded, RunStarted
from resnet_core.training.presets import PRESETS, make_config
from resnet_core.training.reproduction import write_train_script
from resnet_core.training.runs import RunStore

Quick = Callable[..., TrainConfig]

words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
SETTINGS = {
    "dataset": words.filter(bool),
    "model": st.sampled_from(["resnet18", "resnet20", "tutorial-cifar"]),
    "stem": st.sampled_from(["imagenet", "small"]),
    "width": st.integers(8, 512),
    "as_published": st.booleans(),
    "residual": st.booleans(),
    "zero_init_residual": st.booleans(),
    "pretrained": st.booleans(),
    "freeze": st.sampled_from(FREEZE),
    "thaw": st.sampled_from(["", "gradual", "layer4@3,layer3@5"]),
    "epochs": st.integers(1, 10_000),
    "budget_minutes": st.floats(0, 1e5),
    "batch_size": st.integers(2, 65_536),
    "learning_rate": st.floats(1e-9, 100),
    "optimizer": st.sampled_from(OPTIMIZERS),
    "momentum": st.floats(0, 0.9999),
    "weight_decay": st.floats(0, 10),
    "schedule": st.sampled_from(SCHEDULES),
    "warmup": st.floats(0, 0.9),
    "label_smoothing": st.floats(0, 0.9),
    "class_weights": st.sampled_from(["none", "balanced"]),
    "max_pictures": st.integers(2, 10**9),
    "mixup": st.floats(0, 10),
    "cutmix": st.floats(0, 10),
    "drop_path": st.floats(0, 0.9),
    "clip_norm": st.floats(0, 1e6),
    "patience": st.integers(0, 10_000),
    "ema_decay": st.floats(0, 0.99),
    "augment": st.sampled_from(AUGMENTATIONS[3:]),
    "image_size": st.integers(48, 64),
    "resize": st.integers(64, 2048),
    "start_image_size": st.integers(8, 48),
    "normalize": st.sampled_from(["imagenet", "none"]),
    "rendered_share": st.floats(0, 10),
    "flip_average": st.booleans(),
    "device": words,
    "precision": st.sampled_from(["auto", "fp32", "bf16"]),
    "memory_format": st.sampled_from(MEMORY_FORMATS),
    "compile": st.booleans(),
    "halve_batch": st.booleans(),
    "num_threads": st.integers(1, 1024),
    "processes": st.integers(1, 64),
    "seed": st.integers(0, 2**63 - 1),
    "keep": st.sampled_from(KEEP),
    "name": words,
}
some_settings = st.fixed_dictionaries({}, optional=SETTINGS)


def parsed(command: list[str], folder: Path) -> TrainConfig:
    assert command[:4] == ["python", "-m", "resnet_core", "train"]
    options = build_parser().parse_args([*command[3:], "--runs-dir", str(folder)])
    return _new_or_resumed(options, RunStore(folder))[0]


def test_every_setting_is_tried_here() -> None:
    said_otherwise = {"preset", "forked_from", "init_from", "sampling"}
    assert set(SETTINGS) == set(TrainConfig().to_json()) - said_otherwise


@given(settings=some_settings, preset=st.sampled_from(sorted(PRESETS)))
def test_the_command_line_is_read_back_as_the_same_settings(
    settings: dict[str, Any], preset: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        config = make_config(preset, **settings)
    except ConfigError:  # the preset's sizes and this one's do not go together
        return
    assert parsed(train_command(config), tmp_path_factory.getbasetemp()) == config


@given(settings=some_settings, preset=st.sampled_from(sorted(PRESETS)))
def test_settings_that_a_preset_would_overrule_are_told_without_it(
    settings: dict[str, Any], preset: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = TrainConfig(**settings, preset=preset)
    again = parsed(train_command(config), tmp_path_factory.getbasetemp())
    assert again.replace(preset=preset) == config


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
def test_the_line_survives_a_shell() -> None:
    config = TrainConfig(dataset="my flowers; rm -rf '$HOME'", name='-"quoted" `x` $(y)')
    line = quoted(train_command(config)).replace("python -m resnet_core", "printf '%s\\n'", 1)
    told = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout.splitlines()
    assert told == train_command(config)[3:]


def past_cmd(line: str) -> str:
    """What cmd.exe hands to a program: outside of quotes a caret takes the meaning of what follows."""
    told, quoting, letters = "", False, iter(line)
    for letter in letters:
        if letter == "^" and not quoting:
            told += next(letters)
            continue
        assert letter != "%", "cmd would put in a variable"
        assert quoting or letter not in "&|<>()", "cmd would act on it"
        quoting ^= letter == '"'
        told += letter
    assert not quoting
    return told


def as_words(line: str) -> list[str]:
    """How programs on Windows take such a line apart, by Microsoft's rules of backslashes and quotation marks."""
    words = []
    for match in re.finditer(r'(?:[^\s"\\]|\\+"?|"(?:[^"\\]|\\+"?)*")+', line):
        word = match[0].replace("\\\\", "\0").replace('\\"', "\1").replace('"', "")
        words.append(word.replace("\0", "\\").replace("\1", '"'))
    return words


@given(name=st.text(alphabet="a1 &|<>()^%\"!'", min_size=1, max_size=12))
def test_the_line_survives_the_shell_of_windows(name: str) -> None:
    words = ["--name", name, "--seed", "3"]
    assert as_words(past_cmd(quoted_for_windows(words))) == words


def test_a_path_with_an_ampersand_is_in_quotes_its_last_backslashes_doubled() -> None:
    assert quoted_for_windows(["a&b\\", "c (d)", "plain", ""]) == '"a&b\\\\" "c (d)" plain ""'


def test_an_untouched_run_is_the_bare_command() -> None:
    assert quoted(train_command(TrainConfig())) == "python -m resnet_core train"
    assert train_command(make_config("flowers")) == ["python", "-m", "resnet_core", "train", "--preset", "flowers"]


def test_a_checkpoint_to_start_from_is_named_and_its_network_not_taken_twice(tmp_path: Path) -> None:
    start = Path(__file__).parents[2] / "assets" / "flowers.safetensors"
    config = started_from(TrainConfig(init_from="flowers"), RunStore(tmp_path / "runs"), allow_paths=False)
    assert config.init_from == str(start.resolve())
    assert config.width == 48
    assert parsed(train_command(config), tmp_path) == config


def test_balanced_sampling_has_its_option(tmp_path: Path) -> None:
    assert parsed(train_command(TrainConfig(sampling="balanced")), tmp_path).sampling == "balanced"


# ---- train.py -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flower_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("flowers")
    return write_rendered(home, dataset=rendered_flowers(train=6, val=2, size=40))


def ours(config: TrainConfig, folder: Path) -> tuple[RunStarted, list[tuple[float, float, float]]]:
    """The first event, and train loss, val loss and val accuracy of each epoch."""
    events = list(fit(config, load_dataset(str(folder), data_dir=folder)))
    started = events[0]
    assert isinstance(started, RunStarted), events
    return started, [(e.train_loss, e.val_loss, e.val_top1) for e in events if isinstance(e, EpochEnded)]


def told(printed: str) -> list[tuple[float, ...]]:
    rows = re.findall(r"train loss ([\d.]+), val loss ([\d.]+), val accuracy ([\d.]+)", printed)
    return [tuple(map(float, row)) for row in rows]


def script_for(started: RunStarted) -> str:
    return write_train_script(TrainConfig.from_json(started.settings), device=started.device)


@pytest.mark.parametrize(
    "settings",
    [
        {"augment": "none", "optimizer": "adam", "learning_rate": 1e-3, "schedule": "step", "flip_average": False},
        {"augment": "standard", "ema_decay": 0.9, "start_image_size": 16, "image_size": 32, "resize": 36},
        {"augment": "crop-flip", "mixup": 0.2, "cutmix": 1.0, "clip_norm": 0.5, "class_weights": "balanced"},
        {"sampling": "balanced", "max_pictures": 20, "schedule": "cosine", "residual": False, "normalize": "none"},
        {"model": "resnet18", "width": 8, "freeze": "layer1", "optimizer": "adamw", "stem": "small"},
        {"model": "resnet50", "width": 8, "image_size": 32, "resize": 32, "zero_init_residual": False, "epochs": 1},
    ],
    ids=str,
)
def test_the_script_learns_what_the_run_learned(
    settings: dict[str, Any],
    quick: Quick,
    flower_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started, expected = ours(quick(**settings, dataset=str(flower_folder)), flower_folder)
    monkeypatch.chdir(tmp_path)
    script: dict[str, Any] = {"__name__": "train"}
    exec(compile(script_for(started), "train.py", "exec"), script)
    script["main"](str(flower_folder))
    printed = told(capsys.readouterr().out)
    assert len(printed) == len(expected)
    for mine, theirs in zip(printed, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=2e-5)


def test_it_starts_from_the_same_weights(quick: Quick, flower_folder: Path) -> None:
    import torch

    from resnet_core.training.session import Session

    session = Session(quick(model="resnet18", width=16), load_dataset(str(flower_folder), data_dir=flower_folder))
    script: dict[str, Any] = {"__name__": "train"}
    exec(compile(write_train_script(session.config), "train.py", "exec"), script)
    theirs = script["build"](5).state_dict()
    for name, tensor in session.model.state_dict().items():
        assert torch.equal(theirs[name], tensor), name


def test_alone_in_another_process_it_learns(quick: Quick, flower_folder: Path, tmp_path: Path) -> None:
    started, expected = ours(quick(epochs=2, augment="standard"), flower_folder)
    text = script_for(started)
    assert "resnet_core" not in {alias.name for node in ast.walk(ast.parse(text)) for alias in _imported(node)}
    (tmp_path / "train.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-I", "train.py", str(flower_folder)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert ended.returncode == 0, ended.stderr
    assert told(ended.stdout)[0] == pytest.approx(expected[0], rel=2e-3, abs=1e-4)
    assert (tmp_path / "best.pt").is_file()


def _imported(node: ast.AST) -> list[ast.alias]:
    if isinstance(node, ast.Import):
        return node.names
    return [ast.alias(name=str(node.module).split(".")[0])] if isinstance(node, ast.ImportFrom) else []


RESOLVED = TrainConfig(
    model="resnet18", stem="imagenet", width=64, zero_init_residual=True, epochs=3, batch_size=8, learning_rate=0.1,
    optimizer="sgd", weight_decay=0.0, schedule="one-cycle", label_smoothing=0.1, ema_decay=0.0, augment="flip",
    image_size=64, resize=64, normalize="imagenet", flip_average=True, precision="fp32",
    memory_format="channels-last", compile=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("optimizer", "muon"), ("augment", "strong"), ("augment", "shift-flip"), ("drop_path", 0.1),
        ("thaw", "layer4@2"), ("rendered_share", 0.1), ("model", "resnet8"), ("model", "tutorial-cifar"),
        ("init_from", "runs/best.safetensors"), ("forked_from", "20260101-000000-x/3"),
    ],
)  # fmt: skip
def test_what_plain_code_cannot_repeat_is_refused_by_name(setting: str, value: Any) -> None:
    write_train_script(RESOLVED)
    with pytest.raises(ConfigError, match=f"cannot repeat this run: {setting} is "):
        write_train_script(RESOLVED.replace(**{setting: value}))


def test_a_run_that_was_changed_while_it_was_on_is_refused() -> None:
    with pytest.raises(ConfigError, match="learning_rate changed"):
        write_train_script(RESOLVED, changed=("learning_rate",))


def test_what_is_left_out_is_said_in_the_header() -> None:
    text = write_train_script(RESOLVED.replace(compile=True, halve_batch=True, dataset="cifar10"), device="cuda:1")
    header = ast.get_docstring(ast.parse(text)) or ""
    assert all(word in header for word in ("compile", "halve_batch", "unpack", "ResNet-18 on cifar10"))
    assert "'device': 'cuda'" in text


@hypothesis_settings(max_examples=30)
@given(dataset=words)
def test_a_strange_name_of_a_folder_never_breaks_the_script(dataset: str) -> None:
    compile(write_train_script(RESOLVED.replace(dataset=f'{dataset}\\"""{dataset}')), "train.py", "exec")


def test_a_choice_among_rendered_pictures_is_refused_as_files_have_other_names(quick: Quick) -> None:
    with pytest.raises(ConfigError, match="max_pictures is 20 of the rendered flowers"):
        write_train_script(quick(max_pictures=20, augment="none"))
