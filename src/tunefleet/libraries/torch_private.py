"""Private names of torch that we use, as they were read in torch 2.13.0.

`tests/libraries` fails where one of them is gone or does something else.
"""

from __future__ import annotations

import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch import nn
from torch.distributed import distributed_c10d
from torch.utils import cpp_extension


def build_directory(extension: str) -> Path:
    """Where torch builds the C++ `extension`, and keeps a file `lock` meanwhile. Makes the folder, as torch does."""
    return Path(cpp_extension._get_build_directory(extension, verbose=False))


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
