"""The fastest engine that answers as the plain network does is chosen, remembered, and never believed blindly."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import small_network
from torch import Tensor, nn

from resnet_core.errors import ConfigError
from resnet_core.inference import engine_choice
from resnet_core.inference.engine_choice import Question, ask, check_family, choose_engine, remembered_at
from resnet_core.inference.engines import Candidate, PlainEngine, list_candidates
from resnet_core.inference.plan import UnknownNetwork

CPU = torch.device("cpu")
PLAIN_SECONDS = 0.1


class Fake:
    """Answers as the plain network does, changed by `spoil`, and claims to take so long."""

    def __init__(self, plain: PlainEngine, name: str, seconds: float, spoil: Callable[[Tensor], Tensor]) -> None:
        self.plain, self.name, self.seconds, self.spoil = plain, name, seconds, spoil

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.spoil(self.plain(inputs))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def plain() -> PlainEngine:
    return PlainEngine(small_network("resnet20", {}), CPU)


@pytest.fixture
def question(plain: PlainEngine) -> Question:
    return ask(plain.model, size=32, device=CPU)


@pytest.fixture
def offer(plain: PlainEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Puts fakes in place of the real candidates; gives back the list of those that were built."""
    monkeypatch.setattr(engine_choice, "_seconds", lambda engine, _: getattr(engine, "seconds", PLAIN_SECONDS))

    def put(*fakes: tuple[str, float, Any]) -> list[str]:
        built: list[str] = []

        def candidate(name: str, seconds: float, what: Any) -> Candidate:
            def build() -> Fake:
                built.append(name)
                if isinstance(what, Exception):
                    raise what
                return Fake(plain, name, seconds, what)

            return Candidate(name=name, build=build)

        candidates = tuple(candidate(*fake) for fake in fakes)
        monkeypatch.setattr(engine_choice, "list_candidates", lambda *_, **__: candidates)
        return built

    return put


def same(logits: Tensor) -> Tensor:
    return logits


SPOILED: dict[str, Callable[[Tensor], Tensor]] = {
    "another order": lambda logits: logits.flip(1),
    "noise": lambda logits: logits + torch.linspace(-0.5, 0.5, logits.shape[1]),
    "scaled": lambda logits: logits * 1.01,
    "not a number": lambda logits: logits * torch.nan,
    "infinite": lambda logits: logits + torch.inf,
    "a class too few": lambda logits: logits[:, :-1],
    "one answer for all": lambda logits: logits.mean(0, keepdim=True) * 0,
}


def test_the_fastest_wins(plain: PlainEngine, question: Question, offer: Callable[..., list[str]]) -> None:
    built = offer(("a", 0.09, same), ("b", 0.085, same), ("c", 0.088, same))
    choice = choose_engine(plain, question)
    assert (choice.name, choice.engine.name) == ("b", "b")
    assert "85.0 ms a picture instead of 100.0" in choice.reason
    assert built == ["a", "b", "c"]


def test_one_that_is_good_enough_ends_the_race(
    plain: PlainEngine, question: Question, offer: Callable[..., list[str]]
) -> None:
    built = offer(("a", 0.05, same), ("b", 0.01, same))
    assert choose_engine(plain, question).name == "a"
    assert built == ["a"]


def test_what_is_hardly_faster_does_not_replace_the_network(
    plain: PlainEngine, question: Question, offer: Callable[..., list[str]]
) -> None:
    offer(("a", 0.097, same), ("b", 0.3, same))
    choice = choose_engine(plain, question)
    assert choice.engine is plain
    assert "no other was clearly faster" in choice.reason


@pytest.mark.parametrize("how", SPOILED)
def test_wrong_answers_are_never_chosen_however_fast(
    how: str, plain: PlainEngine, question: Question, offer: Callable[..., list[str]]
) -> None:
    offer(("fast", 0.001, SPOILED[how]), ("right", 0.05, same))
    choice = choose_engine(plain, question)
    assert choice.name == "right"
    assert "fast answered differently" in choice.reason


def test_bf16_may_be_as_coarse_as_it_is_and_no_coarser(
    plain: PlainEngine, question: Question, offer: Callable[..., list[str]]
) -> None:
    offer(("some-bf16", 0.05, lambda logits: logits.bfloat16().float()))
    assert choose_engine(plain, question).name == "some-bf16"
    remembered_at(question).unlink()
    offer(("some-bf16", 0.05, lambda logits: logits + torch.linspace(-0.3, 0.3, logits.shape[1])))
    assert choose_engine(plain, question).engine is plain


def test_an_untrained_network_whose_probabilities_are_all_alike_still_tells_wrong_from_right(
    offer: Callable[..., list[str]],
) -> None:
    model = small_network("resnet20", {})
    with torch.no_grad():
        model.fc.weight.mul_(1e-4)
    plain = PlainEngine(model, CPU)
    offer(("fast", 0.001, lambda logits: logits.flip(0)))
    assert choose_engine(plain, ask(model, size=32, device=CPU)).engine is plain


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ModuleNotFoundError("No module named 'openvino'"), "openvino is not installed"),
        (ImportError("libtbb.so.12: cannot open shared object file"), "openvino does not load"),
        (UnknownNetwork("x"), "openvino does not know this network"),
        (RuntimeError("exception from src/inference/…"), "openvino does not run here (RuntimeError)"),
        (MemoryError(), "openvino does not run here (MemoryError)"),
    ],
)
def test_what_cannot_be_built_is_named_and_left_out(
    error: Exception, sentence: str, plain: PlainEngine, question: Question, offer: Callable[..., list[str]]
) -> None:
    offer(("openvino", 0.01, error), ("folded", 0.05, same))
    choice = choose_engine(plain, question)
    assert choice.name == "folded"
    assert choice.reason == f"Engine: folded, 50.0 ms a picture instead of 100.0; {sentence}."
    asked = choose_engine(plain, question, requested="openvino")
    assert asked.reason == f"Engine: folded, {sentence}."


def test_the_real_openvino_missing_leaves_the_folded_network(
    plain: PlainEngine, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    choice = choose_engine(plain, question, requested="openvino")
    assert choice.engine.name == "folded"
    assert "openvino is not installed" in choice.reason
    assert "openvino is not installed" in choose_engine(plain, question).reason


def test_a_person_gets_what_is_asked_for_fast_or_not(
    plain: PlainEngine, question: Question, offer: Callable[..., list[str]]
) -> None:
    offer(("openvino", 0.01, same), ("folded-bf16", 0.9, SPOILED["noise"]), ("folded", 0.9, same))
    assert choose_engine(plain, question, requested="folded").reason == "Engine: folded, as asked."
    assert choose_engine(plain, question, requested="plain").engine is plain
    for name in ("fast", "", "OPENVINO", "onnxruntime"):
        with pytest.raises(ConfigError, match="use one of auto, plain, folded, openvino"):
            choose_engine(plain, question, requested=name)
        with pytest.raises(ConfigError):
            check_family(name)


class Nothing(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.full((len(images), 3), torch.nan)


def test_a_network_without_numbers_stays_plain(offer: Callable[..., list[str]]) -> None:
    built = offer(("a", 0.01, same))
    plain = PlainEngine(Nothing(), CPU)
    choice = choose_engine(plain, ask(plain.model, size=8, device=CPU))
    assert choice.engine is plain
    assert "not numbers" in choice.reason
    assert not built


def test_a_network_of_another_kind_stays_plain(question: Question) -> None:
    plain = PlainEngine(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)), CPU)
    choice = choose_engine(plain, ask(plain.model, size=8, device=CPU), requested="folded")
    assert choice.engine is plain
    assert "does not know this network" in choice.reason


# ---- What is remembered -----------------------------------------------------------------------------------------


def test_the_second_time_nobody_races(
    plain: PlainEngine, question: Question, offer: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(("a", 0.09, same), ("b", 0.05, same))
    first = choose_engine(plain, question)
    built = offer(("a", 0.01, same), ("b", 0.09, same))
    monkeypatch.setattr(engine_choice._Race, "run", lambda *_: pytest.fail("a second race"))
    again = choose_engine(plain, question)
    assert (again.name, again.reason) == (first.name, first.reason)
    assert built == ["b"]


def test_that_nothing_is_faster_is_remembered_too(
    plain: PlainEngine, question: Question, offer: Callable[..., list[str]]
) -> None:
    offer(("a", 0.2, same))
    choose_engine(plain, question)
    built = offer(("a", 0.01, same))
    assert choose_engine(plain, question).engine is plain
    assert not built


def test_other_weights_for_which_it_is_wrong_or_gone_start_another_race(
    plain: PlainEngine, question: Question, offer: Callable[..., list[str]]
) -> None:
    offer(("a", 0.05, same))
    assert choose_engine(plain, question).name == "a"
    offer(("a", 0.05, SPOILED["noise"]), ("b", 0.05, same))
    assert choose_engine(plain, question).name == "b"
    offer(("c", 0.05, same))
    assert choose_engine(plain, question).name == "c"


@pytest.mark.parametrize(
    "field", ["architecture", "arguments", "size", "device", "precision", "processor", "threads", "libraries"]
)
def test_another_question_is_asked_anew(field: str, question: Question) -> None:
    content = {**vars(question), field: 7 if field in ("size", "threads") else "other"}
    assert remembered_at(Question(**content)) != remembered_at(question)


def _with_other_question(content: dict[str, Any]) -> str:
    return json.dumps({**content, "question": {**content["question"], "size": 99}})


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "",
        lambda _: "{",
        lambda _: "[]",
        lambda _: "null",
        lambda _: "\0" * 100,
        lambda _: "[" * 60_000,
        lambda content: json.dumps({**content, "engine": "../evil"}),
        lambda content: json.dumps({**content, "engine": ["a"]}),
        lambda content: json.dumps({"engine": "plain"}),
        lambda content: json.dumps(content) + " " * 70_000,
        _with_other_question,
    ],
)
def test_a_damaged_memory_is_no_memory(
    damage: Callable[[dict[str, Any]], str],
    plain: PlainEngine,
    question: Question,
    offer: Callable[..., list[str]],
) -> None:
    offer(("a", 0.2, same), ("b", 0.2, same))
    choose_engine(plain, question)
    path = remembered_at(question)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["engine"] == "plain"
    path.write_text(damage(content), encoding="utf-8")
    offer(("a", 0.05, same))
    assert choose_engine(plain, question).name == "a"
    assert json.loads(path.read_text(encoding="utf-8"))["engine"] == "a"


def test_a_folder_that_cannot_be_written_is_left_alone(
    cache: Path, plain: PlainEngine, question: Question, offer: Callable[..., list[str]]
) -> None:
    cache.write_text("in the way", encoding="utf-8")
    offer(("a", 0.05, same))
    assert choose_engine(plain, question).name == "a"
    assert choose_engine(plain, question).name == "a"


def test_a_race_cut_short_is_not_remembered(
    plain: PlainEngine, question: Question, offer: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_choice, "RACE_SECONDS", -1.0)
    built = offer(("a", 0.2, same), ("b", 0.01, same))
    assert choose_engine(plain, question).engine is plain
    assert built == ["a"]  # the first is always tried
    assert not remembered_at(question).exists()


# ---- The candidates ---------------------------------------------------------------------------------------------


def test_the_real_candidates_agree_with_the_network(plain: PlainEngine) -> None:
    images = torch.randn(2, 3, 32, 32)
    for candidate in list_candidates(plain.model, CPU, precision="fp32"):
        try:
            engine = candidate.build()
        except ImportError:
            assert candidate.family == "openvino"
            continue
        assert engine.name.split("-")[0] == candidate.family
        assert torch.allclose(engine(images), plain(images), atol=1e-4)


def test_without_the_hardware_and_with_fp32_nothing_computes_in_bf16(
    plain: PlainEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(**options: Any) -> list[str]:
        return [candidate.name for candidate in list_candidates(plain.model, CPU, **options)]

    for bf16 in (False, True):
        monkeypatch.setattr("resnet_core.inference.engines.has_bf16", lambda bf16=bf16: bf16)
        monkeypatch.setattr("resnet_core.inference.engines.computes_bf16", lambda bf16=bf16: bf16)
        assert names(precision="fp32") == ["openvino", "folded", "folded-rows"]
        assert names()[:2] == (["openvino-bf16", "folded-bf16"] if bf16 else ["openvino", "folded"])
