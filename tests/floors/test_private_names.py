"""Are private names of torch, transformers and DeepSpeed used in their adapter files alone?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.floors.test_imports import PACKAGE, SOURCES

TESTS = Path(__file__).parents[1]
ADAPTERS = ("libraries",)  # and where another library than these two has its adapters:
OTHERS = ("doors", "launch")  # Hydra, submitit
OF_PYTHON = {"_exit", "_current_frames"}  # documented, in os and in sys
BASES = {"engine/pipeline.py": "engine/zero.py"}
"""Where the base of a file's classes is: its private names are ours too."""


def reaches(source: str, known: set[str]) -> Iterator[str]:
    """Private names in `source` that are not among the `known` ones of our own, as `line: name`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in known:
            yield f"{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("tunefleet"):
            private = [alias.name for alias in node.names if _is_private(alias.name)]
            private += [part for part in (node.module or "").split(".") if _is_private(part)]
            yield from (f"{node.lineno}: from {node.module} import {name}" for name in private)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr"):
            names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            yield from (f"{node.lineno}: {name}" for name in names if _is_private(str(name)))


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def bound(source: str) -> set[str]:
    """Private names that `source` gives to something of ours."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            names.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if _is_private(name)}


def _checked(path: Path) -> bool:
    return path.is_relative_to(PACKAGE) and path.relative_to(PACKAGE).parts[0] not in (*ADAPTERS, *OTHERS)


@pytest.mark.parametrize("path", filter(_checked, SOURCES), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_names_are_our_own(path: Path) -> None:
    source, base = path.read_text(encoding="utf-8"), BASES.get(str(path.relative_to(PACKAGE)))
    inherited = bound((PACKAGE / base).read_text(encoding="utf-8")) if base else set()
    assert list(reaches(source, bound(source) | inherited | OF_PYTHON)) == []


def patched(source: str) -> list[str]:
    """Private names that a test replaces in a module or a class, by `setattr`, `delattr` or `patch.object`."""
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("setattr", "delattr", "object")
        for argument in node.args[:2]
        if isinstance(argument, ast.Constant) and _is_private(str(argument.value).rpartition(".")[2])
    ]


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_what_a_test_replaces_has_a_public_name(path: Path) -> None:
    """A size that tests set, or a defence that a control switches off, is a name that others rely on."""
    assert patched(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line", ['patch.setattr(stream, "_ROWS", 5)', 'monkeypatch.setattr("a.b._c", 1)', 'mock.patch.object(a, "_b")']
)
def test_control_a_private_name_that_is_replaced_is_found(line: str) -> None:
    assert len(patched(line)) == 1
    assert not patched(line.replace("_", "", 1))


def test_control_the_adapters_have_them() -> None:
    for path in (PACKAGE / "libraries").glob("*_private.py"):
        assert list(reaches(path.read_text(encoding="utf-8"), set()))


@pytest.mark.parametrize(
    "line",
    [
        "model._modules = {}",
        "getattr(family, '_supports_sdpa', False)",
        "from transformers.utils import _compile",
        "from torch._inductor import config",
        "self.config._attn_implementation",
    ],
)
def test_control_a_private_name_is_found(line: str) -> None:
    assert len(list(reaches(line, {"_mine"}))) == 1


def test_control_our_own_are_not() -> None:
    source = "class A:\n    def __init__(self): self._mine = 1\n    def get(self): return self._mine, vars().__len__()"
    assert not list(reaches(source, bound(source)))
