"""Does a run that pauses at a rung train on as if it never had, and does a pruned one save and say why?"""

from __future__ import annotations

from typing import Any

import pytest

from tests.ranks import run_in_ranks


@pytest.fixture(scope="module", params=[(1, "parallel=ddp"), (2, "parallel=zero2")], ids=["1-ddp", "2-zero2"])
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    number, parallel = request.param
    return run_in_ranks("tests.runs.rungs:story", number, tmp_path_factory.mktemp("rungs"), [parallel])


@pytest.fixture
def story(ranks: list[dict[str, Any]]) -> dict[str, Any]:
    return ranks[0]


def losses(start: dict[str, Any]) -> dict[int, float]:
    return {record["step"]: record["train/loss"] for record in start["metrics"] if "train/loss" in record}


def evaluated(start: dict[str, Any]) -> list[int]:
    return [r["step"] for r in start["metrics"] if any(key.startswith("evaluation/") for key in r)]


def test_it_pauses_at_its_rung_measured_and_saved(story: dict[str, Any]) -> None:
    start = story["at the rung"]
    assert (start["code"], start["state"], start["cause"]) == (0, "paused", "rung")
    assert (start["step"], start["saved"], start["checkpoints"]) == (2, 2, ["step-00000002"])
    assert (list(losses(start)), evaluated(start)) == ([1, 2], [2])


def test_a_run_that_stands_at_its_rung_leaves_at_once(story: dict[str, Any]) -> None:
    first, again = story["at the rung"], story["at the rung again"]
    assert (again["code"], again["state"], again["step"]) == (0, "paused", 2)
    assert again["metrics"] == first["metrics"]  # neither trained nor measured again


def test_resumed_it_is_the_uninterrupted_run_bit_by_bit(story: dict[str, Any]) -> None:
    whole, resumed = story["whole"], story["at the end"]
    assert (resumed["state"], resumed["step"], resumed["tokens"]) == ("finished", 6, whole["tokens"])
    assert losses(resumed) == losses(whole)
    assert resumed["weights"] == whole["weights"] != story["at the rung"]["weights"]
    assert evaluated(resumed) == [2, *evaluated(whole)]


def test_control_steps_differ_and_so_do_their_losses(story: dict[str, Any]) -> None:
    assert len(set(losses(story["whole"]).values())) == 6


def test_its_time_is_that_of_all_its_starts(story: dict[str, Any]) -> None:
    starts = [story[name]["seconds"] for name in ("at the rung", "at the rung again", "at the end")]
    assert 0 < starts[0] < starts[1] < starts[2]


def test_weights_and_biases_has_one_run_of_all_starts(ranks: list[dict[str, Any]]) -> None:
    """Logged by the run of one rank; that of two has it switched off."""
    sent, final = ranks[0]["sent"], ranks[0]["at the end"]["metrics"]
    assert [start["state"] for start in sent] == (["paused", "paused", "finished"] if len(ranks) == 1 else [])
    assert len({start["id"] for start in sent}) == len(sent[:1])
    measured = [record["evaluation/unseen_words/loss"] for record in final if "evaluation/unseen_words/loss" in record]
    assert [start["best/unseen_words/loss"] for start in sent] == [measured[0], measured[0], min(measured)][: len(sent)]


def test_a_pruned_run_has_saved_where_it_left(story: dict[str, Any]) -> None:
    start = story["pruned"]
    assert (start["code"], start["state"], start["cause"]) == (0, "pruned", "pruned")
    assert start["reason"] == "worse than the median of 9 trials"
    assert 2 <= start["step"] < 1000
    assert (start["saved"], start["checkpoints"]) == (start["step"], [f"step-{start['step']:08d}"])
    assert evaluated(start) == []


def test_all_ranks_leave_together(ranks: list[dict[str, Any]]) -> None:
    assert {rank["reasons"]["agreed"] for rank in ranks} == {"PRUNED"}
    assert [rank["reasons"]["alone"] for rank in ranks] == ["CONTINUE"] * (len(ranks) - 1) + ["PRUNED"]  # the control
