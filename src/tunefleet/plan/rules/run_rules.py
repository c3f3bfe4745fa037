"""Rules of a run as a whole: its name, its folder, how often it is recorded."""

from __future__ import annotations

import re
from importlib.util import find_spec

from tunefleet.base.paths import NOT_RUNS
from tunefleet.config import RunConfig, profile_steps
from tunefleet.config.tracking import WandbMode

_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")  # what ends a line, in a batch script too
_LONGEST_NAME = 200  # file systems take 255 bytes; copies of a run add to its name


def betas(config: RunConfig) -> list[str]:
    """Moments decay by factors below 1."""
    if all(0 <= beta < 1 for beta in config.optimizer.betas):
        return []
    return [
        f"optimizer.betas: {list(config.optimizer.betas)} is not allowed. "
        "Allowed: two numbers, each at least 0 and below 1."
    ]


def log_every(config: RunConfig) -> list[str]:
    """A run without a record is no run."""
    if not config.tracking.log_every.is_never:
        return []
    return ["tracking.log_every: 0 would record the last step alone. Use tracking.log_every=1, or 5%."]


def tracker_packages(config: RunConfig) -> list[str]:
    """Trackers whose packages are no dependencies are there."""
    switches = {"tensorboard": config.tracking.tensorboard, "mlflow": config.tracking.mlflow}
    return [
        f"tracking.{name}: its package is not installed here: pip install {name}. Or leave it out."
        for name, is_on in switches.items()
        if is_on and find_spec(name) is None
    ]


def profile(config: RunConfig) -> list[str]:
    """Steps are numbers from 1 on; whether the run has them is known with its length."""
    text = config.train.profile
    if text is None or profile_steps.parse(text):
        return []
    return [f"train.profile: {text!r} is not allowed. Allowed: steps such as 10..13, from 1 on, or null."]


def artifacts(config: RunConfig) -> list[str]:
    """Somebody takes the files."""
    tracking = config.tracking
    if not tracking.artifacts or tracking.mlflow or tracking.wandb is not WandbMode.DISABLED:
        return []
    return ["tracking.artifacts: W&B and MLflow alone take files. Use tracking=wandb, or leave it out."]


def mlflow_uri(config: RunConfig) -> list[str]:
    """A store is that of MLflow."""
    if config.tracking.mlflow_uri is None or config.tracking.mlflow:
        return []
    return ["tracking.mlflow_uri: MLflow is off. Leave it out, or switch that on with tracking=mlflow."]


def asynchronous(config: RunConfig) -> list[str]:
    """Saves at the end and at an interruption are waited for: beside steps are those before."""
    checkpoint = config.checkpoint
    saves = (checkpoint.every is not None and not checkpoint.every.is_never) or checkpoint.keep_best > 0
    if saves or not checkpoint.asynchronous:
        return []
    return [
        "checkpoint.asynchronous: nothing is saved before the end, which waits for its save. Set checkpoint.every, or "
        "leave it out."
    ]


def neftune(config: RunConfig) -> list[str]:
    """Noise is drawn where a whole sequence is embedded, once for all that compute with it."""
    degrees = [name for name in ("tensor", "pipeline", "sequence") if getattr(config.parallel, name) > 1]
    if config.train.neftune is None or not degrees:
        return []
    typed = " ".join(f"parallel.{name}=1" for name in degrees)
    return [f"train.neftune: ranks that share a sequence would draw other noise. Use {typed}, or train.neftune=null."]


def name(config: RunConfig) -> list[str]:
    """A run's name is a folder below `output_dir`, and an argument of `tunefleet`'s commands."""
    name = config.name
    if name is None:
        return []
    if name.strip() in ("", ".", "..") or set(name) & set("/\\") or _LINE_BREAKS.search(name):
        return [f"name: {name!r} is not allowed. Allowed: a name that can be a folder."]
    if name.startswith("-"):
        return [f"name: {name!r} would be read as an option by every command. Begin it with something else than -."]
    if name.lower() in NOT_RUNS or name.startswith("sweep-"):
        return [f"name: {name!r} is the name of a folder or a sweep of tunefleet's own. Choose another one."]
    if len(name.encode()) > _LONGEST_NAME:
        return [f"name: {len(name.encode())} bytes are too long for a folder. Allowed: up to {_LONGEST_NAME}."]
    return []


def output_dir(config: RunConfig) -> list[str]:
    """The folder of the runs is named in batch scripts, on one line."""
    if not _LINE_BREAKS.search(config.output_dir):
        return []
    return [f"output_dir: {config.output_dir!r} is not allowed. Allowed: a folder whose name is one line."]
