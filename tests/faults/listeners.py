"""Listening sockets of a rank, as a run's ranks see them of themselves; what a planted pickle would do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from tunefleet.engine import group, rendezvous

_LISTEN = "0A"  # in /proc/net/tcp


class Planted:
    """Unpickling it makes the file `mark`."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def listening(folder: Path, guarded: bool) -> list[str]:
    """The addresses (hexadecimal) at which this rank listens after it has joined; unguarded, torch joins by itself."""
    if not guarded:
        rendezvous.stay_on_loopback = lambda *arguments: None
        os.environ.pop("GLOO_SOCKET_IFNAME", None)
    joined = group.join()
    assert joined.gather(joined.rank) == list(range(joined.size))
    addresses = sorted(_own_listeners())
    joined.destroy()
    return addresses


def gathered(folder: Path, argument: Any) -> Any:
    """What a rank gets of values of several kinds and sizes; of what JSON does not hold, the error."""
    joined = group.join()
    value = {"rank": joined.rank, "texts": ["é" * joined.rank * 1000, None], "numbers": (0.1, 2**63, True)}
    values = joined.gather(value)
    errors = []
    for wrong in ({1: "a"}, {"a": {2: 3}}, object(), torch.zeros(1)):
        try:
            joined.gather(wrong)
        except TypeError as error:
            errors.append(type(error).__name__)
    joined.destroy()
    return values, errors


def with_a_planted_rank(folder: Path, argument: dict[str, Any]) -> str:
    """Rank 1 sends a pickle in the place of its value; what becomes of it in rank 0."""
    joined = group.join()
    if argument["torch"]:
        received: list[Any] = [None] * joined.size
        distributed.all_gather_object(received, Planted(argument["mark"]) if joined.rank else 0)
        return "received"
    import json
    import pickle

    try:
        if joined.rank:
            json.dumps, original = lambda value: pickle.dumps(Planted(argument["mark"])).decode("latin-1"), json.dumps
            try:
                joined.gather(0)
            finally:
                json.dumps = original
        else:
            joined.gather(0)
    except ValueError as error:
        return type(error).__name__
    return "received"


def _own_listeners() -> list[str]:
    """From the kernel's table, by the sockets that this process has open."""
    sockets = {os.readlink(link) for link in _descriptors()}
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [line[1].split(":")[0] for line in lines if line[3] == _LISTEN and f"socket:[{line[9]}]" in sockets]


def _descriptors() -> list[str]:
    folder = "/proc/self/fd"
    return [f"{folder}/{name}" for name in os.listdir(folder) if os.path.islink(f"{folder}/{name}")]
