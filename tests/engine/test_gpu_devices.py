"""Is everything that a GPU computes with on the GPU? torch's meta device stands for it, where there is none."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
import torch
from torch import nn

from tunefleet.engine import group, reshard
from tunefleet.engine.shard_parameters import move_buffers

TEN, HOUR, WEEK = timedelta(minutes=10), timedelta(hours=1), timedelta(days=7)
GPU = torch.device("meta")
SETTINGS = [{"fused": True}, {"capturable": True}, {"fused": None, "capturable": False}, {}]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_steps_of_a_resharded_optimizer_are_where_torch_would_load_them(settings: dict[str, Any]) -> None:
    """`Optimizer.load_state_dict` is the reference; fused kernels end with an error where they are elsewhere."""
    weight, step = nn.Parameter(torch.empty(3, device=GPU)), torch.tensor(7.0)
    optimizer = torch.optim.AdamW([weight], **settings) if not settings.get("fused") else torch.optim.AdamW([weight])
    optimizer.param_groups[0].update(settings)
    saved = {**optimizer.state_dict(), "state": {0: {"step": step}}}
    saved["param_groups"][0].update(settings)
    optimizer.load_state_dict(saved)
    expected = optimizer.state[weight]["step"]
    [(key, loaded)] = reshard.beside(weight, {"step": step}, settings).items()
    assert (key, loaded.device, loaded.dtype) == ("step", expected.device, expected.dtype)
    assert (loaded.device == GPU) == any(settings.values())


def test_steps_are_the_optimizer_s_own_and_numbers_stay_numbers() -> None:
    step, weight = torch.tensor(7.0), nn.Parameter(torch.zeros(3))
    copied = reshard.beside(weight, {"step": step, "count": 7}, {"fused": True})
    step += 1
    assert (copied["step"].item(), copied["count"]) == (7.0, 7)


class Rotary(nn.Module):
    """Two buffers, one of which no checkpoint holds, in a model of two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.ones(4), persistent=False)
        self.register_buffer("mask", torch.ones(2, dtype=torch.bool))
        self.register_buffer("nothing", None)
        self.layer = nn.BatchNorm1d(3)


def test_buffers_go_to_the_device_as_they_are() -> None:
    model = nn.Sequential(Rotary(), Rotary())
    dtypes = {name: values.dtype for name, values in model.named_buffers()}
    move_buffers(model, GPU)
    assert {values.device for values in model.buffers()} == {GPU}
    assert {name: values.dtype for name, values in model.named_buffers()} == dtypes
    assert not any(weight.device == GPU for weight in model.parameters())  # these are moved one by one


@pytest.mark.parametrize(("backend", "probed"), [("nccl", False), ("gloo", True)])
def test_no_compiler_is_started_to_look_for_what_gpus_do_not_use(backend: str, probed: bool) -> None:
    """gloo is the control: there the look is needed, or the extension would be built."""
    code = (
        "import deepspeed; from tunefleet.libraries.deepspeed_private import skip_shm_extension;"
        f"skip_shm_extension({backend!r}); print('__compatible_ops__' in vars(deepspeed.ops))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(probed)


@pytest.mark.parametrize(("device", "told"), [("cpu", None), ("cuda:3", [3])])
def test_a_barrier_says_its_gpu(monkeypatch: pytest.MonkeyPatch, device: str, told: list[int] | None) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(group.distributed, "barrier", lambda device_ids: calls.append(device_ids))
    group.barrier(torch.device(device))
    assert calls == [told]


@pytest.mark.parametrize(("watched", "least", "most"), [(True, WEEK, WEEK), (False, TEN, HOUR)])
def test_the_limit_of_a_collective(
    monkeypatch: pytest.MonkeyPatch, watched: bool, least: timedelta, most: timedelta
) -> None:
    """NCCL's watchdog would end good ranks after ten minutes, DeepSpeed's limit; our watch tells which one hangs."""
    limits: list[timedelta] = []
    monkeypatch.setattr(group.rendezvous, "stay_on_loopback", lambda environment, backend, limit: limits.append(limit))
    monkeypatch.setattr(group.deepspeed, "init_distributed", lambda timeout, **named: limits.append(timeout))
    monkeypatch.setattr(group.torch_private, "set_time_limit", limits.append)
    monkeypatch.setattr(group, "ProcessGroup", lambda: None)
    group.join(watched)
    assert len(limits) == 2 + watched
    assert all(least <= limit <= most for limit in limits)


@pytest.mark.parametrize("rank", [0, 1])
def test_who_waits_for_rank_0_waits_in_no_collective(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    """Every collective of torch's raises here; the others ask the store until the key is there."""

    class Store:
        checks = 0

        def check(self, keys: list[str]) -> bool:
            self.checks += 1
            return self.checks > 2

        def set(self, key: str, value: str) -> None:
            assert value == "done"

    def fail(*arguments: Any, **named: Any) -> None:
        raise AssertionError("a collective")

    store = Store()
    monkeypatch.setattr(group.torch_private, "rendezvous_store", lambda: store)
    for name in ("barrier", "all_reduce", "broadcast", "all_gather"):
        monkeypatch.setattr(group.distributed, name, fail)
    monkeypatch.setattr(group.distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(group.distributed, "get_world_size", lambda: 2)
    assert group.ProcessGroup().wait_for_first(lambda: "made") == ("made" if rank == 0 else None)
    assert store.checks == (0 if rank == 0 else 3)
