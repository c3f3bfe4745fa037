"""Private names of sacrebleu: the counts of each sentence, which add up to those of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def sentence_counts(metric: Any, answers: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
    """[sentences, counts] of a sacrebleu metric."""
    return np.array(metric._extract_corpus_statistics(list(answers), [list(references)]), dtype=np.float64)


def corpus_score(metric: Any, counts: NDArray[np.float64]) -> float:
    """The score of a corpus whose sentences have these counts together."""
    return float(metric._aggregate_and_compute([counts.tolist()]).score)
