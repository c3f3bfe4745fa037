"""`train.py` and `tunefleet train`: composes what was typed, plans it, starts it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunefleet import __version__
from tunefleet.base import garbage
from tunefleet.base.errors import DONE, ConfigError
from tunefleet.doors.error_output import exit_on_error

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from tunefleet.config.sweep import SweepConfig
    from tunefleet.doors.arguments import Arguments
    from tunefleet.doors.hydra_loader import Loader
    from tunefleet.plan import Machine, Plan


def main(argv: Sequence[str] | None = None) -> None:
    """Composes once, in the process that the user started, and ends with the run's exit code."""
    garbage.search_rarely()
    with exit_on_error():
        sys.exit(_act(sys.argv[1:] if argv is None else argv))


def _act(argv: Sequence[str]) -> int:
    if {"-sc", "--shell-completion"} & set(argv):
        return _complete(argv)
    from tunefleet.doors import arguments  # Hydra takes 0.3 s, which `tunefleet` can do without

    typed = arguments.parse(argv)
    if typed.act == "version":
        print(f"tunefleet {__version__}")
        return DONE
    if typed.act == "run":
        return _start(typed)
    from tunefleet.doors import show

    return show.show(typed)


def _complete(argv: Sequence[str]) -> int:
    """Hydra's `-sc install=bash`, `uninstall=bash` and `query=bash`, without the time of Hydra's import."""
    from tunefleet.doors import completion, shells

    act, _, shell = next((argument for argument in argv if "=" in argument), "").partition("=")
    if shell not in shells.SCRIPTS or act not in ("install", "uninstall", "query"):
        raise ConfigError("-sc: takes install=SHELL or uninstall=SHELL, of bash, zsh or fish.")
    if act == "query":
        completion.print_for(os.environ.get("COMP_LINE", ""))
    else:
        print((shells.SCRIPTS if act == "install" else shells.REMOVALS)[shell], end="")
    return DONE


def _start(typed: Arguments) -> int:
    loader, config, search, asks_for_grid = composed_for(typed)
    _expect_fitting(typed, search is not None, asks_for_grid)
    if search:
        from tunefleet.doors import sweep_open

        return sweep_open.run(typed, loader, config, search)[0]
    return _grid(loader, config) if asks_for_grid else _single(typed, config)


def composed_for(typed: Arguments) -> tuple[Loader, DictConfig, SweepConfig | None, bool]:
    """The loader, what it composed, its search if there is one, and whether a grid is asked for."""
    from hydra.types import RunMode

    from tunefleet.doors import compose, composed

    loader = compose.opened(typed)
    asks_for_grid = typed.multirun or "hydra.mode=MULTIRUN" in typed.overrides
    mode = RunMode.MULTIRUN if asks_for_grid else RunMode.RUN
    config = loader.load_configuration(typed.config_name, list(typed.overrides), mode)
    if not asks_for_grid and config.hydra.mode is RunMode.MULTIRUN:  # a file asks for one
        config = loader.load_configuration(typed.config_name, list(typed.overrides), RunMode.MULTIRUN)
        asks_for_grid = True
    return loader, config, composed.sweep(config), asks_for_grid


def _expect_fitting(typed: Arguments, is_search: bool, asks_for_grid: bool) -> None:
    """Raises `ConfigError` for a search without -m, and for --dry-run of anything else."""
    if is_search and not asks_for_grid:
        sweep = next((text for text in typed.overrides if text.lstrip("+").startswith("sweep")), "sweep")
        raise ConfigError(f"{sweep}: is a search; type it with -m.")
    if typed.dry_run and not is_search:
        raise ConfigError("--dry-run: of a search alone (-m sweeps=NAME). `tunefleet plan` shows what runs would be.")


def _single(typed: Arguments, composed: DictConfig) -> int:
    from tunefleet.doors import compose
    from tunefleet.doors.composed import task_overrides

    config = compose.typed(composed)
    from tunefleet.plan import machine_for, make  # a mistake in what was typed waits for no planner

    machine = machine_for(config)
    return begin(make(config, machine, typed.recorded(task_overrides(composed))), machine)


def begin(plan: Plan, machine: Machine) -> int:
    """One run, here or as a SLURM job; returns the exit code. One that is paused or pruned trains on to its end."""
    from tunefleet.base import sweep_requests
    from tunefleet.doors.start import start
    from tunefleet.doors.submit import submit
    from tunefleet.plan.choose import fit_check
    from tunefleet.plan.writable import expect_writable

    fit_check.expect_fit(plan, machine)
    expect_writable(plan)
    if not plan.config.launch.dry_run:
        sweep_requests.withdraw(plan.paths)
    return submit([plan]) if plan.job else start(plan, machine)


def _grid(loader: Loader, config: DictConfig) -> int:
    """All points, through Hydra's sweeper and launcher; ends the process where a point failed."""
    from hydra._internal.callbacks import Callbacks
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext

    from tunefleet.doors.composed import task_overrides

    context = HydraContext(config_loader=loader, callbacks=Callbacks())
    sweeper = Plugins.instance().instantiate_sweeper(
        config=config, hydra_context=context, task_function=lambda composed: None
    )
    sweeper.sweep(task_overrides(config))
    return DONE
