"""Is a save beside training the same as one that is waited for, and never said to be there before it is?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.strace import expect_strace
from tests.ranks import run_in_ranks


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What each of two ranks met, by name, and what strace says."""
    expect_strace()
    folder: Path = tmp_path_factory.mktemp("beside")
    results = run_in_ranks("tests.faults.background_saves:saves", 2, folder)
    return [*results, (folder / "strace-beside").read_text()]


def test_its_bytes_are_those_of_a_save_that_is_waited_for(ranks: Any) -> None:
    """Although a step has changed every weight before the first byte was written."""
    sums = ranks[0]["sums"]
    assert len(sums["beside"]) == 1 + 2 + 2  # the model's, an optimizer's and random states of each rank
    assert sums["beside"] == sums["at_once"]


def test_control_without_the_copy_it_holds_what_the_next_step_made(ranks: Any) -> None:
    sums = ranks[0]["sums"]
    differing = {name for name, digest in sums["control"].items() if sums["at_once"][name] != digest}
    assert len([name for name in differing if name.endswith(".pt")]) == 3


def test_it_counts_when_every_rank_has_written_and_is_said_once(ranks: Any) -> None:
    for rank in ranks[:2]:
        assert rank["beside"] == [None, 1, None]


def test_no_two_are_written_at_once(ranks: Any) -> None:
    assert ranks[0]["overlap"] == ["latest.json", "step-00000001", "step-00000002"]  # when the third begins


def test_where_it_fails_all_ranks_end_between_the_same_two_steps(ranks: Any) -> None:
    first, second, refused = ranks
    assert "(INJECTED)" in refused
    assert first["failure"] == second["failure"]
    steps, message, names = first["failure"]
    assert 0 < steps < 99
    assert "Input/output error (" in message
    assert message.endswith("The checkpoint of step 3 is whole, and the same command goes on from there.")
    assert names == ["latest.json", "step-00000001", "step-00000002", "step-00000003"]


def test_a_kill_while_it_is_written_leaves_the_one_before(ranks: Any) -> None:
    names, step, value = ranks[0]["killed"]
    assert names == ["latest.json", "step-00000001", "step-00000002.tmp"]  # the kill came in time
    assert (step, value) == (1, 1)
