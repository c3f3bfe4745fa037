"""Does only plan/deepspeed spell DeepSpeed's keys, and does nobody else open the dictionary that it makes?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.floors.test_imports import PACKAGE, ROOT, SOURCES
from tunefleet.config.parallel import ParallelConfig

HOME = PACKAGE / "plan" / "deepspeed"
OURS = {*ParallelConfig.__dataclass_fields__, "bf16", "fp16", "stage", "device", "enabled", "dtype", "patterns"}
OURS |= {"loss_scale", "pin_memory"}  # a column of data sets; an extension that is built
"""Keys that are words of other things too."""
USERS = {PACKAGE / "config" / "spellings.py", *(PACKAGE / "imports").glob("*.py")}
"""What users of other trainers type or have in their files, and what to type here."""


def keys(source: str) -> set[str]:
    """The keys of all dictionaries in `source`, as far as they stand for nothing else."""
    nodes = list(ast.walk(ast.parse(source)))
    spelt = [key for node in nodes if isinstance(node, ast.Dict) for key in node.keys]
    spelt += [node.slice for node in nodes if isinstance(node, ast.Subscript)]
    return {key.value for key in spelt if isinstance(key, ast.Constant) and isinstance(key.value, str)} - OURS


KEYS = set().union(*(keys(path.read_text(encoding="utf-8")) for path in HOME.glob("*.py")))


def violations(source: str) -> Iterator[str]:
    """A key of DeepSpeed's in `source`, or a line that opens a plan's `engine`, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in KEYS:
            yield f"{node.lineno}: {node.value}"
        elif any(_is_dictionary(part) for part in _opened(node)):
            yield f"{ast.unparse(node)}"


def _opened(node: ast.AST) -> list[ast.expr]:
    """What a node looks into: by a key, a method or `in`."""
    if isinstance(node, (ast.Subscript, ast.Attribute)):
        return [node.value]
    return node.comparators if isinstance(node, ast.Compare) else []


def _is_dictionary(node: ast.expr) -> bool:
    """`plan.engine`, under whatever name the plan goes."""
    return isinstance(node, ast.Attribute) and node.attr == "engine" and ast.unparse(node.value).endswith("plan")


def test_the_keys_are_known() -> None:
    assert {"zero_optimization", "train_batch_size", "torch_autocast", "zero_hpz_partition_size", "aio"} <= KEYS


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if path.parent != HOME and path not in USERS],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_nobody_else_spells_them_or_opens_the_dictionary(path: Path) -> None:
    assert list(violations(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "settings['zero_optimization']",
        "low = 'torch_autocast' in settings",
        "x = {'gradient_accumulation_steps': 4}",
        "plan.engine['bf16']",
        "self._plan.engine.get('stage')",
        "'offload_param' in self._plan.engine",
        "if 'stage' in plan.engine: pass",
    ],
)
def test_control_a_key_elsewhere_is_found(line: str) -> None:
    assert list(violations(line))


def test_control_what_is_ours_is_not() -> None:
    assert not list(violations("deepspeed.initialize(config=plan.engine); getattr(parallel, 'offload_optimizer')"))
