"""Are the states of every optimizer counted, and those of an unknown one refused?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.base.errors import ConfigError
from tunefleet.config.optimizer import OptimizerConfig, OptimizerName
from tunefleet.plan.estimate import work


def test_every_optimizer_has_an_entry() -> None:
    assert set(work.STATE_BYTES) == {name.value for name in OptimizerName}


def test_momentum_is_a_state_of_sgd_alone() -> None:
    sizes = [work.state_bytes(OptimizerConfig(name=OptimizerName.SGD, momentum=momentum)) for momentum in (0.0, 0.9)]
    assert sizes == [0, 4]
    assert work.state_bytes(OptimizerConfig(momentum=0.9)) == work.STATE_BYTES["adamw"]


def test_states_are_half_as_large_without_master_weights() -> None:
    assert work.state_bytes(OptimizerConfig(), master_weights=False) == 4
    assert work.state_bytes(OptimizerConfig(name=OptimizerName.ADAMW_8BIT), master_weights=False) == 2


def test_an_optimizer_without_an_entry_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(work.STATE_BYTES, "lion")
    with pytest.raises(ConfigError, match=r"optimizer\.name: the memory of lion is not known .* Use one of adamw, "):
        tiny_plan(tmp_path, optimizer={"name": "lion"})
