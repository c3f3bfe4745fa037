"""Process group of a run: how its processes find each other, and agree on small values."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import deepspeed
import torch
from deepspeed.constants import default_pg_timeout
from torch import distributed

from tunefleet.base import pulse
from tunefleet.engine import json_gather, rendezvous
from tunefleet.libraries import deepspeed_private, torch_private
from tunefleet.plan.processes.layout import Layout

Value = TypeVar("Value")
_POLL = 0.1  # seconds
_WATCHED = timedelta(days=7)  # of a collective


class ProcessGroup:
    """All ranks of a run; every method is a collective that every rank must call."""

    def __init__(self) -> None:
        self.rank = distributed.get_rank()
        self.size = distributed.get_world_size()
        self.device = _device()
        self._subgroups: dict[int, distributed.ProcessGroup] = {}
        self._turns = 0

    def agree(self, code: int) -> int:
        """The largest `code` of any rank."""
        shared = torch.tensor(code, device=self.device)
        distributed.all_reduce(shared, op=distributed.ReduceOp.MAX)
        return int(shared.item())

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The sums over all ranks, in double precision."""
        shared = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        distributed.all_reduce(shared)
        return [float(number) for number in shared.tolist()]

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in rank order: what JSON holds, and a tuple arrives as a list."""
        return json_gather.gather(value, self.device)

    def barrier(self) -> None:
        """Waits for every rank."""
        barrier(self.device)

    def wait_for_first(self, act: Callable[[], Value]) -> Value | None:
        """What `act` returns on rank 0, None elsewhere. The others wait without a collective, whose time would run out,
        for as long as it takes.
        """
        store = torch_private.rendezvous_store()
        self._turns += 1
        key = f"tunefleet/turn/{self._turns}"
        if self.rank == 0:
            try:
                with pulse.solo_work("working alone"):
                    return act()
            finally:
                store.set(key, "done")
        while not store.check([key]):
            time.sleep(_POLL)
        return None

    def adjacent_ranks(self, degree: int) -> distributed.ProcessGroup | None:
        """This rank's group of `degree` adjacent ranks, tensor- or sequence-parallel; None where the degree is 1."""
        if degree > 1 and degree not in self._subgroups:
            self._subgroups[degree] = distributed.new_subgroups(degree)[0]  # type: ignore[no-untyped-call]
        return self._subgroups.get(degree)

    def destroy(self) -> None:
        """The last call of a run that went well; without it some good runs abort at exit."""
        barrier(self.device)
        distributed.destroy_process_group()


def barrier(device: torch.device) -> None:
    """Waits for every rank; NCCL is told on which GPU, or it would guess, and say so."""
    distributed.barrier(device_ids=None if device.type == "cpu" else [device.index])


class DataParallelGroup:
    """The copies of the model as a group: the ranks of one copy read the same sequences, and a token counts once.

    `rank` is the part of the sequences that this process reads, of `size` parts.
    """

    def __init__(self, group: ProcessGroup, layout: Layout) -> None:
        self.rank = layout.data_rank(group.rank)
        self.size = layout.data_parallel
        self._group = group
        self._leaders = [rank for rank in range(group.size) if layout.is_leader(rank)]
        self._counts = layout.counts_tokens(group.rank)

    def agree(self, code: int) -> int:
        """The largest `code` of any process."""
        return self._group.agree(code)

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The sums over all copies, in double precision; a NaN of any process makes a sum one."""
        return self._group.total([number if self._counts or math.isnan(number) else 0.0 for number in numbers])

    def gather(self, value: Any) -> list[Any]:
        """The values of all copies, in the order of their ranks."""
        gathered = self._group.gather(value)
        return [gathered[rank] for rank in self._leaders]

    def barrier(self) -> None:
        """Waits for every process."""
        self._group.barrier()


def join(watched: bool = False) -> ProcessGroup:
    """Joins the group that RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT describe.

    Where a watch of ours ends ranks that hang (`watched`), torch's limits of 10 and 30 minutes would only end good
    ones, while rank 0 works for long, and blame the wrong rank.
    """
    if watched:
        torch_private.set_time_limit(_WATCHED)
    torch_private.guard_builds()
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    deepspeed_private.skip_shm_extension(backend)
    deepspeed_private.import_muon()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    limit = _WATCHED if watched else default_pg_timeout
    if not distributed.is_initialized():  # a process joins once
        rendezvous.stay_on_loopback(os.environ, backend, limit)
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False, timeout=limit)
    return ProcessGroup()


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
