"""What leaves as a file can be opened by others and says how it came about."""

import io
import itertools
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from shown_networks import classifier_of, photo_of

from resnet_core.activations import take_maps_away
from resnet_core.activations.capture import capture_activations
from resnet_core.activations.film import HEIGHT, MOST_BYTES, WIDTH, drawable, make_film, stages_of
from resnet_core.activations.kept import ActivationCache
from resnet_core.activations.take_maps_away import take_maps, write_npz
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import ConfigError, ModelError


def frames_of(content: bytes) -> list[Image.Image]:
    film = Image.open(io.BytesIO(content))
    found = []
    for number in range(film.n_frames):
        film.seek(number)
        found.append(film.convert("RGB"))
    return found


# Numbers


def test_the_npz_opens_without_pickles_and_holds_the_very_numbers() -> None:
    classifier = classifier_of()
    layers = ["bn1", "layer2.0.conv1", "layer4", "fc"]
    taken = take_maps(ActivationCache(), classifier, photo_of(), layers, model="mine", picture="tulip.jpg")
    file = np.load(io.BytesIO(write_npz(taken)), allow_pickle=False)
    assert sorted(file.files) == sorted([*layers, "about", "about_input"])
    inputs = torch.from_numpy(file["about_input"])
    expected = capture_activations(classifier.model, inputs[None], layers)
    for layer in layers:
        assert file[layer].dtype == np.float32
        np.testing.assert_allclose(file[layer], expected[layer][0].numpy(), rtol=1e-5, atol=1e-6)


def test_the_npz_says_all_it_takes_to_make_it_again() -> None:
    classifier = classifier_of()
    taken = take_maps(ActivationCache(), classifier, photo_of(), ["layer1"], model="mine", picture="花.jpg")
    file = np.load(io.BytesIO(write_npz(taken)), allow_pickle=False)
    about = json.loads(str(file["about"]))
    assert (about["model"], about["architecture"], about["picture"]) == ("mine", "resnet18", "花.jpg")
    assert about["class_names"] == list(classifier.class_names)
    assert (about["layers"], about["shapes"], about["relu"]) == (["layer1"], {"layer1": [16, 16, 16]}, "given")
    again = Preprocessing.from_json(about["preprocessing"])
    np.testing.assert_array_equal(again(photo_of()).numpy(), file["about_input"])
    assert about["preprocessing_in_words"] == again.describe()


def test_the_npz_is_an_ordinary_zip_of_arrays() -> None:
    taken = take_maps(ActivationCache(), classifier_of(), photo_of(), ["conv1"], model="mine")
    with zipfile.ZipFile(io.BytesIO(write_npz(taken))) as file:
        assert file.testzip() is None
        assert set(file.namelist()) == {"conv1.npy", "about.npy", "about_input.npy"}


def test_more_than_fits_in_a_file_is_refused_before_the_network_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, cache, pieces = classifier_of(), ActivationCache(), []
    maps = 3 * 16 * 16 * 16 * 4  # bytes of the stage and its two blocks, [16,16,16] each
    layers = ["layer1", "layer1.0", "layer1.1"]

    def counting(work: Callable[[], Any]) -> Any:
        pieces.append(work)
        return work()

    monkeypatch.setattr(take_maps_away, "MOST_BYTES", maps - 1)
    with pytest.raises(ModelError, match="choose fewer layers"):
        take_maps(cache, classifier, photo_of(), layers, model="mine", in_turn=counting)
    assert cache.size == 0
    assert len(pieces) == 1
    monkeypatch.setattr(take_maps_away, "MOST_BYTES", maps)
    assert len(take_maps(cache, classifier, photo_of(), layers, model="mine", in_turn=counting).activations) == 3
    assert len(pieces) == 3


def test_the_side_of_the_relu_is_kept_and_unknown_layers_are_a_sentence() -> None:
    classifier, cache = classifier_of(), ActivationCache()
    before = take_maps(cache, classifier, photo_of(), ["layer1"], model="mine", relu="before")
    assert before.about["relu"] == "before"
    assert float(before.activations["layer1"].min()) < 0
    with pytest.raises(ModelError, match="did you mean layer1"):
        take_maps(cache, classifier, photo_of(), ["layr1"], model="mine")


# Film


def test_a_film_goes_from_pixels_through_every_stage_to_the_answer() -> None:
    classifier = classifier_of()
    assert stages_of(classifier) == ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4")
    content = make_film(ActivationCache(), classifier, photo_of())
    frames = frames_of(content)
    assert len(frames) == 1 + 6 + 1
    assert {frame.size for frame in frames} == {(WIDTH, HEIGHT)}
    assert len(content) <= MOST_BYTES
    pixels = [np.asarray(frame).astype(int) for frame in frames]
    for one, other in itertools.pairwise(pixels):
        assert np.abs(one - other).max() > 60  # each frame shows something else
    assert Image.open(io.BytesIO(content)).format == "WEBP"


def test_the_first_frame_shows_the_square_the_network_saw() -> None:
    classifier = classifier_of()
    red = Image.new("RGB", (80, 60), (200, 30, 30))
    first = frames_of(make_film(ActivationCache(), classifier, red, ["layer1"]))[0]
    assert np.abs(np.asarray(first)[HEIGHT // 2, WIDTH // 2].astype(int) - (200, 30, 30)).max() < 12


def test_the_last_frame_stays_longer_and_its_bars_are_the_probabilities() -> None:
    classifier = classifier_of()
    content = make_film(ActivationCache(), classifier, photo_of(), ["layer1"])
    film = Image.open(io.BytesIO(content))
    durations = []
    for number in range(film.n_frames):
        film.seek(number)
        film.load()
        durations.append(film.info["duration"])
    assert durations[-1] > 2 * durations[0] > 0
    last = np.asarray(frames_of(content)[-1]).astype(int)
    lengths = []
    for row in range(5):
        line = last[60 + 40 + row * 52 + 12, WIDTH * 2 // 5 : WIDTH - 94]
        lengths.append(int((np.abs(line - (0x56, 0xB4, 0xE9)).max(axis=1) < 60).sum()))
    wanted = [prediction.probability for prediction in classifier.classify(photo_of()).predictions]
    room = WIDTH - 94 - WIDTH * 2 // 5
    for length, share in zip(lengths, wanted, strict=True):
        assert length == pytest.approx(max(12, share * room), abs=6)


def test_a_film_of_noise_and_many_layers_stays_below_its_limit() -> None:
    classifier = classifier_of("resnet50", width=64, edge=64)
    names = [f"layer{stage}.0.conv{number}" for stage in (1, 2, 3, 4) for number in (1, 2, 3)]
    content = make_film(ActivationCache(), classifier, photo_of(), names, scale="channel", colors="magma")
    assert len(content) <= MOST_BYTES
    assert len(frames_of(content)) == len(names) + 2


def test_too_many_layers_and_unknown_ones_are_sentences() -> None:
    classifier, cache = classifier_of(), ActivationCache()
    with pytest.raises(ModelError, match="at most 60 layers, not 61"):
        make_film(cache, classifier, photo_of(), ["layer1"] * 61)
    with pytest.raises(ModelError, match="layer9"):
        make_film(cache, classifier, photo_of(), ["layer9"])
    with pytest.raises(ConfigError, match="rainbow"):
        make_film(cache, classifier, photo_of(), ["layer1"], colors="rainbow")


def test_a_network_of_another_family_has_a_film_too() -> None:
    for name in ("resnet20", "resnet8", "tutorial-cifar"):
        classifier = classifier_of(name, edge=48)
        assert len(stages_of(classifier)) >= 4
        frames = frames_of(make_film(ActivationCache(), classifier, photo_of()))
        assert len(frames) == len(stages_of(classifier)) + 2


def test_the_captions_only_use_characters_the_font_has() -> None:
    font = ImageFont.load_default(15)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert drawable("Tulip, 93.1% of it · ok", font) == "Tulip, 93.1% of it · ok"
    assert drawable("郁金香 tulip", font) == "??? tulip"
