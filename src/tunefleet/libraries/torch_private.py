"""Private names of torch that we use, as they were read in torch 2.13.0.

`tests/libraries` fails where one of them is gone or does something else.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed import distributed_c10d
from torch.utils import cpp_extension, file_baton

from tunefleet.base import builds


class _Baton(file_baton.FileBaton):
    """torch's lock of a build, which is not left by a dead process, and is waited for by taking it.

    Who waits for it in torch's way finds nothing built where the builder has died. Who takes it when it is free runs
    ninja, which builds what is missing, and that is most often nothing.
    """

    def try_acquire(self) -> bool:
        """Returns with the lock, however long that takes."""
        folder = Path(self.lock_file_path).parent
        self._turn = ExitStack()
        while True:
            self._turn.enter_context(builds.turn(folder))
            if super().try_acquire():
                builds.mark(folder)
                return True
            self._turn.close()  # a build that is not of tunefleet was faster

    def release(self) -> None:
        """Gives it back."""
        super().release()
        self._turn.close()


def guard_builds() -> None:
    """From now on torch waits for no build of C++ that a dead process has left."""
    vars(cpp_extension)["FileBaton"] = _Baton


def set_time_limit(limit: timedelta) -> None:
    """How long a collective of any group that is made from now on may take, before torch ends the process.

    `new_group` takes these where it is given none, as DeepSpeed does, whatever the first group was given.
    """
    for name in ("default_pg_timeout", "default_pg_nccl_timeout"):
        setattr(distributed_c10d, name, limit)


def rendezvous_store() -> distributed_c10d.Store:
    """The store of keys over which the ranks of the default process group met; it lives as long as the group.

    A collective has a time limit, and a key of this store can be waited for without one.
    """
    return distributed_c10d._get_default_store()


def with_child(module: nn.Module, name: str, child: nn.Module) -> Any:
    """A shallow copy of `module` whose child `name` is `child`; it shares everything else, and `module` stays."""
    shallow = copy.copy(module)
    shallow._modules = {**module._modules, name: child}
    return shallow


def causal_attention(inputs: Sequence[Tensor], scale: float | None) -> tuple[Tensor, Tensor]:
    """The output [1, heads, length, width] of causal attention on a CPU, and the fp32 logarithm of the sum of the
    exponentials of the scores [1, heads, length], which its backward pass takes.

    `inputs` are queries, keys and values, of the same width; keys and values may have fewer heads. It is what
    `scaled_dot_product_attention` computes with. Called by itself, several conversations cost no node of autograd each.
    """
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return cast(tuple[Tensor, Tensor], attend(*inputs, 0.0, True, scale=scale))


def causal_attention_gradients(
    gradient: Tensor, inputs: Sequence[Tensor], output: Tensor, normalizer: Tensor, scale: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `causal_attention` for queries, keys and values, from that of its output."""
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    gradients = backward(gradient, *inputs, output, normalizer, 0.0, True, scale=scale)
    return cast(tuple[Tensor, Tensor, Tensor], gradients)
