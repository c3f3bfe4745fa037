"""pass@k: how likely one of k answers passes the tests of its question."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb


def pass_at_k(passed: Sequence[Sequence[bool]], k: int) -> float:
    """The mean over questions of 1 - C(n - c, k) / C(n, k), where c of n answers passed: unbiased for any n >= k.

    Chen et al., "Evaluating Large Language Models Trained on Code", 2021. Raises `ValueError` where n < k.
    """
    if not passed or any(len(answers) < k for answers in passed):
        raise ValueError(f"pass@{k} needs at least {k} answers to every question")
    failing = [comb(len(answers) - sum(answers), k) / comb(len(answers), k) for answers in passed]
    return 1 - sum(failing) / len(passed)
