"""Is the score of several seeds their mean, with their spread?"""

from __future__ import annotations

import math

import numpy as np
import pytest

from tunefleet.sweep.replicates import score


def test_mean_and_sample_deviation_of_each_objective() -> None:
    results = [(1.0, 10.0), (2.0, 14.0), (6.0, 12.0)]
    combined = score(results)
    assert combined.means == pytest.approx(np.mean(results, axis=0))
    assert combined.spreads == pytest.approx(np.std(results, axis=0, ddof=1))


def test_one_seed_has_no_spread() -> None:
    assert (score([(2.5,)]).means, score([(2.5,)]).spreads) == ((2.5,), ())


def test_a_seed_that_is_no_number_makes_the_trial_none() -> None:
    assert all(map(math.isnan, score([(1.0,), (math.nan,)]).means))
