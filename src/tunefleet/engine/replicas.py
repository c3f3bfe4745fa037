"""Replicas: weights that several ranks hold alike, compared bit by bit; where they differ, which rank's and which."""

from __future__ import annotations

import hashlib
import json
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tunefleet.base.errors import ReplicaDrift
from tunefleet.contracts import Group

_BLOCK = 1 << 20  # words that are multiplied at once
_ODD = 0x1E3779B97F4A7C15
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def expect_equal(weights: Mapping[str, Tensor], group: Group) -> None:
    """Raises `ReplicaDrift` where ranks hold different bits under the same name; more than half of them are right.

    One number for all weights goes from rank to rank; those of each weight follow where it differs, or where ranks
    hold different weights. Collective.
    """
    if group.size == 1:
        return
    prints = fingerprints(weights)
    totals = group.gather([_digest(list(prints)), _digest(list(prints.values()))])
    if all(total == totals[0] for total in totals):
        return
    gathered = group.gather({"host": socket.gethostname(), "prints": prints})
    if drifts := _drifts([record["prints"] for record in gathered]):
        raise ReplicaDrift(_message(drifts, [record["host"] for record in gathered]))


def fingerprints(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """A 64-bit number of each weight, in which any flipped bit changes something; read once, on its device."""
    device = next((weight.device for weight in weights.values()), None)
    factors = (torch.arange(_BLOCK, device=device) * 2 + 1) * _ODD
    numbers = torch.stack([_of_bits(weight, factors) for weight in weights.values()]).tolist() if weights else []
    return dict(zip(weights, numbers, strict=True))


def _of_bits(weight: Tensor, factors: Tensor) -> Tensor:
    """Sum of words x (an odd number of the place) modulo 2^64: a single word that differs always changes it."""
    integers = _integers(weight.detach().contiguous().flatten())
    total = torch.zeros((), dtype=torch.int64, device=integers.device)
    for start in range(0, integers.numel(), _BLOCK):
        block = integers[start : start + _BLOCK].to(torch.int64)
        total = total * _ODD + (block * factors[: block.numel()]).sum()
    return total


def _integers(elements: Tensor) -> Tensor:
    """The bits of `elements` as the longest integers that its size is a multiple of, wherever its memory begins."""
    size = elements.element_size()
    longest = next(bytes_ for bytes_ in (8, 4, 2, 1) if elements.numel() * size % bytes_ == 0)
    aligned = elements if elements.storage_offset() * size % longest == 0 else elements.clone()
    return aligned.view(_INTEGERS[longest])


def _digest(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _drifts(prints: Sequence[Mapping[str, int]]) -> dict[str, list[int]]:
    """The ranks that may be wrong, by the names of weights that differ: the minority, or all where there is none."""
    drifts = {}
    for name in dict.fromkeys(name for of_rank in prints for name in of_rank):
        numbers = {rank: of_rank[name] for rank, of_rank in enumerate(prints) if name in of_rank}
        [(usual, count), *minority] = Counter(numbers.values()).most_common()
        if minority:
            has_majority = count * 2 > len(numbers)
            drifts[name] = [rank for rank, number in numbers.items() if number != usual or not has_majority]
    return drifts


def _message(drifts: Mapping[str, Sequence[int]], hosts: Sequence[str]) -> str:
    name, ranks = next(iter(drifts.items()))
    more = f" and {len(drifts) - 1} more" if len(drifts) > 1 else ""
    places = ", ".join(f"{rank} ({hosts[rank]})" for rank in ranks)
    verdict = f"rank {places} differs from the others" if len(ranks) == 1 else f"ranks {places} differ"
    return (
        f"the weights of {verdict} in {name}{more}: a bit was flipped in memory, or a process computes wrongly. "
        "The last checkpoint was compared before it was saved: the same command resumes from it; better without that "
        "machine."
    )
