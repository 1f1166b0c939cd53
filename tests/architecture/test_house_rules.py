"""Rules of the house that neither ruff, mypy nor import-linter can see."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOFT, HARD = 300, 500
SHIPPED = sorted([*(ROOT / "phoned").rglob("*.py"), *(ROOT / "api").rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PRIVATE_TOUCHERS = {"phoned/media/ice.py", "phoned/media/dtls.py"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*SHIPPED, *TESTS], ids=name)
def test_no_file_is_longer_than_the_hard_limit(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= HARD, f"{lines} lines: split by verb"


def test_files_over_the_soft_limit_are_few() -> None:
    long = [name(path) for path in SHIPPED if len(path.read_text().splitlines()) > SOFT]
    assert len(long) <= len(SHIPPED) // 5, f"too many files over {SOFT} lines: {long}"


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_every_module_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_tasks_are_created_in_one_place(path: Path) -> None:
    if name(path) == "phoned/tasks.py":
        return
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    assert not [node.lineno for node in calls if node.attr in {"create_task", "ensure_future"}]


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_nothing_is_left_open(path: Path) -> None:
    text = path.read_text()
    assert not [word for word in ("TODO", "FIXME", "XXX", "NotImplementedError") if word in text]


@pytest.mark.parametrize("path", [path for path in SHIPPED if "media" in path.parts], ids=name)
def test_private_attributes_of_the_media_libraries_stay_in_two_files(path: Path) -> None:
    if name(path) in PRIVATE_TOUCHERS:
        return
    tree = ast.parse(path.read_text())
    imports = {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in (node.names if isinstance(node, ast.Import) else [ast.alias(node.module or "")])
    }
    if not imports & {"aiortc", "aioice"}:
        return
    foreign = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
    ]
    assert not foreign
