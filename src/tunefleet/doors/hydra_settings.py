"""Settings of Hydra's that do nothing here: each is refused with the one to use, typed or from a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

_FOLDER = "A run's folder is output_dir=FOLDER and name=NAME"
_STARTS = "A run changes no folder and keeps its own files; output_dir=FOLDER is where they go"
_SHELL = "Set it in the shell before the command, or for a SLURM job with launch.setup=['export NAME=value']"
_PRINTS = "The console and logs/ of the run's folder hold what a run prints; `--info` shows how it was composed"

# Hydra's key, the values that ask for nothing (Hydra's default, and ours in conf/train.yaml), and what to use instead.
_SETTINGS: tuple[tuple[str, tuple[Any, ...], str], ...] = (
    ("run.dir", (".", "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}"), _FOLDER),
    (
        "sweep.dir",
        (".", "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}"),
        _FOLDER,
    ),
    ("sweep.subdir", (".", "${hydra.job.num}"), "Every point has a run's folder, named by name= or by its settings"),
    ("output_subdir", (None, ".hydra"), "A run's folder holds plan.json, with every setting"),
    ("job.name", ("train",), "A run is named with name=NAME"),
    ("job.chdir", (None, False), _STARTS),
    ("job.env_set", ({},), _SHELL),
    ("job.env_copy", ([],), _SHELL),
    ("callbacks", (None, {}), "Nothing calls them; status.json and `tunefleet status` tell how a run stands"),
    ("verbose", (False,), _PRINTS),
    (
        "sweeper.max_batch_size",
        (None,),
        "launch.parallel_runs or launch.array_limit say how many run at once",
    ),
)
_GRID = "A grid is run by tunefleet: launch=local or launch=slurm"
_GROUPS: tuple[tuple[str, tuple[Any, ...], str], ...] = (
    ("hydra/launcher", ("tunefleet",), _GRID),
    ("hydra/sweeper", ("tunefleet",), _GRID),
    ("hydra/job_logging", ("none", "disabled", "default"), _PRINTS),
    ("hydra/hydra_logging", ("none", "disabled", "default"), _PRINTS),
    ("hydra/output", ("default",), _FOLDER),
    ("hydra/env", ("default",), _SHELL),
)
_PLUGINS = (
    ("launcher._target_", ("hydra_plugins.tunefleet_launcher.TunefleetLauncher",), _GRID),
    ("sweeper._target_", ("hydra_plugins.tunefleet_sweeper.TunefleetSweeper",), _GRID),
)
_FILLED_IN = ("overrides", "runtime", "job.id", "job.num", "job.config_name", "job.override_dirname")


def complaints(composed: DictConfig, typed: list[str]) -> list[str]:
    """One for each setting of Hydra's that nothing here obeys. `typed` are the keys of the command line."""
    hydra = composed.hydra
    return [*_filled_in(typed), *_idle(hydra), *_groups_chosen(hydra)]


def _idle(hydra: DictConfig) -> Iterator[str]:
    values = OmegaConf.to_container(hydra, resolve=False)
    for key, idle, instead in (*_SETTINGS, *_PLUGINS):
        value: Any = values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value != "???" and value not in idle:
            yield f"hydra.{key}: does nothing here. {instead}."


def _groups_chosen(hydra: DictConfig) -> Iterator[str]:
    for group, idle, instead in _GROUPS:
        if hydra.runtime.choices.get(group) not in (*idle, None):
            yield f"{group}: does nothing here. {instead}."


def _filled_in(typed: list[str]) -> Iterator[str]:
    for key in typed:
        inner = key.lstrip("+~").removeprefix("hydra.")
        if inner != key.lstrip("+~") and any(inner == name or inner.startswith(f"{name}.") for name in _FILLED_IN):
            yield f"{key}: Hydra fills it in itself, so it cannot be set."
