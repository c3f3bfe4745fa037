"""Do weights from files train as the same weights from scratch: with dropout, recomputing, evaluations and resumes?

Files give models in evaluation mode, and all of these go by the mode. Everything is compared bit by bit.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.modes import CASES, OTHERS
from tests.ranks import run_in_ranks

RUNS = [*CASES, *(pytest.param(*case, marks=pytest.mark.exhaustive) for case in OTHERS)]
Results = dict[tuple[str, str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What every rank saw in each case; OTHERS only where their tests run."""
    exhaustive = any(item.get_closest_marker("exhaustive") for item in request.session.items)
    cases = [*CASES, *OTHERS] if exhaustive else CASES
    ranks = run_in_ranks("tests.engine.modes:trained", 2, tmp_path_factory.mktemp("ranks"), cases)
    return dict(zip([*cases, ("control", "")], zip(*ranks, strict=True), strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize(("strategy", "family"), RUNS)
def test_files_train_as_the_same_weights_from_scratch(results: Results, strategy: str, family: str) -> None:
    """Also with evaluations before and between the steps, which change nothing."""
    for rank in results[strategy, family]:
        assert rank["evaluated"] == rank["scratch"]["trained"]
        assert rank["unchanged"]


@pytest.mark.parametrize(("strategy", "family"), RUNS)
def test_a_resumed_run_is_the_uninterrupted_one(results: Results, strategy: str, family: str) -> None:
    for rank in results[strategy, family]:
        assert rank["resumed"] == rank["scratch"]["trained"]


@pytest.mark.parametrize(("strategy", "family"), RUNS)
def test_gradient_checkpointing_computes_every_layer_once_more(results: Results, strategy: str, family: str) -> None:
    """In four steps of one micro-batch, with the same dropout."""
    for rank in results[strategy, family]:
        assert rank["recomputed"]["trained"] == rank["scratch"]["trained"]
        blocks = 1 if strategy == "pipeline" else 2
        assert list(rank["scratch"]["calls"].values()) == [4] * blocks
        assert list(rank["recomputed"]["calls"].values()) == [8] * blocks


def test_control_without_the_mode_dropout_and_recomputing_are_lost(results: Results) -> None:
    for rank in results["control", ""]:
        assert rank["evaluated"] != rank["scratch"]["trained"]
        assert rank["recomputed"]["calls"] == rank["scratch"]["calls"]
