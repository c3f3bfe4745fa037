"""The Hydra launcher of `train.py -m`: hands every composed point of a grid to tunefleet at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

_TARGET = {"_target_": "hydra_plugins.tunefleet_launcher.TunefleetLauncher"}  # its settings are in the group `launch`
ConfigStore.instance().store(group="hydra/launcher", name="tunefleet", node=_TARGET)


class TunefleetLauncher(Launcher):
    """Composes every point, then lets tunefleet plan and run them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's call before `launch`."""
        self._loader = hydra_context.config_loader
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the grid; ends the process where a point failed."""
        from tunefleet.doors import compose, error_output, grid  # plugin discovery imports us in every process

        with error_output.exit_on_error():
            configs = list(compose.typed_points(job_overrides, self._loader, self._compose))
            code = grid.run(configs, [self._loader.arguments.recorded(overrides) for overrides in job_overrides])
        if code:
            sys.exit(code)
        return []

    def _compose(self, overrides: list[str]) -> DictConfig:
        return self._loader.load_sweep_config(self._config, overrides)
