"""Plan: everything decided before a run starts, frozen, and saved as plan.json."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tunefleet.base import files, ownership
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.base.paths import RunPaths
from tunefleet.base.units import count
from tunefleet.config import RunConfig
from tunefleet.config.adapter import AdapterName
from tunefleet.config.load import dump, load
from tunefleet.config.parallel import Place
from tunefleet.config.train import Precision
from tunefleet.plan import answers
from tunefleet.plan.estimate.pipeline_stages import describe
from tunefleet.plan.families import by_document, lora_targets
from tunefleet.plan.paths.model_files import Sources
from tunefleet.plan.processes.batch import Batch
from tunefleet.plan.processes.layout import Layout, reads_one_by_one
from tunefleet.plan.processes.slurm_job import Job

Contents = dict[str, dict[str, str]]
"""The SHA-256 of each file that a run reads, by what it is read as and by name (`plan/contents.py`)."""


_DIGEST = "digest"


class DamagedPlan(RunError):
    """A plan.json that is none: cut off, or not written by us."""


@dataclass(frozen=True)
class Expected:
    """What the forecast says, to be compared with what is measured: GiB of one process, tokens/s of all of them."""

    peak: float
    tokens_per_second: float | None


@dataclass(frozen=True)
class Plan:
    """One run, decided. `identity` is a hash of everything that changes the trained weights.

    `trajectory` is one of the same without `parallel`: strategies follow one trajectory, up to the order of sums.


    `overrides` were typed. Stage s of a pipeline holds the blocks stages[s] to stages[s + 1] - 1.
    `cpu_adam` is whether DeepSpeed's CPU Adam updates offloaded states.
    `contents` is empty until the run is submitted or started, which reads its files.
    """

    name: str
    run_dir: str
    identity: str
    config: RunConfig
    layout: Layout
    batch: Batch
    sources: Sources
    parameters: int | None
    threads: int
    engine: dict[str, Any]
    notes: tuple[str, ...]
    version: str
    stages: tuple[int, ...] = ()
    job: Job | None = None
    overrides: tuple[str, ...] = ()
    expected: Expected | None = None
    cpu_adam: bool = False
    trajectory: str = ""
    contents: Contents = field(default_factory=dict, compare=False)

    @property
    def autocast(self) -> bool:
        """Whether weights stay in fp32 and products are autocast, as stage 0 has no master weights."""
        return self.config.parallel.zero_stage == 0 and self.config.train.precision is not Precision.FP32

    @property
    def width_multiple(self) -> int:
        """What widths of micro-batches are a multiple of: kernels of GPUs copy masks of others, or are made anew."""
        return 64 if self.layout.device == "cuda" else 1

    @property
    def collated_ahead(self) -> int:
        """Micro-batches that a thread collates while a GPU computes; a CPU's cores have enough to do."""
        return self.batch.accumulation if self.layout.device == "cuda" else 0

    @property
    def by_document(self) -> bool:
        """Whether conversations attend one by one, without a mask."""
        on_gpu = self.layout.device != "cpu"
        return by_document.applies(self.config.model.attention, self.sources.architecture, on_gpu)

    @property
    def reads_one_by_one(self) -> bool:
        """Whether our engine reads the weights, one at a time."""
        return reads_one_by_one(self.config.parallel, self.layout.processes_here)

    @property
    def reshardable(self) -> bool:
        """Whether it can go on from what any number of processes, at any ZeRO stage, saved."""
        return not self.fixes_shape

    @property
    def fixes_shape(self) -> str:
        """The setting for which only the same strategy and number of processes resume it; empty where others can.

        A rank holds a part of the model that ZeRO knows nothing of, a second copy of it, or states that nobody saves.
        """
        parallel, layout = self.config.parallel, self.layout
        for name, value in (
            ("tensor", layout.tensor),
            ("pipeline", layout.pipeline),
            ("hierarchical", parallel.hierarchical),
        ):
            if value != 1:
                return f"parallel.{name}={'null' if value is None else value}"
        for name in ("offload_optimizer", "offload_parameters"):
            if getattr(parallel, name) is Place.NVME:
                return f"parallel.{name}=nvme"
        return ""

    def goes_on_as(self, later: Plan) -> bool:
        """Whether `later` may go on with this run: the same, or another strategy for the same trajectory."""
        if later.identity == self.identity:
            return True
        return bool(self.trajectory) and self.trajectory == later.trajectory and self.reshardable and later.reshardable

    @property
    def paths(self) -> RunPaths:
        """Where the files of this run are."""
        return RunPaths(Path(self.run_dir))

    def summary(self) -> dict[str, str]:
        """What the user should know before it starts, as far as no data are needed."""
        config = self.config
        weights = f"from {self.sources.weights}" if self.sources.weights else "from scratch"
        parameters = f"{count(self.parameters)} parameters" if self.parameters else "parameters not counted"
        processes = f"{self.layout.world_size} {self.layout.device} process{'es' * (self.layout.world_size > 1)}"
        architecture = self.sources.architecture
        job = {"job": self.job.summary()} if self.job else {}
        stages = {"stages": describe(self.stages, self.batch.accumulation)} if self.stages else {}
        adapter = {}
        if config.adapter.name is not AdapterName.NONE:
            adapter["adapter"] = lora_targets.summary(config.adapter, architecture, self.parameters)
        return {
            "run": self.name,
            "saved to": os.path.relpath(self.run_dir),
            "model": f"{config.model.name} ({architecture.model_type}): {parameters}, {weights}",
            "attention": by_document.describe(config.model.attention, architecture, self.layout.device != "cpu"),
            **adapter,
            "spread": f"{config.parallel.name} on {processes}, {config.train.precision.value}",
            **stages,
            "batch": str(self.batch),
            "optimizer": f"{config.optimizer.name.value}, lr {config.optimizer.lr:g}, "
            f"{config.schedule.name.value} after {config.schedule.warmup.text} of warm-up",
            "measured": answers.describe(config.evaluation),
            **{key: text for key, text in asdict(config.experiment).items() if text},
            **job,
        }

    def save(self) -> None:
        """Writes plan.json into the run directory, atomically, with a digest of what it holds."""
        values = dump(self)
        files.write_json(self.paths.plan, {**values, _DIGEST: _digest(values)})

    @staticmethod
    def read(run_dir: Path) -> Plan:
        """The plan saved in `run_dir`. Raises `RunError` where there is none, one of another version, a changed one, or
        where somebody else may have written it; `DamagedPlan` where it is no plan at all.
        """
        path = RunPaths(run_dir).plan
        if complaint := ownership.complaint_to_use(run_dir):
            raise RunError(f"{complaint}.")
        try:
            record = _record(files.read_json(path))
            digest = record.pop(_DIGEST, None)
            plan = load(Plan, record)
        except (FileNotFoundError, NotADirectoryError):
            raise RunError(f"{run_dir}: not a run: it has no plan.json. Runs are in outputs/.") from None
        except ConfigError as error:
            raise RunError(f"{path}: of another version of tunefleet: {error.complaints[0]}") from None
        except OSError as error:
            raise RunError(f"{path}: cannot be read: {error.strerror}.") from None
        except (ValueError, TypeError, AttributeError, KeyError, ArithmeticError) as error:
            raise DamagedPlan(f"{path}: damaged: {error}. Start the run again with its command.") from None
        _expect_unchanged(path, plan, record, digest)
        return replace(plan, run_dir=str(run_dir.resolve()))  # the directory may have been moved


def _record(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it holds no settings")
    return value


def _expect_unchanged(path: Path, plan: Plan, record: Mapping[str, Any], digest: object) -> None:
    """Raises `RunError` where the file holds something else than what was saved: that would be another run.

    A plan without a digest is of version 0.1, which had fewer settings; its identity names the checkpoints it may use.
    """
    is_changed = _keys(record) == _keys(dump(plan)) if digest is None else digest != _digest(record)
    if is_changed:
        raise RunError(
            f"{path}: changed since it was saved, so it is another run's. Put it back; or remove it, and start the run "
            "again with its command."
        )


def _keys(values: Any, prefix: str = "") -> set[str]:
    """Every key, with those above it."""
    if not isinstance(values, dict):
        return {prefix}
    return {key for name, value in values.items() for key in _keys(value, f"{prefix}.{name}")}


def _digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of what a plan holds but its name and its place, which change when its directory is renamed or moved."""
    kept = {key: value for key, value in values.items() if key not in ("name", "run_dir", _DIGEST)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
