"""JSON gather: small values of all ranks as text; torch's `all_gather_object` unpickles, and so runs, what comes."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, distributed


def gather(value: Any, device: torch.device) -> list[Any]:
    """The values of all ranks of the default group, in rank order. Collective.

    A value is what JSON holds: None, switches, numbers, texts, lists and dictionaries with texts as keys. A tuple
    arrives as a list. Raises `TypeError` for anything else.
    """
    _expect_keys(value)
    content = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(device)
    sizes = [int(size) for size in _all(torch.tensor([content.numel()], device=device))]
    padded = torch.zeros(max(sizes), dtype=torch.uint8, device=device)
    padded[: content.numel()] = content
    return [json.loads(part[:size].cpu().numpy().tobytes()) for part, size in zip(_all(padded), sizes, strict=True)]


def _all(part: Tensor) -> list[Tensor]:
    parts = [torch.empty_like(part) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, part)
    return parts


def _expect_keys(value: Any) -> None:
    """JSON would make a text of a number that is a key, and nobody would know."""
    if isinstance(value, dict):
        if strange := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"{strange[0]!r}: a key that is no text would arrive as one")
        value = list(value.values())
    for item in value if isinstance(value, (list, tuple)) else ():
        _expect_keys(item)
