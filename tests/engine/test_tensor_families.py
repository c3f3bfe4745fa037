"""Does a tensor group of two train what one process trains, in every family that the plan divides?

Losses and gradient norms within 1e-5 relative, weights within 1e-5: the peers add up their parts in another order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.peers import FAMILIES, plain, plan_of
from tests.families import EVERY
from tests.ranks import run_in_ranks
from tunefleet.plan.families.tensor import sharded_families
from tunefleet.runs.trajectory import rows


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("peers")


@pytest.fixture(scope="module")
def divided(kept: Path) -> dict[str, Any]:
    found, other = run_in_ranks("tests.engine.peers:families", 2, kept)
    assert found == other  # peers see the same losses and norms, to the last bit
    return dict(found)


@pytest.mark.parametrize("name", FAMILIES)
def test_two_peers_train_what_one_process_trains(name: str, divided: dict[str, Any], kept: Path) -> None:
    alone = plain(plan_of(kept, FAMILIES[name], 1, degree=1), rows(), 2)
    assert divided[name]["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert divided[name]["norms"] == pytest.approx(alone["norms"], rel=1e-5)
    weights = torch.load(kept / f"{name}.pt", weights_only=True)
    torch.testing.assert_close(weights, alone["weights"], atol=1e-5, rtol=0)


def test_every_divided_family_is_measured() -> None:
    assert set(sharded_families()) == {found["model_type"] for found in FAMILIES.values()}
    assert len(EVERY) > len(FAMILIES)
