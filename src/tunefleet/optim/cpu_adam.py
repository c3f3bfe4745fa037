"""CPU Adam: DeepSpeed's C++ for states in host memory, built when it is first used."""

from __future__ import annotations

from typing import Any

from deepspeed.ops.adam import DeepSpeedCPUAdam
from torch.optim import Optimizer

from tunefleet.base import builds
from tunefleet.base.errors import RunError
from tunefleet.config.optimizer import OptimizerConfig, OptimizerName
from tunefleet.libraries import torch_private


class _Resumable(DeepSpeedCPUAdam):  # type: ignore[misc]  # DeepSpeed has no types
    """Resumes bit by bit after a restart: bias corrections depend on the number of the step alone.

    DeepSpeed's C++ multiplies the powers of the betas on from step to step, which a restart replaces by powers taken at
    once, rounded otherwise. A C++ object that is new in every step takes them at once always.
    """

    def step(self, closure: Any = None) -> Any:
        self._begin()
        return super().step(closure)

    def step_subgroup(self, subgroup_id: int, closure: Any = None) -> Any:
        self._begin()
        return super().step_subgroup(subgroup_id, closure)

    def _begin(self) -> None:
        """The settings of a group are passed in every update; only the kind of decay is the object's own."""
        values = self.defaults
        self.ds_opt_adam.create_adam(
            self.opt_id, values["lr"], *values["betas"], values["eps"], values["weight_decay"], self.adam_w_mode, False
        )


def cpu_adam(groups: list[dict[str, Any]], config: OptimizerConfig) -> Optimizer:
    """DeepSpeed's CPU Adam or AdamW. Raises `RunError` where it cannot be built."""
    builds.put_ninja_on_path()
    torch_private.guard_builds()
    decoupled = config.name is OptimizerName.ADAMW
    try:
        optimizer: Optimizer = _Resumable(
            groups, lr=config.lr, betas=config.betas, eps=config.eps, adamw_mode=decoupled
        )
    except RuntimeError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise RunError(f"DeepSpeed's CPU Adam cannot be built: {reason}. Use optimizer.cpu_kernel=torch.") from error
    return optimizer
