"""The house keeps its directions: who may import whom, and how files may be called."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "resnet_core").rglob("*.py"))
CODE = [*CORE, *sorted((ROOT / "demo").rglob("*.py")), *ROOT.glob("*.py")]
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "manager", "handler", "data", "info"}

ABOVE = {"cli", "commands", "terminal", "__main__", "__init__"}  # may use everything
GROUND = {path.stem for path in (ROOT / "resnet_core").glob("*.py")} - ABOVE  # errors, files, device, …
MAY_IMPORT = {
    "errors": set(),
    **dict.fromkeys(GROUND - {"errors"}, GROUND),
    "models": GROUND,
    "data": GROUND,
    "training": {*GROUND, "models", "data"},
    "inference": {*GROUND, "models", "data", "training"},
    "activations": {*GROUND, "models", "data", "training", "inference"},
}


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "resnet_core").parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, at any depth, also inside functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively; write the whole name"
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_there_is_something_to_check() -> None:
    assert len(CORE) > 30


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_knows_nothing_of_pages_and_tables(path: Path) -> None:
    roots = {module.split(".")[0] for module in imports(path)}
    assert not roots & {"gradio", "gradio_client", "pandas", "demo", "app", "matplotlib", "tests"}


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(path)
    used = {module.split(".")[1] for module in imports(path) if module.startswith("resnet_core.")}
    if part not in ABOVE:
        assert used - {part} <= MAY_IMPORT[part], f"{part} may not know {used - {part} - MAY_IMPORT[part]}"


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_no_file_or_class_has_a_name_that_says_nothing(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    classes = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
    for found in classes:
        words = {word.lower() for word in _words(found.name)}
        assert not words & (FORBIDDEN_NAMES - {"data"}), found.name


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_only_the_command_line_prints(path: Path) -> None:
    if part_of(path) in ABOVE:
        return
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_functions_stay_readable(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{node.name} in {name_of(path)} has {length} lines"


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_nothing_is_left_to_do(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "TODO" not in text
    assert "FIXME" not in text


def _words(name: str) -> list[str]:
    starts = [index for index, letter in enumerate(name) if letter.isupper()] or [0]
    return [name[a:b] for a, b in zip(starts, [*starts[1:], len(name)], strict=True)]
