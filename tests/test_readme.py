"""What the README promises exists: every path of its tree, every file to open, every command it shows."""

import re
import shlex
from pathlib import Path

import pytest

from resnet_core.cli import build_parser

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    return README.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def tree_paths() -> list[str]:
    """Paths of the annotated tree; an indented line lies in the last line that is less indented."""
    paths, folder = [], ""
    for line in _section("The tree").splitlines():
        if not line.strip():
            continue
        inside = line.startswith(" " * 6)
        names = re.split(r"\s{2,}", line.strip())[0].split()
        if not inside:
            folder = names[0] if names[0].endswith("/") else ""
        paths += [folder + name if inside else name for name in names]
    return paths


def files_to_open() -> list[str]:
    """Every path of "To change X, open Y"; a bare file name lies beside the path before it."""
    found: list[str] = []
    for row in _section("To change X, open Y").splitlines():
        folder = ""
        for name in re.findall(r"`([^`]+)`", row.split("|")[2] if row.count("|") > 2 else ""):
            if not re.fullmatch(r"[\w./-]+(\.py|/)", name):
                continue
            path = name if "/" in name else f"{folder}/{name}"
            folder = str(Path(path).parent)
            found.append(path)
    return found


def commands() -> list[str]:
    return [line.strip() for line in README.splitlines() if line.startswith("    python -m resnet_core")]


@pytest.mark.parametrize("path", tree_paths())
def test_every_path_of_the_tree_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("path", files_to_open())
def test_every_file_to_open_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("command", commands())
def test_every_command_shown_is_understood(command: str) -> None:
    build_parser().parse_args(shlex.split(command)[3:])


def test_the_readme_shows_enough_to_be_checked() -> None:
    assert len(tree_paths()) > 15
    assert len(files_to_open()) > 12
    assert len(commands()) >= 5


def test_every_top_level_folder_of_code_is_in_the_tree() -> None:
    folders = {path.name + "/" for path in ROOT.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders <= set(tree_paths())


@pytest.mark.parametrize("decision", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=lambda path: path.stem)
def test_a_decision_is_short_and_has_its_three_parts(decision: Path) -> None:
    text = decision.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 20
    assert all(f"**{part}.**" in text for part in ("Context", "Choice", "Consequence"))
