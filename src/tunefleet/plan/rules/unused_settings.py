"""Unused settings: what was changed, and another setting leaves without effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

from tunefleet.config import RunConfig
from tunefleet.config.cleaning import Duplicates
from tunefleet.config.data import OnBadRow
from tunefleet.config.launch import Launcher
from tunefleet.config.model import Init
from tunefleet.config.optimizer import ScheduleName
from tunefleet.config.parallel import Place
from tunefleet.config.tracking import WandbMode
from tunefleet.config.train import OnRefusal

_SLURM = tuple(
    f"launch.{name}"
    for name in [
        "nodes",
        "gpus_per_node",
        "cpus_per_task",
        "memory",
        "time",
        "partition",
        "account",
        "qos",
        "constraint",
        "gres",
        "nodelist",
        "exclude",
        "exclusive",
        "reservation",
        "dependency",
        "mail_type",
        "mail_user",
        "extra",
        "setup",
        "srun_args",
        "python",
        "signal_before",
        "max_restarts",
        "array_limit",
        "wait",
        "dry_run",
        "snapshot",
        "snapshot_untracked",
    ]
)


def _may_refuse(config: RunConfig) -> bool:
    """Whether an update may be skipped, or gone back before."""
    train = config.train
    on_spike = train.spike_sigma is not None and train.on_spike is not OnRefusal.STOP
    return on_spike or train.on_non_finite is not OnRefusal.STOP


def _has_projects(config: RunConfig) -> bool:
    return config.tracking.wandb is not WandbMode.DISABLED or config.tracking.mlflow


_USES: tuple[tuple[tuple[str, ...], Callable[[RunConfig], Any], str], ...] = (
    (("data.clean.similarity",), lambda c: c.data.clean.duplicates is Duplicates.NEAR, "data.clean.duplicates=near"),
    (("data.max_bad_rows",), lambda c: c.data.on_bad_row is OnBadRow.SKIP, "data.on_bad_row=skip"),
    (("data.mix_seed",), lambda c: c.data.mix, "data.mix"),
    (("model.allow_pickle",), lambda c: c.model.init is Init.PRETRAINED, "model.init=pretrained"),
    (("train.spike_window", "train.on_spike"), lambda c: c.train.spike_sigma, "train.spike_sigma"),
    (("train.skip_budget",), _may_refuse, "train.on_non_finite=skip or rewind, or train.spike_sigma"),
    (("checkpoint.metric",), lambda c: c.checkpoint.keep_best, "checkpoint.keep_best"),
    (("optimizer.decay_embeddings",), lambda c: c.optimizer.weight_decay, "optimizer.weight_decay"),
    (("schedule.floor",), lambda c: c.schedule.name is not ScheduleName.CONSTANT, "a schedule that falls"),
    (
        ("parallel.nvme_buffers", "parallel.nvme_buffer_size"),
        lambda c: c.parallel.offload_parameters is Place.NVME,
        "parallel.offload_parameters=nvme",
    ),
    (("tracking.entity",), lambda c: c.tracking.wandb is not WandbMode.DISABLED, "tracking=wandb"),
    (("tracking.project", "tracking.tags"), _has_projects, "tracking=wandb or mlflow"),
    (_SLURM, lambda c: c.launch.name is Launcher.SLURM, "launch=slurm"),
)
"""(settings, whether they are used, without what they are not)."""


def notes(config: RunConfig) -> Iterator[str]:
    """A line for each."""
    default = RunConfig()
    for settings, is_used, needed in _USES:
        for setting in settings if not is_used(config) else ():
            if _value(config, setting) != _value(default, setting):
                yield f"{setting} is not used without {needed}."


def _value(config: RunConfig, setting: str) -> Any:
    return reduce(getattr, setting.split("."), config)
