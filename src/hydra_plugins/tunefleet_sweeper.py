"""The Hydra sweeper of `train.py -m`: Hydra's own, without composing every point only to see whether it can."""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore

_NODE = {
    "_target_": "hydra_plugins.tunefleet_sweeper.TunefleetSweeper",
    "max_batch_size": BasicSweeperConf.max_batch_size,
    "params": None,
}
ConfigStore.instance().store(group="hydra/sweeper", name="tunefleet", node=_NODE)


class TunefleetSweeper(BasicSweeper):
    """A grid: every combination of the values that were typed. The launcher names all mistakes at once."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Left to the launcher, which composes every point before one starts."""
