"""Is every point of a grid planned before one starts, and does none that fails stop the others?"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tests.plans import OPT
from tunefleet.base import status, sweeps
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.base.status import State, Status
from tunefleet.base.sweeps import Sweep
from tunefleet.config import RunConfig
from tunefleet.config.load import dump
from tunefleet.doors import compose, grid
from tunefleet.launch import parallel_runs
from tunefleet.plan import Machine, Plan

Start = Callable[[Plan, Machine], int]


@pytest.fixture
def points(tmp_path: Path) -> Callable[..., tuple[list[RunConfig | ConfigError], list[list[str]]]]:
    """What is composed for a grid: a configuration, or what is wrong with it, and the words of each point."""
    (tmp_path / "tokenizer.json").write_text("{}")
    base = OmegaConf.create(dump(RunConfig()))
    base.output_dir = str(tmp_path / "outputs")
    base.data.path = "demo"
    base.train.sequence_length = 32
    base.model = {"name": "tiny", "init": "random", "architecture": OPT, "tokenizer": str(tmp_path)}

    def typed(point: Sequence[str]) -> RunConfig | ConfigError:
        composed: Any = OmegaConf.merge(base, OmegaConf.from_dotlist(list(point)))
        try:
            return compose.typed(composed)
        except ConfigError as error:
            return error

    def points(*words: Sequence[str]) -> tuple[list[RunConfig | ConfigError], list[list[str]]]:
        return [typed(point) for point in words], [list(point) for point in words]

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


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without GPUs, and without a launcher."""
    monkeypatch.setattr(Machine, "this", staticmethod(lambda: Machine(gpus=0, cores=2)))


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


def cells(said: str, lines: int) -> list[list[str]]:
    table = said.strip().splitlines()[-lines:]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table]


def test_the_table_at_the_end(points: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    use(monkeypatch, finish)
    grid.run(*points(*RATES[:3]))
    head, *rows = cells(capsys.readouterr().out, 4)
    assert head == ["point", "state", "step", "loss", "run", "reason"]
    assert rows[0][:4] == ["optimizer.lr=0.1", "finished", "3", "1.0000"]
    assert rows[1][:4] == ["optimizer.lr=0.2", "failed", "3", "2.0000"]
    assert rows[1][5:] == ["out of memory"]
    assert rows[2][:4] == ["optimizer.lr=0.3", "not started", "0", "-"]
    assert rows[2][5:] == ["the directory is somebody else's"]
    assert len({row[4] for row in rows}) == 3  # each its own run


def test_the_table_has_a_validation_loss_where_a_run_has_been_evaluated(
    points: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def evaluate(plan: Plan, machine: Machine) -> int:
        every = {"step": 2, "evaluation/near/loss": 9.0}
        final = {"step": 3, "final": True, "evaluation/near/exact_match": 0.5, "evaluation/near/loss": 1.25}
        plan.paths.root.mkdir(parents=True, exist_ok=True)
        records = [every, {**final, "evaluation/far/loss": 8.0}] if plan.config.optimizer.lr == 0.1 else [every]
        plan.paths.metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
        return finish(plan, machine)

    use(monkeypatch, evaluate)
    grid.run(*points(*RATES[:2]))
    head, first, second = cells(capsys.readouterr().out, 3)
    assert head[:5] == ["point", "state", "step", "loss", "validation"]
    assert first[:5] == ["optimizer.lr=0.1", "finished", "3", "1.0000", "1.2500"]
    assert second[3:5] == ["2.0000", second[4]]
    assert "tiny" in second[4]  # no validation loss: the next cell is the run


def test_a_refused_directory_lends_nothing_to_the_table(
    points: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def other(plan: Plan, machine: Machine) -> int:
        status.write(plan.paths.status, Status(State.FINISHED, step=77, loss=0.5))
        raise RunError("taken")

    use(monkeypatch, other)
    grid.run(*points(["optimizer.lr=0.1"]))
    assert cells(capsys.readouterr().out, 1)[0][1:4] == ["not started", "0", "-"]


def test_only_what_sets_points_apart_is_shown(
    points: Any, starts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    grid.run(*points(*([*point, "train.seed=7"] for point in RATES[:2])))
    said = capsys.readouterr().out
    assert "[1/2] optimizer.lr=0.1\n" in said
    assert "seed" not in said
    grid.run(*points(["train.seed=7"]))
    assert "[1/1] train.seed=7\n" in capsys.readouterr().out


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


def test_the_sweep_is_written_down_before_the_first_start(
    points: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Sweep] = []

    def look(plan: Plan, machine: Machine) -> int:
        seen.extend(sweeps.listed(Path(plan.run_dir).parent))
        return 0

    use(monkeypatch, look)
    composed, words = points(*RATES[:2])
    grid.run(composed, words)
    assert seen[0] == seen[1]
    assert [list(point.overrides) for point in seen[0].points] == words
    assert len({point.run_dir for point in seen[0].points}) == 2
    assert capsys.readouterr().out.startswith(f"sweep  {seen[0].name}\n")
    grid.run(composed, words)
    assert capsys.readouterr().out.startswith(f"sweep  {seen[0].name}\n")  # the same grid is the same sweep
    assert len(set(seen)) == 1


def test_a_grid_with_mistakes_leaves_no_sweep(points: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        grid.run(*points(["optimizer.lr=0.1"], ["optimizer.lr=-1"]))
    assert not (tmp_path / "outputs").exists()


def test_ranks_that_somebody_started_are_no_place_for_a_grid(
    points: Any, starts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(world_size=2, launcher="torchrun")
    monkeypatch.setattr(Machine, "this", staticmethod(lambda: machine))
    with pytest.raises(ConfigError, match="torchrun has started 2 already"):
        grid.run(*points(*RATES))
    assert starts == []


# Side by side: each point is a process; this one does what its learning rate says

FAKE_POINT = '''"""0.1 and 0.4 finish, 0.2 fails, 0.3 ends without a word in status.json, 0.6 is killed."""
import os, signal, sys, time
from pathlib import Path

from tunefleet.base import status, sweeps
from tunefleet.base.status import State, Status
from tunefleet.base.sweeps import Sweep
from tunefleet.plan import Plan

plan = Plan.read(Path(sys.argv[1]))
lr = plan.config.optimizer.lr
if lr == 0.3:
    sys.exit("tunefleet: it is already running")
if lr == 0.6:
    os.kill(os.getpid(), signal.SIGKILL)
state, code = (State.FAILED, 3) if lr == 0.2 else (State.FINISHED, 0)
status.write(plan.paths.status, Status(state, step=3, loss=lr * 10, reason="rank 0 failed" if code else ""))
(plan.paths.root / "threads").write_text(str(plan.threads))
print("output of a run")
sys.exit(code)
'''


@pytest.fixture
def beside(points: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a grid with two slots."""
    (tmp_path / "fake_point.py").write_text(FAKE_POINT)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(parallel_runs, "POINT_MODULE", "fake_point")
    monkeypatch.setattr(grid, "start", lambda plan, machine: pytest.fail("ran in this process"))
    return lambda *rates: grid.run(*points(*([f"optimizer.lr={rate}", "launch.parallel_runs=2"] for rate in rates)))


def test_a_console_line_when_a_point_starts_and_when_it_ends(
    beside: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert beside(0.1, 0.4) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert "output of a run" not in said.out
    for start in (
        "[1/2] optimizer.lr=0.1: started, writes to ",
        "[2/2] optimizer.lr=0.4: finished, loss 4.0000 after ",
    ):
        assert sum(line.startswith(start) for line in said.out.splitlines()) == 1


def test_each_slot_has_its_part_of_the_cores(beside: Callable[..., int], tmp_path: Path) -> None:
    beside(0.1, 0.4)
    assert [path.read_text() for path in tmp_path.glob("outputs/*/threads")] == ["1", "1"]


def test_every_kind_of_failure_stands_in_the_table(
    beside: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert beside(0.2, 0.3, 0.6, 0.1) == 1
    said = capfd.readouterr().out
    rows = cells(said, 4)
    assert [[row[1], row[-1]] for row in rows[:3]] == [
        ["failed", "rank 0 failed"],
        ["failed", "it is already running"],
        ["failed", "was killed by SIGKILL"],
    ]
    assert rows[3][1:4] == ["finished", "3", "1.0000"]
    assert re.search(r"\[2/4\] optimizer.lr=0.3: failed after \d+s: it is already running", said)


def test_a_finished_point_is_not_run_again(beside: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    beside(0.1, 0.2)
    capfd.readouterr()
    assert beside(0.1, 0.2) == 1
    said = capfd.readouterr().out
    assert "[1/2] optimizer.lr=0.1: done before, loss 1.0000" in said
    assert "optimizer.lr=0.1: started" not in said
    assert "optimizer.lr=0.2: started" in said  # control: one that failed is run again
    assert cells(said, 2)[0][1] == "finished"


def test_a_directory_that_cannot_be_written_is_a_failure_of_its_point(
    beside: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    save = Plan.save

    def fail(plan: Plan) -> None:
        if plan.config.optimizer.lr == 0.4:
            raise OSError("No space left on device")
        save(plan)

    monkeypatch.setattr(Plan, "save", fail)
    assert beside(0.4, 0.1) == 1
    first, second = cells(capfd.readouterr().out, 2)
    assert (first[1], first[-1], second[1]) == ("not started", "No space left on device", "finished")


def test_a_directory_with_another_run_is_refused_and_left_alone(
    beside: Callable[..., int], points: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    beside(0.1, 0.4)
    (theirs,) = [path.parent for path in tmp_path.glob("outputs/*/plan.json") if '"lr": 0.1' in path.read_text()]
    before = (theirs / "plan.json").read_bytes()
    composed, words = points(
        ["optimizer.lr=0.4", "launch.parallel_runs=2"],
        ["optimizer.lr=0.7", f"name={theirs.name}", "launch.parallel_runs=2"],
    )
    assert grid.run(composed, words) == 1
    assert "optimizer.lr was 0.1" in cells(capfd.readouterr().out, 1)[0][-1]
    assert (theirs / "plan.json").read_bytes() == before


def test_a_point_that_is_cancelled_before_its_turn_does_not_start(
    points: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cancels_the_others(plan: Plan, machine: Machine) -> int:
        for other in tmp_path.glob("outputs/*/plan.json"):
            (other.parent / "cancelled").touch()
        return finish(plan, machine)

    started = use(monkeypatch, cancels_the_others)
    grid.run(*points(["optimizer.lr=0.1"], ["optimizer.lr=0.4"]))
    assert started == ["0.1"]
    rows = cells(capsys.readouterr().out, 2)
    assert [[row[1], row[-1]] for row in rows[1:]] == [["cancelled", "before its turn"]]
    started = use(monkeypatch, finish)
    grid.run(*points(["optimizer.lr=0.1"], ["optimizer.lr=0.4"]))  # a new start is a new wish
    assert "0.4" in started
