"""Settings of Hydra's: the few that are obeyed; every other one is refused, typed or from a file.

Hydra makes objects of what `_target_` and a logging configuration name, so a configuration of somebody else's could run
code. Here a key of Hydra's holds what Hydra or we put there, or it is one of `OBEYED`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from tunefleet.config.load import leaves

_FOLDER = "A run's folder is output_dir=FOLDER and name=NAME"
_STARTS = "A run changes no folder and keeps its own files; output_dir=FOLDER is where they go"
_SHELL = "Set it in the shell before the command, or for a SLURM job with launch.setup=['export NAME=value']"
_PRINTS = "The console and logs/ of the run's folder hold what a run prints; `--info` shows how it was composed"

OBEYED = ("mode", "searchpath", "help", "hydra_help", "sweeper.params", "job.config.override_dirname")
"""What has an effect here: a text, a number, a switch or a list of them."""
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
_LOGGING = ("job_logging", "hydra_logging")
_FILLED_IN = ("overrides", "runtime", "job.id", "job.num", "job.config_name", "job.override_dirname")


def complaints(composed: DictConfig, typed: list[str], is_run: bool = True) -> list[str]:
    """One for each setting of Hydra's that is not obeyed here, or holds what makes objects.

    `typed` are the keys of the command line. Without `is_run` (`--hydra-help`) nothing is launched: Hydra's own
    launcher and sweeper may stand there.
    """
    values: Any = OmegaConf.to_container(composed.hydra, resolve=False)
    of_run = [*_idle(values), *_groups_chosen(values)] if is_run else []
    return [*_unlisted(values), *_filled_in(typed, values), *of_run]


def _idle(values: Mapping[str, Any]) -> Iterator[str]:
    for key, idle, instead in (*_SETTINGS, *_PLUGINS):
        value = _at(values, key)
        if value != "???" and value not in idle:
            yield f"hydra.{key}: does nothing here. {instead}."


def _groups_chosen(values: Mapping[str, Any]) -> Iterator[str]:
    for group, idle, instead in _GROUPS:
        if values["runtime"]["choices"].get(group) not in (*idle, None):
            yield f"{group}: does nothing here. {instead}."


def _filled_in(typed: list[str], values: Mapping[str, Any]) -> Iterator[str]:
    inner = [(key, key.lstrip("+~").removeprefix("hydra.")) for key in typed if key.lstrip("+~").startswith("hydra.")]
    set_here = [key for key, name in inner if _is_below(name, _FILLED_IN)]
    yield from (f"{key}: Hydra fills it in itself, so it cannot be set." for key in set_here)
    if not set_here and sum(len(values["overrides"][kind]) for kind in ("task", "hydra")) > len(typed):
        yield "hydra.overrides: Hydra fills it in itself, so it cannot be set in a file."


def _unlisted(values: Mapping[str, Any]) -> Iterator[str]:
    """What is neither obeyed, nor a matter of the checks above, nor as Hydra and we have it."""
    judged = [*OBEYED, *(key for key, *_ in (*_SETTINGS, *_PLUGINS)), *_FILLED_IN, *_LOGGING]
    for key, value in leaves(values):
        if not _is_below(key, judged) and value != _at(_defaults(), key):
            yield f"hydra.{key}: is no setting here. Of Hydra's are obeyed: {', '.join(f'hydra.{k}' for k in OBEYED)}."
    for name, value in (_at(values, "sweeper.params") or {}).items():
        if not _is_plain(value):
            yield f"hydra.sweeper.params.{name}: {value!r} is not allowed. Allowed: text, such as 1e-3,1e-4."
    for key in _LOGGING:
        if values[key] not in _logging_of_hydra(key):
            yield f"hydra.{key}: does nothing here. {_PRINTS}."


def _is_plain(value: Any) -> bool:
    return not any(isinstance(item, (dict, list)) for item in (value if isinstance(value, list) else [value]))


def _is_below(key: str, above: Iterable[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in above)


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


@cache
def _defaults() -> Any:
    """What Hydra's own configuration holds; `env` is one that it adds to itself."""
    return {**OmegaConf.to_container(OmegaConf.structured(HydraConf())), "env": {}}  # type: ignore[dict-item]


@cache
def _logging_of_hydra(key: str) -> list[Any]:
    """The configurations of logging that Hydra comes with, read from its own files."""
    folder = Path(hydra.__file__).parent / "conf" / "hydra" / key
    return [OmegaConf.to_container(OmegaConf.load(folder / f"{name}.yaml")) for name in ("none", "disabled", "default")]
