"""Run configuration: one field for each config group."""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.config.adapter import AdapterConfig
from tunefleet.config.checkpoint import CheckpointConfig
from tunefleet.config.data import DataConfig
from tunefleet.config.evaluation import EvaluationConfig
from tunefleet.config.fields import ranged
from tunefleet.config.launch import LaunchConfig
from tunefleet.config.model import ModelConfig
from tunefleet.config.optimizer import OptimizerConfig, ScheduleConfig
from tunefleet.config.parallel import ParallelConfig
from tunefleet.config.plan import PlanConfig
from tunefleet.config.tracking import TrackingConfig
from tunefleet.config.train import TrainConfig


@dataclass(frozen=True)
class ExperimentConfig:
    """The card of an experiment that someone can repeat."""

    claim: str = ""
    """What the experiment shows."""
    expected: str = ""
    """The number it should reach, with its tolerance."""
    cost: str = ""
    """Time on a named machine."""
    prepare: str = ""
    """What to type so that its data are there; said where `data.path` is not."""


@dataclass(frozen=True)
class RunConfig:
    """Everything the user can set."""

    name: str | None = None
    """Name of the run and its directory; null makes one from data, model, strategy and settings."""
    seed: int = ranged(0, at_least=0)
    """Seed of everything random; `train.seed` follows it."""
    output_dir: str = "outputs"
    """Folder below which every run has its own directory."""
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    adapter: AdapterConfig = AdapterConfig()
    parallel: ParallelConfig = ParallelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig = TrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    tracking: TrackingConfig = TrackingConfig()
    launch: LaunchConfig = LaunchConfig()
    plan: PlanConfig = PlanConfig()
    experiment: ExperimentConfig = ExperimentConfig()
