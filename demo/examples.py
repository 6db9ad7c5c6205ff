"""The pictures one click away: val photos where there are flower photos, else flowers this project drew itself."""

from pathlib import Path

from resnet_core.data.layout import is_hidden

ASSETS = Path(__file__).resolve().parents[1] / "assets"
RENDERED = tuple(sorted((ASSETS / "examples").glob("*.png")))


def example_pictures(data_dir: Path) -> list[str]:
    """One picture a class, as paths; the same ones at every start."""
    val = data_dir / "flower_photos" / "val"
    if not val.is_dir():
        return [str(path) for path in RENDERED]
    folders = sorted(folder for folder in val.iterdir() if folder.is_dir() and not is_hidden(folder.name))
    photos = [sorted(folder.glob("*.jpg")) for folder in folders]
    return [str(files[len(files) // 2]) for files in photos if files] or [str(path) for path in RENDERED]
