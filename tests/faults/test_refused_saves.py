"""Where one rank cannot write its part of a checkpoint, do all leave, with one line and with what was saved before?"""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.refused_saves import REFUSED
from tests.faults.small_disk import small_disk
from tests.faults.strace import expect_strace
from tests.ranks import run_in_ranks

BEFORE = ["latest.json", "step-00000001"]
REASONS = {
    "quota": "Disk quota exceeded (",
    "fsync": "Input/output error (",
    "folder": "No space left on device",
    "read-only": "Read-only file system (",
    "commit": "Input/output error",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of each rank by fault: [what it raised, the names in the folder of the checkpoints, refused system calls]."""
    expect_strace()
    folder = tmp_path_factory.mktemp("refused")
    with small_disk(folder / "disk", size=16 << 20):
        results = run_in_ranks("tests.faults.refused_saves:saves", 2, folder)
    return [{fault: [message, names, log] for fault, message, names, log in result} for result in results]


@pytest.mark.parametrize("fault", REFUSED)
def test_all_ranks_leave_with_the_same_line_and_the_part_is_removed(outcomes: Any, fault: str) -> None:
    first, second = (rank[fault] for rank in outcomes)
    message, names, refused = first
    assert "(INJECTED)" in refused
    assert message == second[0]
    assert message.startswith("DiskError: ")
    assert REASONS[fault] in message
    assert "/checkpoints/step-00000002" in message
    assert message.endswith("The checkpoint of step 1 is whole, and the same command goes on from there.")
    assert "\n" not in message
    assert names == BEFORE


def test_a_full_disk_is_seen_before_a_byte_is_written(outcomes: Any) -> None:
    message, names, _ = outcomes[0]["full"]
    assert outcomes[1]["full"][0] == message
    assert "/checkpoints/step-00000002: No space left on device (" in message
    assert " needed, 0 bytes free). Make room there." in message
    assert names == BEFORE


def test_a_disk_that_fills_during_the_save(outcomes: Any) -> None:
    message, names, _ = outcomes[0]["filled meanwhile"]
    assert outcomes[1]["filled meanwhile"][0] == message
    assert ".tmp/" in message  # a file of the part: it was being written
    assert "No space left on device (" in message
    assert names == BEFORE


def test_with_room_again_the_same_ranks_save(outcomes: Any) -> None:
    assert outcomes[0]["room again"][:2] == ["", [*BEFORE, "step-00000002"]]


def test_control_without_the_agreement_the_other_rank_does_not_know(outcomes: Any) -> None:
    """It takes what rank 1 sends next for the checksums of its files."""
    assert "Input/output error" in outcomes[1]["control"][0]
    assert outcomes[0]["control"][0].startswith("AttributeError: ")
