"""Can another number of processes, or another split of the same batch, go on with a run as if nothing had changed?

fp32: losses within 1e-5 relative of the uninterrupted run, as in tests/equivalence: other splits sum in another order.
bf16: within 1e-3: weights have 8 bits of mantissa, but both runs round the same weights up to step 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ranks import run_in_ranks

SGD = {"optimizer": {"name": "sgd", "lr": 0.1}}
RUNS: Mapping[str, tuple[dict[str, Any], tuple[int, int], tuple[int, int]]] = {
    # settings; ranks and micro-batch of the steps up to 5, and of those up to 12
    "two go on as one": ({}, (2, 1), (1, 2)),
    "one goes on as two": ({"packed": False}, (1, 2), (2, 1)),
    "another micro-batch": ({}, (1, 1), (1, 4)),
    "stage 1, two go on as one": ({"stage": 1}, (2, 1), (1, 4)),
    "stage 2, one goes on as two": ({"stage": 2}, (1, 4), (2, 2)),
    "stage 3, two go on as one": ({"stage": 3}, (2, 1), (1, 4)),
    "stage 3, one goes on as two": ({"stage": 3}, (1, 4), (2, 1)),
    "stage 3 in bf16": ({"stage": 3, "precision": "bf16"}, (2, 2), (1, 4)),
    "stage 1 in bf16": ({"stage": 1, "precision": "bf16"}, (2, 2), (1, 4)),
}
FORGOTTEN = "stage 3, and nothing is mended"
REFUSED = "stage 2 without Adam"
ALL = {
    **RUNS,
    FORGOTTEN: ({"stage": 3, "forget": True}, (2, 1), (1, 4)),
    REFUSED: ({"stage": 2, **SGD}, (2, 1), (1, 4)),
}
UNINTERRUPTED: Mapping[str, dict[str, Any]] = {
    "whole": {},
    "grouped": {"packed": False},
    "bf16": {"stage": 3, "precision": "bf16"},
}


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The losses of both parts of every run; and of the same in one piece."""
    folder = tmp_path_factory.mktemp("sizes")

    def in_one_start(names: list[str], part: int, ranks: int) -> dict[str, Any]:
        names_here = [name for name in names if ALL[name][1 + part][0] == ranks]
        cases = [_case(folder, name, (5, 12)[part], ALL[name][1 + part][1], ALL[name][0]) for name in names_here]
        if ranks == 1 and not part:
            cases += [_case(folder, name, 12, 4, settings) for name, settings in UNINTERRUPTED.items()]
            names_here += UNINTERRUPTED
        results = run_in_ranks("tests.checkpoint.sizes:parts_of_runs", ranks, folder, cases)[0]
        return dict(zip(names_here, results, strict=True))

    first, last = ({**in_one_start(list(ALL), part, 1), **in_one_start(list(ALL), part, 2)} for part in (0, 1))
    return {name: [losses, last.get(name, [])] for name, losses in first.items()}


def _case(folder: Path, name: str, until: int, micro: int, settings: dict[str, Any]) -> dict[str, Any]:
    run_folder = folder / name
    run_folder.mkdir(exist_ok=True)
    return {"run": str(run_folder), "until": until, "micro": micro, **settings}


def _uninterrupted(followed: dict[str, list[Any]], name: str) -> list[float]:
    settings = ALL[name][0]
    reference = "bf16" if "precision" in settings else "whole" if settings.get("packed", True) else "grouped"
    losses: list[float] = followed[reference][0]
    return losses


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_with_other_processes_or_another_split(followed: dict[str, list[Any]], name: str) -> None:
    first_part, second_part = followed[name]
    assert (len(first_part), len(second_part)) == (5, 7), second_part
    tolerance = 1e-3 if "bf16" in name else 1e-5
    np.testing.assert_allclose([*first_part, *second_part], _uninterrupted(followed, name), rtol=tolerance)


def test_control_deepspeed_alone_spoils_adam_at_stage_3(followed: dict[str, list[Any]]) -> None:
    second_part, uninterrupted = followed[FORGOTTEN][1], _uninterrupted(followed, FORGOTTEN)
    assert second_part[0] == pytest.approx(uninterrupted[5], rel=1e-5)  # the weights are right
    assert abs(second_part[-1] / uninterrupted[-1] - 1) > 1e-3


def test_control_the_losses_of_the_steps_differ(followed: dict[str, list[Any]]) -> None:
    """Else a run that began its data anew would pass."""
    uninterrupted = followed["whole"][0]
    assert not np.allclose(uninterrupted[:7], uninterrupted[5:], rtol=1e-2)
    assert not np.allclose(uninterrupted, followed["grouped"][0], rtol=1e-2)


def test_where_it_cannot_the_number_of_processes_is_named(followed: dict[str, list[Any]]) -> None:
    first_part, refusal = followed[REFUSED]
    assert len(first_part) == 5
    assert "sharded over 2 ranks, and this run has 1. Only as many can resume: launch.processes=2." in refusal


def test_nothing_is_left_of_the_way_there(
    followed: dict[str, list[Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert followed
    assert not list(tmp_path_factory.getbasetemp().glob("sizes*/**/universal.tmp"))
