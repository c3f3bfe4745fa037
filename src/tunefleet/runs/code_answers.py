"""Code answers: programs that a model wrote, run with the tests of their questions."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tunefleet.base import progress
from tunefleet.engine.plain_model import SingleProcess
from tunefleet.evaluation.metrics.pass_at_k import pass_at_k
from tunefleet.evaluation.sandbox import passes
from tunefleet.runs import validation
from tunefleet.runs.evaluate import Opened

_BLOCK = re.compile(r"```(?:python|py)?\s*\n(.*?)(?:```|\Z)", re.DOTALL)


def pass_rates(opened: Opened, ks: Sequence[int], samples: int) -> dict[str, Any]:
    """{"evaluation/SPLIT/pass@K": 0 to 1}, of `samples` answers to each question, as a record.

    An answer passes where it, followed by the reference of its row, which tests it, comes to its end. Runs the answers.
    """
    answer = validation.answering(opened.plan, opened.model, SingleProcess(), opened.inputs)
    record: dict[str, Any] = {}
    for split, data in opened.splits.items():
        examples = validation.selected_examples(data.examples, opened.plan.config.evaluation.generate_rows)
        repeated = [example for example in examples for _ in range(samples)]
        pairs = zip(answer(repeated), repeated, strict=True)
        programs = [f"{code_of(result.text)}\n\n{example.answer}\n" for result, example in pairs]
        passed = _passed(programs)
        groups = [passed[start : start + samples] for start in range(0, len(passed), samples)]
        record |= {f"evaluation/{split}/pass@{k}": pass_at_k(groups, k) for k in ks if groups}
    return record


def code_of(answer: str) -> str:
    """The first block of code of an answer; all of it where it has none."""
    block = _BLOCK.search(answer)
    return block[1] if block else answer


def _passed(programs: Sequence[str]) -> list[bool]:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool, progress.during("running answers"):
        return list(pool.map(passes, programs))
