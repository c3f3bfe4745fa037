"""Ranks of one machine meet where no other machine reaches them, and what they send to each other runs no code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ranks import run_in_ranks
from tunefleet.engine import rendezvous

LOOPBACK = "0100007F"


def test_ranks_of_one_machine_listen_on_the_loopback_interface_alone(tmp_path: Path) -> None:
    ranks = run_in_ranks("tests.faults.listeners:listening", 2, tmp_path, True)
    assert len(ranks[0]) > len(ranks[1]) > 0  # rank 0 has the store, both have gloo's sockets
    assert {address for addresses in ranks for address in addresses} == {LOOPBACK}


def test_control_torch_listens_everywhere(tmp_path: Path) -> None:
    ranks = run_in_ranks("tests.faults.listeners:listening", 2, tmp_path, False)
    assert any(set(address) == {"0"} for address in ranks[0])  # 0.0.0.0, or :: of IPv6


def test_gathered_values_are_json(tmp_path: Path) -> None:
    expected = [{"rank": rank, "texts": ["é" * rank * 1000, None], "numbers": [0.1, 2**63, True]} for rank in range(2)]
    ranks = run_in_ranks("tests.faults.listeners:gathered", 2, tmp_path)
    assert ranks == [[expected, ["TypeError"] * 4]] * 2


@pytest.mark.parametrize("by_torch", [False, True])
def test_a_pickle_that_a_rank_sends_is_not_loaded(tmp_path: Path, by_torch: bool) -> None:
    """With torch's own gather, the control, it is."""
    mark = tmp_path / "mark"
    results = run_in_ranks(
        "tests.faults.listeners:with_a_planted_rank", 2, tmp_path, {"mark": str(mark), "torch": by_torch}
    )
    assert mark.exists() == by_torch
    assert results[0] == ("received" if by_torch else "JSONDecodeError")


@pytest.mark.parametrize(
    ("address", "is_loopback"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.7", False), ("n1", False)],
)
def test_which_addresses_no_other_machine_reaches(address: str, is_loopback: bool) -> None:
    assert rendezvous.is_loopback(address) == is_loopback
