"""Does a rank import a third less, and does whoever compiles still get the compiler?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

LEFT_OUT = ("torch._dynamo.utils", "torch.distributed.tensor", "sympy", "scipy.optimize")
IMPORTS = """
import json, sys
from tunefleet.libraries import light_imports
from tunefleet.libraries.heavy_imports import heavy_imports
with heavy_imports():
    import tunefleet.runs.train
print(json.dumps(list(sys.modules)))
"""
COMPILES = """
import torch
@torch.compile(backend="eager")
def doubled(number):
    return number * 2
@torch.compiler.disable
def untouched(number):
    return number
print(json.dumps([doubled(torch.ones(2)).tolist(), untouched(1), torch._dynamo.trace_rules.__name__]))
print(json.dumps([torch.distributed.tensor.DTensor.__name__, hasattr(torch.distributed, "no_such_part")]))
"""
STANDS_FOR = """
import json, torch, torch._dynamo as real
marked = [real.disable, real.assume_constant_result, real.allow_in_graph, real.graph_break]
asked = [real.trace_rules.clear_lru_cache, real.eval_frame.OptimizedModule]
print(json.dumps([callable(name) for name in [*marked, *asked]]))
"""


def answers(source: str) -> list[Any]:
    """What a new process prints."""
    environment = {**os.environ, "DS_ACCELERATOR": "cpu"}
    process = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, env=environment)
    assert not process.returncode, process.stderr
    return [json.loads(line) for line in process.stdout.splitlines() if line.startswith("[")]


@pytest.fixture(scope="module")
def light() -> list[Any]:
    return answers(IMPORTS + COMPILES)


def test_a_rank_imports_no_compiler_and_nothing_of_what_transformers_leaves_out(light: list[Any]) -> None:
    modules = light[0]
    assert [name for name in LEFT_OUT if name in modules] == []
    assert len(modules) < 3000


def test_control_it_imports_all_of_them_otherwise() -> None:
    heavy = answers(IMPORTS.replace("with heavy", "light_imports.lighten = lambda: None\nwith heavy"))
    assert set(LEFT_OUT) <= set(heavy[0])


def test_who_compiles_gets_the_compiler(light: list[Any]) -> None:
    assert light[1] == [[2.0, 2.0], 1, "torch._dynamo.trace_rules"]


def test_a_part_that_others_take_for_granted_is_there(light: list[Any]) -> None:
    """peft asks every layer whether its weight is a DTensor, without importing it."""
    assert light[2] == ["DTensor", False]


def test_the_compiler_has_what_is_there_in_its_place() -> None:
    assert all(answers(STANDS_FOR)[0])
