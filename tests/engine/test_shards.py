"""Does code that somebody planted in DeepSpeed's files run, in any of the ways in which they are read?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler

from tests.ranks import run_in_ranks
from tunefleet.base.errors import RunError
from tunefleet.engine import shards

MODEL, OPTIMIZER, NONE = "*model_states.pt", "*optim_states.pt", "*.nothing"
PLANTED = [
    (stage, reader, files)
    for stage, readers in {
        0: [("resume", MODEL), ("export", MODEL)],
        1: [("resume", MODEL), ("resume", OPTIMIZER), ("resize", MODEL), ("resize", OPTIMIZER)],
        2: [("resume", OPTIMIZER)],
        3: [(reader, files) for reader in ("resume", "resize", "masters") for files in (MODEL, OPTIMIZER)],
    }.items()
    for reader, files in readers
]
UNTOUCHED = [(0, "resume"), (0, "export"), (1, "resume"), (1, "resize"), (3, "resume"), (3, "resize"), (3, "masters")]
UNDEFENDED = [(0, "resume", MODEL), (1, "resize", OPTIMIZER), (3, "resume", OPTIMIZER), (3, "masters", OPTIMIZER)]


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[object, ...], list[object]]:
    """[message, whether the code ran] of all cases, by case."""
    cases = [(*case, True) for case in PLANTED] + [(*case, NONE, True) for case in UNTOUCHED]
    cases = sorted([*cases, *((*case, False) for case in UNDEFENDED)])
    folder = tmp_path_factory.mktemp("planted")
    [found] = run_in_ranks("tests.engine.planted:readings", 1, folder, cases)
    return dict(zip(cases, found, strict=True))


@pytest.mark.parametrize("case", PLANTED, ids=str)
def test_planted_code_is_refused_and_does_not_run(
    readings: dict[tuple[object, ...], list[object]], case: tuple[object, ...]
) -> None:
    message, ran = readings[(*case, True)]
    assert "holds more than weights and was not read" in str(message)
    assert "shards/" in str(message)
    assert not ran


@pytest.mark.parametrize("case", UNTOUCHED, ids=str)
def test_what_deepspeed_wrote_is_read(
    readings: dict[tuple[object, ...], list[object]], case: tuple[object, ...]
) -> None:
    assert readings[(*case, NONE, True)] == ["", False]


@pytest.mark.parametrize("case", UNDEFENDED, ids=str)
def test_control_without_the_defence_it_runs(
    readings: dict[tuple[object, ...], list[object]], case: tuple[object, ...]
) -> None:
    assert readings[(*case, False)] == ["", True]


def test_the_loss_scaler_of_fp16_is_read(tmp_path: Path) -> None:
    """A GPU's fp16 saves it; no test on a CPU can."""
    scaler = DynamicLossScaler(2.0**16, scale_window=1000, min_scale=1.0, delayed_shift=2, consecutive_hysteresis=False)
    torch.save({"loss_scaler": scaler}, tmp_path / "shard.pt")
    assert vars(shards.read(tmp_path / "shard.pt")["loss_scaler"]) == vars(scaler)


def test_nothing_else_is_allowed(tmp_path: Path) -> None:
    torch.save({"path": tmp_path}, tmp_path / "shard.pt")
    with pytest.raises(RunError, match=r"shard\.pt: holds more than weights.*pathlib"):
        shards.read(tmp_path / "shard.pt")


def test_torch_load_is_itself_again(tmp_path: Path) -> None:
    before = torch.load
    torch.save({"path": tmp_path}, tmp_path / "shard.pt")
    with pytest.raises(RunError):
        shards.read(tmp_path / "shard.pt")
    assert torch.load is before
