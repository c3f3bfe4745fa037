"""Does a run through all real parts train as a loop of transformers, torch and peft does that has nothing of ours?

fp32, six steps of four rows, two epochs. Losses within 1e-6, norms within 1e-5, weights within 1e-4 of the largest, as
in runs/check.py: Adam divides by tiny second moments early on.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.equivalence import plain_transformers, whole_runs
from tests.equivalence.whole_runs import Run
from tests.ranks import run_in_ranks

RUNS = [
    Run("opt", "single", 1, files=False, micro_batch=4),
    Run("llama", "single", 1, files=True, micro_batch=2),
    Run("opt", "single", 1, files=True, packed=True),
    Run("opt", "single", 1, files=True, micro_batch=4, dropout=0.1),
    Run("llama", "single", 1, files=False, lora=True),
    Run("opt", "zero1", 2, files=True, micro_batch=2),
    Run("llama", "zero1", 2, files=False, packed=True),
    Run("opt", "zero2", 2, files=False),
    Run("llama", "zero2", 2, files=True, packed=True, micro_batch=2),
    Run("opt", "zero2", 2, files=True, packed=True, lora=True),
    Run("llama", "zero3", 2, files=True),
    Run("opt", "zero3", 2, files=False, packed=True),
    Run("opt", "zero3", 2, files=True, lora=True),
]
"""Pairwise: strategy, start, packing, accumulation and LoRA meet each other at least once."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, tokenizer, and weights of every model."""
    folder = tmp_path_factory.mktemp("runs")
    whole_runs.inputs(folder)
    for run in RUNS:
        plain_transformers.first_model(run.architecture, None).save_pretrained(folder / run.weights)
    return folder


@pytest.fixture(scope="module")
def our_runs(folder: Path) -> dict[Run, dict[str, Any]]:
    results = {}
    for ranks in (1, 2):
        runs = [run for run in RUNS if run.ranks == ranks]
        by_rank = run_in_ranks("tests.equivalence.whole_runs:all_runs", ranks, folder, whole_runs.as_argument(runs))
        for run, *of_ranks in zip(runs, *by_rank, strict=True):
            steps = zip(*(result["conversations"] for result in of_ranks), strict=True)
            results[run] = {**of_ranks[0], "conversations": [[c for rank in step for c in rank] for step in steps]}
    return results


def plain_loop(folder: Path, run: Run, conversations: list[list[list[int]]]) -> dict[str, Any]:
    """The plain loop over the same rows."""
    torch.set_num_threads(1)
    pairs = plain_transformers.rendered(folder / "chats.jsonl", folder / "words")
    numbers = {tuple(tokens): number for number, (tokens, _) in enumerate(pairs)}
    steps = [[numbers[tuple(tokens)] for tokens in step] for step in conversations]
    files = str(folder / run.weights) if run.files else None
    return plain_transformers.trained(pairs, steps, run.architecture, files, run.lora)


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_trains_as_the_plain_loop(folder: Path, our_runs: dict[Run, dict[str, Any]], run: Run) -> None:
    plain = plain_loop(folder, run, our_runs[run]["conversations"])
    np.testing.assert_allclose(our_runs[run]["losses"], plain["losses"], rtol=1e-6)
    np.testing.assert_allclose(our_runs[run]["norms"], plain["norms"], rtol=1e-5)
    weights = torch.load(folder / f"{run}.pt")
    assert weights.keys() == plain["weights"].keys()
    largest = max(float(weight.abs().max()) for weight in plain["weights"].values())
    for name, weight in weights.items():
        if not name.endswith("k_proj.bias"):  # softmax forgets it: its gradient is rounding, and Adam steps on it
            assert float((weight - plain["weights"][name]).abs().max()) <= 1e-4 * largest, name
    assert plain["losses"][-1] < plain["losses"][0] - 0.01


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_every_row_comes_once_in_an_epoch(folder: Path, our_runs: dict[Run, dict[str, Any]], run: Run) -> None:
    """Of unpacked rows, 18 in steps of four: the first four steps hold 16 different ones."""
    steps = [[tuple(tokens) for tokens in step] for step in our_runs[run]["conversations"]]
    if not run.packed:
        assert len({row for step in steps[:4] for row in step}) == 16
    rows = {tuple(tokens) for tokens, _ in plain_transformers.rendered(folder / "chats.jsonl", folder / "words")}
    assert {row for step in steps for row in step} == rows
    assert len(rows) == 18


def test_control_the_plain_loop_sees_dropout(folder: Path, our_runs: dict[Run, dict[str, Any]]) -> None:
    """Weights from files in evaluation mode, as they were trained once, are far away."""
    (run,) = (run for run in RUNS if run.dropout)
    without = Run(**{**vars(run), "dropout": 0.0})
    plain = plain_loop(folder, without, our_runs[run]["conversations"])
    assert abs(our_runs[run]["losses"][0] / plain["losses"][0] - 1) > 1e-4


def imported(source: str) -> set[str]:
    """The packages that `source` imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + str(node.module).split(".")[0])
    return names


ALLOWED = {"__future__", "collections", "json", "math", "pathlib", "typing", "torch", "transformers", "peft"}


def test_the_plain_loop_has_nothing_of_ours() -> None:
    assert imported(Path(plain_transformers.__file__).read_text()) <= ALLOWED
    for line in ("from tunefleet.optim import build", "import tests.shared", "from . import table"):  # controls
        assert not imported(line) <= ALLOWED
