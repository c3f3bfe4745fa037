"""Is every point of a grid planned before one starts, and does none that fails stop the others?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from tunefleet.base import status
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.base.status import State, Status
from tunefleet.config import RunConfig
from tunefleet.config.load import dump
from tunefleet.doors import grid
from tunefleet.plan import Machine, Plan

ARCHITECTURE = {
    "model_type": "opt",
    "vocab_size": 64,
    "hidden_size": 16,
    "ffn_dim": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
Start = Callable[[Plan, Machine], int]


@pytest.fixture
def points(tmp_path: Path) -> Callable[..., tuple[list[DictConfig], list[list[str]]]]:
    """What Hydra composes for a grid: a configuration and its words for each point."""
    (tmp_path / "tokenizer.json").write_text("{}")
    base = OmegaConf.create(dump(RunConfig()))
    base.output_dir = str(tmp_path / "outputs")
    base.data.path = "demo"
    base.train.sequence_length = 32
    base.model = {"name": "tiny", "init": "random", "architecture": ARCHITECTURE, "tokenizer": str(tmp_path)}

    def points(*words: Sequence[str]) -> tuple[list[DictConfig], list[list[str]]]:
        composed: Any = [OmegaConf.merge(base, OmegaConf.from_dotlist(list(point))) for point in words]
        return composed, [list(point) for point in words]

    return points


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Learning rates of the points that were started, in order; by default every one succeeds."""
    return use(monkeypatch, lambda plan, machine: 0)


def use(monkeypatch: pytest.MonkeyPatch, ending: Start) -> list[str]:
    started: list[str] = []

    def start(plan: Plan, machine: Machine) -> int:
        started.append(f"{plan.config.optimizer.lr:g}")
        return ending(plan, machine)

    monkeypatch.setattr(grid, "start", start)
    return started


def finish(plan: Plan, machine: Machine) -> int:
    """0.1 finishes, 0.2 fails, 0.3 is refused."""
    lr = plan.config.optimizer.lr
    if lr == 0.3:
        raise RunError("the directory is somebody else's")
    state = State.FAILED if lr == 0.2 else State.FINISHED
    reason = "out of memory" if lr == 0.2 else ""
    status.write(plan.paths.status, Status(state, step=3, loss=lr * 10, reason=reason))
    return 3 if lr == 0.2 else 0


RATES = (["optimizer.lr=0.1"], ["optimizer.lr=0.2"], ["optimizer.lr=0.3"], ["optimizer.lr=0.4"])


def test_a_point_that_fails_does_not_stop_the_others(
    points: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = use(monkeypatch, finish)
    assert grid.run(*points(*RATES)) == 1
    assert started == ["0.1", "0.2", "0.3", "0.4"]
    said = capsys.readouterr()
    assert "tunefleet: the directory is somebody else's" in said.err
    heads = [line for line in said.out.splitlines() if line.startswith("[")]
    assert heads == [f"[{number}/4] {words[0]}" for number, words in enumerate(RATES, 1)]


def test_the_table_at_the_end(points: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    use(monkeypatch, finish)
    grid.run(*points(*RATES[:3]))
    table = capsys.readouterr().out.strip().splitlines()[-4:]
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table]
    assert cells[0] == ["point", "state", "step", "loss", "run"]
    assert cells[1][:4] == ["optimizer.lr=0.1", "finished", "3", "1.0000"]
    assert cells[2][:4] == ["optimizer.lr=0.2", "failed: out of memory", "3", "2.0000"]
    assert cells[3][:4] == ["optimizer.lr=0.3", "not started", "0", "-"]
    assert len({row[4] for row in cells[1:]}) == 3  # each its own run


def test_all_well_is_exit_code_zero(points: Any, starts: list[str]) -> None:
    assert grid.run(*points(*RATES)) == 0
    assert len(starts) == 4


def test_an_interrupted_point_ends_the_grid(points: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started = use(monkeypatch, lambda plan, machine: 130 if plan.config.optimizer.lr == 0.2 else 0)
    assert grid.run(*points(*RATES)) == 130
    assert started == ["0.1", "0.2"]


def test_an_interruption_outranks_a_failure(points: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, lambda plan, machine: 130 if plan.config.optimizer.lr == 0.2 else 1)
    assert grid.run(*points(*RATES)) == 130


def test_two_points_with_one_directory_are_refused(points: Any, starts: list[str]) -> None:
    composed, words = points(*([*point, "name=same"] for point in RATES[:2]))
    with pytest.raises(ConfigError, match=r"two points of the grid have the same run directory: leave name= out"):
        grid.run(composed, words)
    assert starts == []


def test_a_name_for_each_is_fine(points: Any, starts: list[str]) -> None:
    composed, words = points(["optimizer.lr=0.1", "name=a"], ["optimizer.lr=0.1", "name=b"])
    assert grid.run(composed, words) == 0
    assert starts == ["0.1", "0.1"]


def test_complaints_of_all_points_arrive_together_and_nothing_starts(points: Any, starts: list[str]) -> None:
    composed, words = points(
        ["optimizer.lr=0.1"], ["optimizer.lr=-1"], ["train.sequence_length=9999", "train.global_batch=7"], ["typo=1"]
    )
    with pytest.raises(ConfigError) as caught:
        grid.run(composed, words)
    assert starts == []
    assert [complaint.split(": ")[0] for complaint in caught.value.complaints] == [
        "[optimizer.lr=-1] optimizer.lr",
        "[train.sequence_length=9999 train.global_batch=7] train.global_batch",
        "[train.sequence_length=9999 train.global_batch=7] train.sequence_length",
        "[typo=1] typo",
    ]


def test_a_point_without_words_has_a_dash(points: Any, starts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    grid.run(*points([]))
    assert capsys.readouterr().out.strip().splitlines()[-1].startswith("-  ")
