"""Is the law of loss and compute that a sweep over sizes was made from found again?"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tunefleet.sweep.scaling_fit import scaling_fit
from tunefleet.sweep.study import Score, Study, Trial, TrialRun, TrialState

TOKENS = 1_000_000


def trial(number: int, parameters: int | None, loss: float) -> Trial:
    run = TrialRun(f"run-{number}", str(number), (), parameters=parameters)
    runs = (run, replace(run, run_dir=f"run-{number}b"))
    measured = {"tokens": 2.0 * TOKENS}  # both seeds together
    return Trial(number, {}, runs, state=TrialState.FINISHED, result=Score((loss,), (0.0,)), measured=measured)


def study(*trials: Trial) -> Study:
    return Study({member.number: member for member in trials})


def law(parameters: int) -> float:
    return 40.0 * (6.0 * parameters * TOKENS) ** -0.08


def test_an_exact_law_is_found_again() -> None:
    sizes = (10_000, 100_000, 1_000_000, 10_000_000)
    fit = scaling_fit(study(*(trial(i, size, law(size)) for i, size in enumerate(sizes))))
    assert fit is not None
    assert (fit.factor, fit.exponent) == pytest.approx((40.0, 0.08))
    assert fit.correlation == pytest.approx(-1.0)
    assert fit.loss(6.0 * 300_000 * TOKENS) == pytest.approx(law(300_000))
    assert "compute^-0.08 over 4 trials" in str(fit)


@pytest.mark.parametrize("sizes", [(), (10_000, 100_000), (10_000, 10_000, 10_000), (None, None, None)])
def test_fewer_than_three_sizes_make_no_curve(sizes: tuple[int | None, ...]) -> None:
    assert scaling_fit(study(*(trial(i, size, law(size or 1)) for i, size in enumerate(sizes)))) is None


def test_what_did_not_finish_or_is_no_number_is_left_out() -> None:
    sizes = (10_000, 100_000, 1_000_000)
    broken = [trial(7, 500, math.nan), trial(8, 600, math.inf), replace(trial(9, 700, 9.0), state=TrialState.PRUNED)]
    fit = scaling_fit(study(*(trial(i, size, law(size)) for i, size in enumerate(sizes)), *broken))
    assert fit is not None
    assert fit.trials == 3
    assert fit.exponent == pytest.approx(0.08)
