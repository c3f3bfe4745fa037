"""Are gradients of 16 bits summed over ranks in fp32? DeepSpeed's own choice rounds after every summand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ranks import run_in_ranks


def bf16(stage: int, **degrees: int) -> dict[str, Any]:
    return {"precision": "bf16", "parallel": {"name": "watched", "zero_stage": stage, **degrees}}


OURS: dict[str, dict[str, Any]] = {
    "zero1": bf16(1),
    "zero2": bf16(2),
    "zero3": bf16(3),
    "sequence": bf16(2, sequence=2),
    "no masters": {**bf16(2), "master_weights": False},
}
DDP = {"ddp": bf16(0)}  # the last one: what it tells torch_autocast stays for the process


@pytest.fixture(scope="module")
def summed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[str]]]:
    """Dtypes of both ranks, by strategy; names that end with `alone` are DeepSpeed without our key."""
    cases = {name: (settings, True) for name, settings in OURS.items()}
    cases |= {f"{name} alone": (OURS[name], False) for name in ("zero1", "zero2", "zero3")}
    cases |= {name: (settings, True) for name, settings in DDP.items()}
    folder = tmp_path_factory.mktemp("sums")
    ranks: list[dict[str, list[str]]] = run_in_ranks("tests.engine.sums:dtypes", 2, folder, cases)
    return ranks


@pytest.mark.parametrize("name", [*OURS, *DDP])
def test_gradients_are_summed_in_fp32(summed: list[dict[str, list[str]]], name: str) -> None:
    assert [rank[name] for rank in summed] == [["float32"]] * 2


@pytest.mark.parametrize("name", ["zero1", "zero2", "zero3"])
def test_control_deepspeed_would_sum_them_in_bf16(summed: list[dict[str, list[str]]], name: str) -> None:
    assert all("bfloat16" in rank[f"{name} alone"] for rank in summed)
