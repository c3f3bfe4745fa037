"""Adam for states in host memory: DeepSpeed's C++, built when it is first used."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from deepspeed.ops.adam import DeepSpeedCPUAdam
from torch.optim import Optimizer
from torch.utils import cpp_extension

from tunefleet.base.errors import RunError
from tunefleet.config.optimizer import OptimizerConfig, OptimizerName

_BUILD_SECONDS = 600  # it takes about 80 on one core
_LOCK = "lock"  # torch.utils.cpp_extension calls it so


def cpu_adam(groups: list[dict[str, Any]], config: OptimizerConfig) -> Optimizer:
    """DeepSpeed's CPU Adam or AdamW. Raises `RunError` where it cannot be built."""
    _put_ninja_on_path()
    await_build(Path(cpp_extension._get_build_directory("cpu_adam", verbose=False)))
    decoupled = config.name is OptimizerName.ADAMW
    try:
        optimizer: Optimizer = DeepSpeedCPUAdam(
            groups, lr=config.lr, betas=config.betas, eps=config.eps, adamw_mode=decoupled
        )
    except RuntimeError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise RunError(f"DeepSpeed's CPU Adam cannot be built: {reason}. Use optimizer.cpu_kernel=torch.") from error
    return optimizer


def await_build(folder: Path, seconds: float = _BUILD_SECONDS) -> None:
    """Waits while somebody else builds in `folder`. Raises `RunError` where a killed build has left its lock there.

    torch waits for that file to go, for ever and without a word. A lock that no process of this machine holds open
    may still be another machine's, on a shared file system: until it is older than `seconds`.
    """
    lock = folder / _LOCK
    while lock.exists() and not _held(lock):
        if _age(lock) > seconds:
            raise RunError(
                f"{lock}: left by a build that was killed; every later one waits for it. Remove it: rm {lock}"
            )
        print(f"waiting for another machine that builds DeepSpeed's CPU Adam, or has died of it: {lock}", flush=True)
        time.sleep(5)


def _held(lock: Path) -> bool:
    """Whether a process of this machine has `lock` open, as a build does."""
    target = str(lock.resolve())
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == target:
                return True
        except OSError:
            continue  # the process has ended, or is somebody else's
    return False


def _age(lock: Path) -> float:
    try:
        return time.time() - lock.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _put_ninja_on_path() -> None:
    """ninja is installed beside this Python, which need not be on the PATH."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
