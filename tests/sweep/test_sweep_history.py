"""Does a sweep's history tell what came when, what was decided, and what a user asked for?"""

from __future__ import annotations

from pathlib import Path

from tests.sweep.journals import searched
from tunefleet.config.sweep import Direction, PrunerConfig, PrunerName
from tunefleet.sweep.study import fold
from tunefleet.sweep.sweep_history import RungCount, happenings, results, rung_counts

MIN = {"validation/loss": Direction.MIN}


def test_rungs_are_counted_with_the_steps_where_they_end(tmp_path: Path) -> None:
    """Of 27 trials one failed; one in three got to the second rung, one in nine to the third, after 30 steps."""
    sweep = searched(tmp_path / "outputs", steps=2)
    assert rung_counts(fold(sweep.journal.events), PrunerConfig(PrunerName.ASHA)) == [
        RungCount(0, 4, 26, 9, 17),
        RungCount(1, 10, 9, 3, 6),
    ]


def test_results_and_happenings_are_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    sweep = searched(tmp_path / "outputs", steps=2)
    events = sweep.journal.events
    assert [result.trial for result in results(events)] == [9, 18, 27]
    newest = happenings(events, MIN)
    assert (newest[0].kind, newest[0].text) == ("closed", "over: all 27 trials have ended")
    assert [happening.kind for happening in newest if happening.by_user] == ["pinned"]
    assert newest[-1].text == "next [optimizer.lr=0.01]"
    assert [happening.trial for happening in newest if happening.kind == "failed"] == [5]
    assert len(happenings(events, MIN, limit=5)) == 5
