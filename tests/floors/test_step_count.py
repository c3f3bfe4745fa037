"""Does one function alone say how many optimizer steps a run has?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.floors.test_imports import PACKAGE, ROOT, SOURCES

HOME = PACKAGE / "plan" / "horizon.py"
COMPARES = {  # reads the settings to name or compare them, and computes nothing
    PACKAGE / "plan" / "rules" / "notes.py",
    PACKAGE / "doors" / "start.py",
}


def readings(source: str) -> Iterator[str]:
    """Where `source` reads the settings that a number of steps is computed from, as `line: what`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("max_steps", "epochs") and _is_train(node.value):
            yield f"{node.lineno}: {ast.unparse(node)}"


def _is_train(node: ast.expr) -> bool:
    return ast.unparse(node).split(".")[-1] == "train"


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path not in COMPARES], ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_other_file_reads_what_steps_are_computed_from(path: Path) -> None:
    assert (path == HOME) == bool(list(readings(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("path", sorted(COMPARES), ids=lambda path: path.name)
def test_what_compares_them_computes_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert list(readings(ast.unparse(tree)))
    products = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Mod)]
    assert not [line for product in products for line in readings(ast.unparse(product))]


def test_control_a_second_computation_is_found() -> None:
    assert list(readings("steps = plan.config.train.epochs * rows / batch.total"))
    assert list(readings("return train.max_steps or 5"))
    assert not list(readings("source.epochs * 2; 'train.max_steps'"))
