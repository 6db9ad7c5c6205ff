"""An audit finds what is wrong with a data set, names the pictures in order, and accuses no other."""

import io
import os
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from resnet_core.data import cache
from resnet_core.data.audit import IMBALANCED_RATIO, Audit, audit
from resnet_core.data.datasets import load_dataset, rendered_flowers

SIZE = (40, 32)
GOOD = {f"{split}/{name}/{i}.png": f"{split}{name}{i}" for split in ("train", "val") for name in "ab" for i in range(3)}


def picture(look: str, size: tuple[int, int] = SIZE) -> Image.Image:
    """Noise of its own for every `look`."""
    return Image.frombytes("RGB", size, random.Random(look).randbytes(size[0] * size[1] * 3))


def encoded(content: str | bytes | Image.Image, suffix: str = ".png") -> bytes:
    if isinstance(content, bytes):
        return content
    out = io.BytesIO()
    shown = picture(content) if isinstance(content, str) else content
    shown.save(out, Image.registered_extensions()[suffix])
    return out.getvalue()


def write(root: Path, files: Mapping[str, str | bytes | Image.Image]) -> Path:
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encoded(content, target.suffix))
    return root


def audited(path: Path) -> Audit:
    return audit(load_dataset(str(path), data_dir=path.parent / "no data"))


def found(tmp_path: Path, files: Mapping[str, str | bytes | Image.Image]) -> Audit:
    return audited(write(tmp_path / "set", {**GOOD, **files}))


def test_a_sound_data_set_has_no_finding(tmp_path: Path) -> None:
    report = found(tmp_path, {}).to_json()
    assert report == {
        "dataset": "set",
        "pictures": {"train": 6, "val": 6},
        "corrupt": [],
        "duplicate": [],
        "leaked": [],
        "mislabelled": [],
        "tiny": [],
        "is_small": False,
        "imbalanced": {
            "counts": {"a": {"train": 3, "val": 3}, "b": {"train": 3, "val": 3}},
            "ratio": 1.0,
            "is_imbalanced": False,
        },
    }


def test_pictures_that_cannot_be_read_are_named_with_the_reason_and_do_not_count(tmp_path: Path) -> None:
    files = {"val/a/cut.png": encoded("x")[:90], "train/b/empty.jpg": b"", "train/a/words.png": b"only words"}
    report = found(tmp_path, files)
    assert [(each.path, each.reason.split(" (")[0].split(";")[0]) for each in report.corrupt] == [
        ("train/a/words.png", "words.png is not an image this app can read"),
        ("train/b/empty.jpg", "empty.jpg is empty"),
        ("val/a/cut.png", "cut.png is incomplete"),
    ]
    assert (report.train, report.val) == (8, 7)
    assert report.to_json()["imbalanced"]["counts"]["a"] == {"train": 3, "val": 3}


def test_the_same_picture_twice_in_a_class_is_a_duplicate_whatever_its_name_and_format(tmp_path: Path) -> None:
    turned = picture("traina0").transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me by 90° to the right"
    sideways = io.BytesIO()
    turned.save(sideways, "PNG", exif=exif)
    report = found(
        tmp_path, {"train/a/copy.png": "traina0", "train/a/b.bmp": "traina0", "train/a/c.png": sideways.getvalue()}
    )
    assert report.duplicate == (("train/a/0.png", "train/a/b.bmp", "train/a/c.png", "train/a/copy.png"),)
    assert (report.leaked, report.mislabelled) == ((), ())


def test_a_picture_compressed_anew_or_of_another_shape_is_another_one(tmp_path: Path) -> None:
    flat = {f"train/a/flat{w}.png": Image.new("RGB", (w, 3200 // w)) for w in (50, 64)}
    report = found(tmp_path, {"train/a/lossy.jpg": "traina0", **flat})
    assert (report.corrupt, report.duplicate) == ((), ())


def test_a_picture_in_two_classes_is_mislabelled_and_one_in_both_splits_leaked(tmp_path: Path) -> None:
    files = {"train/b/other.png": "traina0", "val/a/seen.png": "traina1", "val/b/both.png": "traina2"}
    report = found(tmp_path, files)
    assert report.mislabelled == (("train/a/0.png", "train/b/other.png"), ("train/a/2.png", "val/b/both.png"))
    assert report.leaked == (("train/a/1.png", "val/a/seen.png"), ("train/a/2.png", "val/b/both.png"))
    assert report.duplicate == ()


def test_one_picture_may_be_of_several_kinds(tmp_path: Path) -> None:
    report = found(tmp_path, {"train/a/9.png": "traina0", "train/b/9.png": "traina0", "val/b/9.png": "traina0"})
    everywhere = ("train/a/0.png", "train/a/9.png", "train/b/9.png", "val/b/9.png")
    assert report.duplicate == (everywhere[:2],)
    assert report.leaked == report.mislabelled == (everywhere,)


def test_a_tiny_picture_is_told_with_its_size_upright(tmp_path: Path) -> None:
    report = found(
        tmp_path, {"train/a/icon.png": picture("icon", (60, 31)), "train/a/fits.png": picture("fits", (32, 32))}
    )
    assert [(each.path, each.width, each.height) for each in report.tiny] == [("train/a/icon.png", 60, 31)]


def test_in_a_data_set_of_small_pictures_none_is_tiny(tmp_path: Path) -> None:
    small = {path: picture(path, (28, 28)) for path in GOOD}
    report = found(tmp_path, {**small, "train/a/large.png": "large"})
    assert report.is_small
    assert report.tiny == ()


@pytest.mark.parametrize(("more", "imbalanced"), [(0, False), (1, True)])
def test_classes_may_differ_up_to_the_ratio(tmp_path: Path, more: int, imbalanced: bool) -> None:
    added = {f"train/b/more{i}.png": f"more{i}" for i in range(3 * IMBALANCED_RATIO - 3 + more)}
    report = found(tmp_path, added)
    assert report.ratio == (3 * IMBALANCED_RATIO + more) / 3
    assert report.is_imbalanced is imbalanced


def test_a_class_without_a_readable_picture_has_no_ratio(tmp_path: Path) -> None:
    report = found(tmp_path, {f"train/b/{i}.png": b"" for i in range(3)})
    assert report.ratio is None
    assert report.is_imbalanced


FAULTY = {
    **GOOD,
    "train/a/z.png": "traina0",
    "train/a/damaged.png": b"\x89PNG\r\n\x1a\n",
    "val/b/leaked.png": "trainb2",
    "train/<b>é/icon.png": Image.new("RGB", (8, 8)),
}


def test_a_zip_says_the_same_as_its_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", FAULTY)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for path in reversed(FAULTY):
            packed.write(folder / path, f"wrapper/{path}")
    report = audited(tmp_path / "set.zip")
    assert report == audited(folder)
    assert [each.path for each in report.corrupt] == ["train/a/damaged.png"]
    assert report.duplicate == (("train/a/0.png", "train/a/z.png"),)
    assert report.leaked == (("train/b/2.png", "val/b/leaked.png"),)
    assert [each.path for each in report.tiny] == ["train/<b>é/icon.png"]


def test_a_member_whose_bytes_changed_is_corrupt_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for name, look in GOOD.items():
            packed.writestr(name, encoded(look, ".bmp"))
    one, other = (encoded(look, ".bmp") for look in ("traina1", "traina2"))
    path.write_bytes(path.read_bytes().replace(one, other))  # the directory still tells the first one's checksum
    (corrupt,) = audited(path).corrupt
    assert corrupt.path == "train/a/1.png"
    assert "damaged or incomplete" in corrupt.reason


def test_in_threads_it_is_the_same_report_and_all_progress_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {f"train/b/{i}.png": f"many{i % 20}" for i in range(10, 40)}
    folder = write(tmp_path / "set", {**FAULTY, **many})
    alone = audited(folder)
    monkeypatch.setattr(cache, "SMALL_SECONDS", 0)  # threads, however fast the pictures are
    monkeypatch.setattr(cache, "WINDOW", 4)
    told: list[tuple[int, int]] = []
    dataset = load_dataset(str(folder), data_dir=tmp_path)
    assert audit(dataset, progress=lambda done, total: told.append((done, total))) == alone
    total = alone.train + alone.val
    assert told == [(done, total) for done in range(1, total + 1)]
    assert len(alone.duplicate) == 11


def test_names_that_are_no_utf8_are_audited_too(tmp_path: Path) -> None:
    odd = os.fsdecode(b"train/a/\xff\n.png")
    report = found(tmp_path, {odd: "traina0"})
    assert report.duplicate == (("train/a/0.png", odd),)


def test_the_rendered_flowers_are_sound(tmp_path: Path) -> None:
    report = audit(rendered_flowers(train=3, val=1, size=48))
    assert (report.train, report.val) == (15, 5)
    assert [*report.corrupt, *report.duplicate, *report.leaked, *report.mislabelled, *report.tiny] == []
    assert not report.is_imbalanced
