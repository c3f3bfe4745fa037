"""The Hydra sweeper of `train.py -m`: Hydra's own, without composing every point only to see whether it can."""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore

_NODE = {
    "_target_": "hydra_plugins.tunefleet_sweeper.TunefleetSweeper",
    "max_batch_size": BasicSweeperConf.max_batch_size,
    "params": None,
}
ConfigStore.instance().store(group="hydra/sweeper", name="tunefleet", node=_NODE)


class TunefleetSweeper(BasicSweeper):
    """A grid: every combination of the values that were typed, or that a file's `hydra.sweeper.params` holds."""

    def sweep(self, arguments: list[str]) -> Any:
        """Hands all points to the launcher at once, which composes them and names all mistakes together."""
        from tunefleet.doors import compose  # plugin discovery imports us in every process

        assert self.hydra_context is not None
        assert self.launcher is not None
        points = compose.point_overrides(self.config, self.hydra_context.config_loader)
        return [self.launcher.launch(points, initial_job_idx=0)]
