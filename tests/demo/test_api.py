"""The named end points of the real app, called as a program calls them."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_process import ROOT, AppProcess
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

FLOWERS = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
DAISY = ROOT / "assets" / "examples" / "daisy.png"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Iterator[AppProcess]:
    started = AppProcess(tmp_path_factory.mktemp("api"), cache=session_cache)
    try:
        yield started.wait_until_served()
    finally:
        started.kill()


@pytest.fixture(scope="module")
def client(app: AppProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    downloads = str(tmp_path_factory.mktemp("downloads"))
    opened = Client(app.url, verbose=False, analytics_enabled=False, download_files=downloads)
    yield opened
    opened.close()


def refusal(client: Client, *arguments: Any, api_name: str) -> str:
    """The sentence a call is refused with; never a traceback, never a path of the server."""
    with pytest.raises(AppError) as raised:
        client.predict(*arguments, api_name=api_name)
    sentence = str(raised.value)
    assert "Traceback" not in sentence
    assert str(ROOT) not in sentence
    assert "unexpected" not in sentence
    return sentence


def wait_until(client: Client, run_id: str, status: str, *, after: str = "") -> dict[str, Any]:
    """All news of a run, read piece by piece, once it is in that state and the event `after` has happened."""
    events: list[dict[str, Any]] = []
    cursor = 0
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        news = client.predict(run_id, cursor, api_name="/run_events")
        events += news["events"]
        cursor = news["cursor"]
        if news["status"] == status and (not after or after in {event["event"] for event in events}):
            return {**news, "events": events}
    raise AssertionError(f"still {news['status']}")


# Pictures


def test_classify_needs_only_a_picture(client: Client):
    answer = client.predict(handle_file(DAISY), api_name="/classify")
    assert sorted(answer) == ["error", "image", "predictions", "unknown"]
    assert sorted(p["label"] for p in answer["predictions"]) == FLOWERS
    shares = [p["probability"] for p in answer["predictions"]]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert shares == sorted(shares, reverse=True)
    assert answer["error"] is None
    assert answer["image"] == DAISY.name


def test_top_k_limits_the_answers_and_keeps_the_best(client: Client):
    every = client.predict(handle_file(DAISY), api_name="/classify")["predictions"]
    two = client.predict(handle_file(DAISY), "flowers", 2, api_name="/classify")["predictions"]
    assert [p["label"] for p in two] == [p["label"] for p in every[:2]]


def test_many_pictures_are_answered_in_order_and_a_bad_one_does_not_stop_the_rest(client: Client, tmp_path: Path):
    bad = tmp_path / "notes.jpg"
    bad.write_text("only words")
    roses = DAISY.with_name("roses.png")
    answers = client.predict([handle_file(p) for p in (DAISY, bad, roses)], api_name="/classify_many")
    assert [answer["image"] for answer in answers] == ["daisy.png", "notes.jpg", "roses.png"]
    alone = client.predict(handle_file(DAISY), api_name="/classify")["predictions"]
    assert [each["label"] for each in answers[0]["predictions"]] == [each["label"] for each in alone]
    for together, each in zip(answers[0]["predictions"], alone, strict=True):  # a batch rounds in another order
        assert together["probability"] == pytest.approx(each["probability"], abs=1e-5)
    assert answers[1]["predictions"] == []
    assert "notes.jpg is not an image this app can read (looks like text)" in answers[1]["error"]
    assert answers[2]["error"] is None


def test_feature_maps_gives_the_sheet_and_its_facts(client: Client):
    sheet, facts = client.predict(handle_file(DAISY), api_name="/feature_maps")
    assert facts["layer"] == "layer1"
    assert facts["model"] == "flowers"
    with Image.open(sheet) as opened:
        assert opened.width > 300
    assert {"mean", "std", "minimum", "maximum", "zero_share"} <= facts.keys()
    assert facts["minimum"] >= 0  # after a ReLU


def test_feature_maps_of_another_layer_and_scale_differ(client: Client):
    first, _ = client.predict(handle_file(DAISY), "layer2", api_name="/feature_maps")
    shared, _ = client.predict(handle_file(DAISY), "layer2", "flowers", "shared", api_name="/feature_maps")
    with Image.open(first) as one, Image.open(shared) as other:
        assert one.size == other.size
        assert one.tobytes() != other.tobytes()


def test_feature_maps_come_in_any_order_and_colours_and_say_so(client: Client):
    asked = (handle_file(DAISY), "layer2", "flowers", "channel", "strength", "cividis", "before")
    _, facts = client.predict(*asked, api_name="/feature_maps")
    assert sorted(facts["channels"]) == list(range(facts["shape"][0]))
    assert facts["channels"] != sorted(facts["channels"])
    assert facts["minimum"] < 0
    assert isinstance(facts["dead"], list)


def test_activations_come_as_a_file_that_numpy_opens(client: Client):
    path = client.predict(handle_file(DAISY), "layer1, fc", api_name="/activation_file")
    with np.load(path, allow_pickle=False) as file:
        assert {"layer1", "fc", "about"} <= set(file.files)
        assert file["fc"].shape == (5,)
    assert "did you mean layer1" in refusal(client, handle_file(DAISY), "layr1", api_name="/activation_file")


def test_grad_cam_explains_the_answer_and_any_class_asked_for(client: Client):
    heat, facts = client.predict(handle_file(DAISY), api_name="/grad_cam")
    best = client.predict(handle_file(DAISY), "flowers", 1, api_name="/classify")["predictions"][0]["label"]
    assert facts == {"layer": "layer4", "model": "flowers", "label": best}
    other = next(name for name in FLOWERS if name != best)
    heat_of_other, facts = client.predict(handle_file(DAISY), "layer4", other, api_name="/grad_cam")
    assert facts["label"] == other
    with Image.open(heat) as one, Image.open(heat_of_other) as two:
        assert one.size == two.size
        assert one.tobytes() != two.tobytes()
    contrast, facts = client.predict(handle_file(DAISY), "layer4", best, "flowers", other, api_name="/grad_cam")
    assert facts == {"layer": "layer4", "model": "flowers", "label": best, "against": other}
    with Image.open(heat) as one, Image.open(contrast) as two:
        assert one.size == two.size
        assert one.tobytes() != two.tobytes()


def test_heat_comes_without_gradients_too_and_can_be_tested(client: Client):
    heat, _ = client.predict(handle_file(DAISY), "layer4", "daisy", api_name="/grad_cam")
    asked = (handle_file(DAISY), "layer4", "daisy", "flowers")
    other, facts = client.predict(*asked, "", "ablation", api_name="/grad_cam")
    assert facts == {"layer": "layer4", "model": "flowers", "label": "daisy", "method": "ablation"}
    with Image.open(heat) as one, Image.open(other) as two:
        assert one.size == two.size
        assert one.tobytes() != two.tobytes()
    told = client.predict(handle_file(DAISY), "layer4", "daisy", api_name="/trust_heat_map")
    assert told["trusted"] == (not told["reasons"])
    assert [step["part"] for step in told["random_weights"]][:2] == ["fc", "layer4"]
    assert refusal(client, None, api_name="/trust_heat_map") == "Send a picture."
    assert "gradcam or ablation" in refusal(client, *asked, "magic", api_name="/trust_heat_map")
    assert "no class “rose”" in refusal(client, *asked[:2], "rose", api_name="/trust_heat_map")


def test_switch_off_tells_the_answer_before_and_after(client: Client):
    whole = client.predict(handle_file(DAISY), api_name="/switch_off")
    assert whole["before"] == whole["after"]
    assert whole["off"] == {}
    answered = client.predict(handle_file(DAISY), api_name="/classify")["predictions"]
    assert [each["label"] for each in whole["before"]] == [each["label"] for each in answered]
    first, last = whole["blocks"][0], whole["blocks"][-1]
    cut = client.predict(handle_file(DAISY), [first], [last], "flowers", api_name="/switch_off")
    assert cut["off"] == {first: "branch", last: "skip"}
    assert cut["before"] == whole["before"]
    assert cut["after"] != cut["before"]
    assert "is no block" in refusal(client, handle_file(DAISY), ["fc"], [], api_name="/switch_off")
    assert "lose both" in refusal(client, handle_file(DAISY), [first], [first], api_name="/switch_off")
    assert "a list of names" in refusal(client, handle_file(DAISY), {"a": 1}, [], api_name="/switch_off")
    assert refusal(client, None, api_name="/switch_off") == "Send a picture."


def pixels(size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("1", size).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("end_point", ["/classify", "/feature_maps", "/grad_cam"])
@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.jpg", b"", "empty.jpg is empty (0 bytes)."),
        ("long.png", pixels((60_000, 1)), "too elongated (60000:1; limit 20:1)"),
        ("page.png", b"<html></html>", "looks like HTML"),
    ],
)
def test_a_bad_picture_is_a_sentence(
    client: Client, tmp_path: Path, end_point: str, name: str, content: bytes, sentence: str
):
    (tmp_path / name).write_bytes(content)
    assert sentence in refusal(client, handle_file(tmp_path / name), api_name=end_point)


def test_no_picture_is_a_sentence(client: Client):
    for end_point in ("/classify", "/feature_maps", "/grad_cam"):
        assert refusal(client, None, api_name=end_point) == "Send a picture."
    assert refusal(client, [], api_name="/classify_many") == "Send at least one picture."


@pytest.mark.parametrize("model", ["roses", "../../etc/passwd", "/etc/passwd", "", "x/best", "flowers/../x", "\x00"])
def test_an_unknown_model_is_a_sentence_and_names_no_file(client: Client, model: str):
    assert "There is no model" in refusal(client, handle_file(DAISY), model, api_name="/classify")


@pytest.mark.parametrize("top_k", [0, -1, 1001])
def test_an_impossible_top_k_is_a_sentence(client: Client, top_k: int):
    sentence = refusal(client, handle_file(DAISY), "flowers", top_k, api_name="/classify")
    assert sentence == "top_k must be a whole number from 1 to 1000."


def test_an_unknown_layer_scale_or_class_is_a_sentence(client: Client):
    picture = handle_file(DAISY)
    assert "layer9" in refusal(client, picture, "layer9", api_name="/feature_maps")
    assert "rainbow" in refusal(client, picture, "layer1", "flowers", "rainbow", api_name="/feature_maps")
    assert "no class “cat”" in refusal(client, picture, "layer4", "cat", api_name="/grad_cam")
    assert "no class “cat”" in refusal(client, picture, "layer4", "tulips", "flowers", "cat", api_name="/grad_cam")
    assert "two different" in refusal(client, picture, "layer4", "tulips", "flowers", "tulips", api_name="/grad_cam")
    assert refusal(client, picture, "fc", api_name="/grad_cam")


# Models


def test_describe_model_counts_what_torchvisions_resnet18_has(client: Client):
    described = client.predict("resnet18", api_name="/describe_model")
    assert described["parameters"] == described["outline"]["parameters"] == 11_689_512
    assert client.predict("resnet18", 64, 5, api_name="/describe_model")["parameters"] == 11_179_077


def test_an_unknown_model_or_impossible_size_is_a_sentence(client: Client):
    assert "resnet19" in refusal(client, "resnet19", api_name="/describe_model")
    assert refusal(client, "resnet18", -5, api_name="/describe_model")
    assert refusal(client, "resnet18", 10**9, api_name="/describe_model")
    assert refusal(client, "resnet18", 224, -1, api_name="/describe_model")


def test_list_models_names_the_networks_and_the_trained_ones(client: Client):
    listed = client.predict(api_name="/list_models")
    kinds = {entry["name"]: entry["kind"] for entry in listed}
    assert kinds["resnet50"] == "network"
    assert kinds["flowers"] == "trained"


# Training


def test_a_training_is_started_paused_resumed_watched_stopped_and_asked(client: Client, meadow: Path):
    settings = {"epochs": 5000, "name": "by program"}
    started = client.predict(str(meadow), settings, api_name="/start_training")
    run_id = started["run_id"]
    assert started["queued"] is False
    second = client.predict(api_name="/start_training")
    assert second["queued"] is True
    assert client.predict(second["run_id"], api_name="/stop_training")["status"] == "stopped"

    wait_until(client, run_id, "running")
    client.predict(run_id, api_name="/pause_training")
    paused = wait_until(client, run_id, "paused")
    assert client.predict(run_id, paused["cursor"], api_name="/run_events")["events"] == []
    client.predict(run_id, api_name="/pause_training")  # twice does no harm
    client.predict(run_id, {"learning_rate": 0.0125}, api_name="/change_training")
    client.predict(run_id, api_name="/resume_training")
    changed = wait_until(client, run_id, "running", after="Changed")
    [change] = [event for event in changed["events"] if event["event"] == "Changed"]
    assert change["settings"] == {"learning_rate": 0.0125}
    client.predict(run_id, True, api_name="/stop_training")
    whole = wait_until(client, run_id, "stopped")

    kinds = [event["event"] for event in whole["events"]]
    assert kinds[0] == "RunStarted"
    assert kinds[-1] == "RunEnded"
    assert kinds.count("RunEnded") == 1
    assert {"StepEnded", "EpochEnded", "Paused", "Resumed", "CheckpointSaved"} <= set(kinds)
    assert client.predict(run_id, whole["cursor"], api_name="/run_events")["events"] == []
    assert client.predict(run_id, api_name="/run_events")["events"] == whole["events"]
    mine = next(run for run in client.predict(api_name="/list_runs") if run["run_id"] == run_id)
    assert (mine["name"], mine["status"], mine["dataset"]) == ("by program", "stopped", "meadow")
    assert mine["epochs_done"] == kinds.count("EpochEnded")
    for model in (run_id, f"{run_id}/last"):
        answer = client.predict(handle_file(DAISY), model, api_name="/classify")
        assert sorted(p["label"] for p in answer["predictions"]) == ["red", "yellow"]
        assert (answer["model"]["name"], answer["model"]["run_id"]) == (model, run_id)
        assert 1 <= answer["model"]["epoch"] <= mine["epochs_done"]
    assert run_id in {entry["name"] for entry in client.predict(api_name="/list_models")}


def test_a_run_is_named_noted_found_deleted_and_brought_back(client: Client, meadow: Path):
    run_id = client.predict(str(meadow), {"epochs": 1}, api_name="/start_training")["run_id"]
    wait_until(client, run_id, "finished")
    assert client.predict(run_id, "by hand", api_name="/rename_run")["name"] == "by hand"
    assert client.predict(run_id, "too short", api_name="/note_run")["note"] == "too short"
    assert client.predict(run_id, ["Meadow", "small"], api_name="/tag_run") == {
        "run_id": run_id, "name": "by hand", "note": "too short", "tags": ["Meadow", "small"]
    }  # fmt: skip
    [found] = client.predict("#meadow short", api_name="/list_runs")
    assert (found["run_id"], found["tags"]) == (run_id, ["Meadow", "small"])
    assert client.predict("nothing like it", api_name="/list_runs") == []
    assert client.predict(run_id, api_name="/delete_run") == {"run_id": run_id, "in_bin": True}
    assert "There is no run" in refusal(client, run_id, api_name="/delete_run")
    assert "There is no run" in refusal(client, run_id, "x", api_name="/rename_run")
    assert client.predict(run_id, api_name="/restore_run") == {"run_id": run_id, "in_bin": False}
    assert "in the bin" in refusal(client, run_id, api_name="/restore_run")
    assert "can have 80 characters" in refusal(client, run_id, "x" * 81, api_name="/rename_run")
    assert "list of words" in refusal(client, run_id, [3], api_name="/tag_run")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "resnet18"}, "model cannot change while a run is on"),
        ({"<b>": 1}, "<b> cannot change"),
        ({"epochs": 0}, "Epochs must be a whole number from 1"),
        ("epochs", "settings must be an object"),
    ],
)
def test_an_impossible_change_is_a_sentence_and_changes_nothing(
    client: Client, meadow: Path, settings: Any, sentence: str
):
    run_id = client.predict(str(meadow), {"epochs": 5000}, api_name="/start_training")["run_id"]
    try:
        assert sentence in refusal(client, run_id, settings, api_name="/change_training")
    finally:
        client.predict(run_id, api_name="/stop_training")
    whole = wait_until(client, run_id, "stopped")
    assert "Changed" not in {event["event"] for event in whole["events"]}


def test_a_training_can_be_previewed_and_its_learning_rate_looked_for(client: Client, meadow: Path):
    small = {"model": "resnet20", "image_size": 16, "batch_size": 4, "epochs": 3}
    told = client.predict(str(meadow), small, api_name="/preview_training")
    assert [epoch["epoch"] for epoch in told["epochs"]] == [1, 2, 3]
    assert told["settings"]["optimizer"] == "sgd"
    scan = client.predict(str(meadow), small, api_name="/find_learning_rate")
    assert len(scan["learning_rates"]) == len(scan["losses"]) > 10
    assert scan["schedule"] == "one-cycle"
    for end_point in ("/preview_training", "/find_learning_rate"):
        assert "Unknown settings: wings" in refusal(client, str(meadow), {"wings": 2}, api_name=end_point)


@pytest.mark.parametrize("run_id", ["nobody", "..", "../runs", "", "/etc", "\x00", "x" * 300])
@pytest.mark.parametrize("end_point", ["/pause_training", "/resume_training", "/stop_training", "/run_events"])
def test_an_unknown_run_is_a_sentence(client: Client, end_point: str, run_id: str):
    assert "There is no run" in refusal(client, run_id, api_name=end_point)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batch_size": 0}, "Batch size must be a whole number from 2"),
        ({"learning_rate": -1}, "Learning rate must be a number from"),
        ({"learning_rate": "nan"}, "Learning rate must be a number from"),
        ({"epochs": 2.5}, "Epochs must be a whole number"),
        ({"model": "resnet19"}, "resnet19"),
        ({"preset": "fast"}, "is not a preset"),
        ({"speed": 9}, "Unknown settings: speed"),
        ({"preset": ["default"]}, "is not a preset"),
        ({"dataset": "cifar10"}, "The data set is the first argument"),
        (["epochs", 3], "settings must be an object"),
        ("epochs=3", "settings must be an object"),
    ],
)
def test_impossible_settings_are_a_sentence_and_start_nothing(client: Client, settings: Any, sentence: str):
    before = client.predict(api_name="/list_runs")
    assert sentence in refusal(client, "rendered-flowers", settings, api_name="/start_training")
    assert [run["run_id"] for run in client.predict(api_name="/list_runs")] == [run["run_id"] for run in before]


def test_a_number_that_is_none_is_a_sentence(client: Client):
    for number in ("many", 1.5, None, True):
        assert refusal(client, "resnet18", number, api_name="/describe_model") == "image_size must be a whole number."
        assert refusal(client, "x", number, api_name="/run_events") == "cursor must be a whole number."


@pytest.mark.parametrize("dataset", ["tulip-fields", "cifar10", "", "/nowhere", "\x00"])
def test_an_unknown_data_set_is_a_sentence(client: Client, dataset: str):
    assert refusal(client, dataset, api_name="/start_training")
