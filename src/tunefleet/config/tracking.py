"""Group `tracking`: where the numbers of a run go besides its own files."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunefleet.base.units import Cadence, steps
from tunefleet.config.fields import ranged


class WandbMode(Enum):
    """`auto` is online where a key is there, else offline."""

    AUTO = "auto"
    ONLINE = "online"
    OFFLINE = "offline"
    DISABLED = "disabled"


class ArtifactName(Enum):
    """What trackers may keep besides numbers."""

    EXPORT = "export"
    SAMPLES = "samples"
    PLAN = "plan"


@dataclass(frozen=True)
class TrackingConfig:
    """Trackers, several at once (`tracking=[wandb,csv]`), and the console; `metrics.jsonl` is always written."""

    wandb: WandbMode = WandbMode.DISABLED
    """Whether and how Weights & Biases logs the run."""
    tensorboard: bool = False
    """Whether TensorBoard's event files are written, below `tensorboard` of the run directory."""
    mlflow: bool = False
    """Whether MLflow logs the run."""
    csv: bool = False
    """Whether `metrics.csv` is written beside `metrics.jsonl`: a column for each number."""
    mlflow_uri: str | None = None
    """MLflow's server or store; null is MLFLOW_TRACKING_URI, else `mlflow.db` (SQLite) in `output_dir`."""
    own_trackers: tuple[str, ...] = ()
    """Classes of your own project, `my_project.trackers:Mine`, where your settings file allows it; see
    docs/your-project.md."""
    artifacts: tuple[ArtifactName, ...] = ()
    """Files that W&B and MLflow get at the end of a finished run: `export` (the model), `samples`, `plan`."""
    project: str = "tunefleet"
    """Weights & Biases project, and MLflow's experiment."""
    entity: str | None = None
    """Weights & Biases team or user; null is the key's own."""
    group: str | None = None
    """Runs of one group are drawn together; null takes data and model."""
    run_name: str | None = None
    """What trackers call the run; null is the run's own name."""
    tags: tuple[str, ...] = ()
    """Words to find the run by."""
    peak_tflops: float | None = ranged(None, above=0)
    """What MFU is a share of: dense TFLOP/s of one process's device; null is the data sheet's of a known GPU, else what
    a process is measured to reach."""
    log_every: Cadence = Cadence((steps(1),))
    """Between two records: `10` (steps), `1%`, `5 minutes`; the last step always has one."""
