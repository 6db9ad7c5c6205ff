"""The example pictures: flowers this project drew itself."""

from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "assets"
EXAMPLES = tuple(sorted((ASSETS / "examples").glob("*.png")))
