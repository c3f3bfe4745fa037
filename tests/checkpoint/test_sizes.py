"""Can another number of processes, or another split of the same batch, go on with a run as if nothing had changed?

fp32: losses within 1e-5 relative of the uninterrupted run, as in tests/equivalence: other splits sum in another order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ranks import run_in_ranks

STAGE = {"two then one": 0, "one then two": 0, "another micro-batch": 0, "zero 1": 1, "zero 2": 2, "zero 3": 3}
CHANGES = [name for name, stage in STAGE.items() if not stage]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The parts of every run, ended at steps 5 and 12; and the same in one piece."""
    folder = tmp_path_factory.mktemp("sizes")

    def case(name: str, until: int, micro: int, run: str = "") -> dict[str, Any]:
        where = folder / (run or name)
        where.mkdir(exist_ok=True)
        return {"run": str(where), "until": until, "stage": STAGE[name], "micro": micro, "packed": name != CHANGES[1]}

    def together(ranks: int, *cases: dict[str, Any]) -> list[Any]:
        found: list[Any] = run_in_ranks("tests.checkpoint.sizes:parts_of_runs", ranks, folder, list(cases))[0]
        return found

    sharded = [case(name, 5, 1) for name in STAGE if STAGE[name]]
    whole = [case(CHANGES[0], 12, 4, "whole"), case(CHANGES[1], 12, 4, "whole, grouped")]
    alone = [*whole, case(CHANGES[1], 5, 2), case(CHANGES[2], 5, 1), case(CHANGES[2], 12, 4)]
    first = together(1, *alone)
    pair = together(2, case(CHANGES[0], 5, 1), case(CHANGES[1], 12, 1), *sharded)
    last = together(1, case(CHANGES[0], 12, 2), *({**one, "until": 12} for one in sharded))
    return {
        "whole": [first[0]],
        "whole, grouped": [first[1]],
        CHANGES[0]: [pair[0], last[0]],
        CHANGES[1]: [first[2], pair[1]],
        CHANGES[2]: [first[3], first[4]],
        **{name: [pair[2 + i], last[1 + i]] for i, name in enumerate(name for name in STAGE if STAGE[name])},
    }


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_goes_on_with_other_processes_or_another_split(followed: dict[str, list[Any]], name: str) -> None:
    whole = followed["whole, grouped" if name == CHANGES[1] else "whole"][0]
    before, after = followed[name]
    assert (len(before), len(after)) == (5, 7)
    np.testing.assert_allclose([*before, *after], whole, rtol=1e-5)


def test_control_the_losses_of_the_steps_differ(followed: dict[str, list[Any]]) -> None:
    """Else a run that began its data anew would pass."""
    whole = followed["whole"][0]
    assert not np.allclose(whole[:7], whole[5:], rtol=1e-2)
    assert not np.allclose(whole, followed["whole, grouped"][0], rtol=1e-2)


@pytest.mark.parametrize("name", [name for name in STAGE if STAGE[name]])
def test_what_is_shared_out_is_for_as_many_ranks(followed: dict[str, list[Any]], name: str) -> None:
    before, after = followed[name]
    assert len(before) == 5
    assert "shared out among 2 ranks, and this run has 1. Only as many can go on: launch.processes=2." in after
