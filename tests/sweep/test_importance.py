"""Does importance find the setting that decides, and say when it cannot tell?"""

from __future__ import annotations

import math
import random
from pathlib import Path

from tests.sweep.journals import SweepWriter
from tunefleet.config.sweep import Direction
from tunefleet.sweep.importance import importance
from tunefleet.sweep.study import Study, fold

MIN = {"validation/loss": Direction.MIN}
KEYS = ["optimizer.lr", "schedule", "adapter.rank"]


def study(tmp_path: Path, trials: int, sign: int = 1) -> Study:
    """The learning rate alone decides; every second trial has a rank."""
    sweep, draw = SweepWriter(tmp_path / f"outputs{sign}"), random.Random(0)
    for number in range(trials):
        lr = 10 ** draw.uniform(-5, -2)
        values = {"optimizer.lr": f"{lr:.3g}", "schedule": draw.choice(("cosine", "wsd"))}
        values |= {"adapter.rank": draw.choice(("4", "8"))} if number % 2 else {}
        sweep.finished(values, sign * abs(math.log10(lr) + 3))
    return fold(sweep.journal.events)


def test_the_setting_that_decides_has_the_largest_share(tmp_path: Path) -> None:
    shares = importance(study(tmp_path, 30), KEYS, MIN).shares
    assert next(iter(shares)) == "optimizer.lr"
    assert shares["optimizer.lr"] > 0.6
    assert math.isclose(sum(shares.values()), 1)
    larger = importance(study(tmp_path, 30, sign=-1), KEYS, {"exact_match": Direction.MAX})
    assert larger.shares == shares


def test_too_few_trials_and_settings_that_are_all_alike_are_told(tmp_path: Path) -> None:
    few = importance(study(tmp_path, 9), KEYS, MIN)
    assert (few.shares, few.note) == ({}, "needs 10 finished trials; 9 have finished")
    alike = importance(study(tmp_path, 12, sign=-1), ["train.max_steps"], MIN)
    assert (alike.shares, alike.note) == ({}, "no setting differs among the finished trials")
