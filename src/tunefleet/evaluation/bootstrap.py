"""Paired bootstrap: how sure it is that one model is better than another on the same rows (Koehn 2004)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tunefleet.evaluation.metrics.row_statistics import RowStatistics

SAMPLES = 1000


@dataclass(frozen=True)
class Difference:
    """`second` minus `first`: on all rows, and between which numbers it is in 95 % of the samples.

    `higher` is the share of samples in which `second` is higher; ties count half.
    """

    first: float
    second: float
    low: float
    high: float
    higher: float

    @property
    def value(self) -> float:
        """The difference on all rows."""
        return self.second - self.first

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(first: RowStatistics, second: RowStatistics, seed: int, samples: int = SAMPLES) -> Difference:
    """Rows are drawn with replacement, as many as there are, the same for both models, `samples` times.

    Philipp Koehn, "Statistical Significance Tests for Machine Translation Evaluation", EMNLP 2004.
    """
    count = len(first.rows)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=samples)
    scores = [[side.score(sums) for sums in draws @ side.rows] for side in (first, second)]
    differences = np.subtract(scores[1], scores[0])
    low, high = np.quantile(differences, (0.025, 0.975))
    higher = np.mean((differences > 0) + 0.5 * (differences == 0))
    return Difference(first.value, second.value, float(low), float(high), float(higher))
