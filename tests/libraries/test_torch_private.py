"""Does torch still do what `libraries/torch_private.py` reads in it?"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.distributed import distributed_c10d
from torch.nn import functional
from torch.utils import cpp_extension, file_baton

from tunefleet.base import builds
from tunefleet.libraries import torch_private


def test_extensions_are_built_under_our_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`load` takes what stands in the place of its own lock; `tests/faults/test_builds.py` kills builders."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setattr(cpp_extension, "FileBaton", file_baton.FileBaton)
    (tmp_path / "some.cpp").write_text("no C++")
    folders: list[Path] = []
    monkeypatch.setattr(builds, "mark", folders.append)
    torch_private.guard_builds()
    with pytest.raises(RuntimeError):
        cpp_extension.load("some_extension", [str(tmp_path / "some.cpp")])
    assert [folder.name for folder in folders] == ["some_extension"]
    assert not (folders[0] / "lock").exists()


def test_the_store_of_the_group_is_the_one_that_it_was_made_with() -> None:
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        torch_private.rendezvous_store().set("key", "value")
        assert torch_private.rendezvous_store().check(["key"])
        assert not torch_private.rendezvous_store().check(["another"])
    finally:
        distributed.destroy_process_group()


def test_the_time_limit_holds_for_groups_that_are_given_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("default_pg_timeout", "default_pg_nccl_timeout"):
        monkeypatch.setattr(distributed_c10d, name, getattr(distributed_c10d, name))
    torch_private.set_time_limit(timedelta(seconds=1))
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        options = distributed.new_group([0])._get_backend(torch.device("cpu")).options
        assert options._timeout == timedelta(seconds=1)
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_causal_attention_is_what_sdpa_computes_with(dtype: torch.dtype) -> None:
    """With fewer heads of keys and values, and their gradients; to the bit."""
    inputs = [torch.randn(1, heads, 30, 16, dtype=dtype, requires_grad=True) for heads in (8, 2, 2)]
    expected = functional.scaled_dot_product_attention(*inputs, is_causal=True, scale=0.3, enable_gqa=True)
    gradient = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, inputs, gradient)
    detached = [tensor.detach() for tensor in inputs]
    output, normalizer = torch_private.causal_attention(detached, 0.3)
    assert torch.equal(output, expected)
    assert (normalizer.shape, normalizer.dtype) == ((1, 8, 30), torch.float32)
    computed = torch_private.causal_attention_gradients(gradient, detached, output, normalizer, 0.3)
    assert all(map(torch.equal, computed, wanted))


def test_a_child_is_replaced_in_the_copy_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    calls: list[str] = []
    model[1].register_forward_hook(lambda *given: calls.append("hook"))
    changed = torch_private.with_child(model, "0", nn.Identity())
    row = torch.ones(1, 2)
    assert torch.equal(changed.forward(row), model[1](row))
    assert calls == ["hook"] * 2
    assert changed[1] is model[1]
    assert isinstance(model[0], nn.Linear)
    assert [name for name, _ in changed.named_parameters()] == ["1.weight", "1.bias"]
