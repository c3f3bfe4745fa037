"""Does a run keep its best checkpoint and end early at the same step, after kill -9 and with another strategy?"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.early_endings import KILLED_AT, STOPS_AT
from tests.ranks import run_in_ranks
from tunefleet.base import processes, status
from tunefleet.base.status import State, Status
from tunefleet.tracking import metrics

METRIC = "unseen_sentences/loss"


@dataclass(frozen=True)
class Story:
    """The folder of the runs, how the killed one stood, and its best checkpoint in the end."""

    folder: Path
    dead: Status
    best: dict[str, Any]

    def status(self, name: str) -> Status:
        """How a run stands at the end."""
        run_status = status.read(self.folder / "outputs" / name / "status.json")
        assert run_status
        return run_status

    def losses(self, name: str) -> dict[int, float]:
        """The metric by step."""
        records = metrics.evaluations(self.folder / "outputs" / name / "metrics.jsonl")
        return {record["step"]: record[f"evaluation/{METRIC}"] for record in records}

    def checkpoints(self, name: str) -> list[int]:
        """The steps that are saved."""
        return sorted(
            int(path.name.removeprefix("step-"))
            for path in (self.folder / "outputs" / name / "checkpoints").glob("step-*")
        )


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Two ranks, killed; then one, with ZeRO."""
    folder = tmp_path_factory.mktemp("retention")
    outputs = folder / "outputs"
    outputs.mkdir()
    with pytest.raises(AssertionError):  # all ranks are dead
        run_in_ranks("tests.faults.early_endings:first", 2, outputs)
    dead = status.read(outputs / "killed" / "status.json")
    assert dead
    shutil.copytree(outputs / "killed", outputs / "forgetful")
    return Story(folder, dead, run_in_ranks("tests.faults.early_endings:second", 1, outputs)[0])


def test_the_fault_has_fired(story: Story) -> None:
    assert (story.dead.state, story.dead.step, story.dead.saved_step) == (State.RUNNING, KILLED_AT, 4)
    assert not processes.is_alive(story.dead.pid)


@pytest.mark.parametrize("name", ["whole", "killed"])
def test_it_stops_at_the_same_step_finished_with_a_reason(story: Story, name: str) -> None:
    run_status = story.status(name)
    assert (run_status.state, run_status.step, run_status.total_steps) == (State.FINISHED, STOPS_AT, 20)
    assert run_status.reason.startswith(f"early stopping at step {STOPS_AT}: {METRIC} was no better by more than 100")


def test_control_without_what_the_checkpoint_knows_it_would_stop_later(story: Story) -> None:
    assert story.status("forgetful").step > STOPS_AT


@pytest.mark.parametrize("name", ["whole", "killed"])
def test_the_best_and_the_last_are_there_and_no_others(story: Story, name: str) -> None:
    losses = story.losses(name)
    assert list(losses) == [2, 4, 6, 8]
    best = min(losses, key=losses.__getitem__)
    assert best < STOPS_AT, f"the last is the best, which shows nothing: {losses}"
    assert story.checkpoints(name) == [best, STOPS_AT]
    assert story.status(name).best == {"step": best, METRIC: pytest.approx(losses[best])}


def test_the_best_is_exported_and_measured_as_it_was(story: Story) -> None:
    step = story.best["best"]["step"]
    assert (story.best["folder"], story.best["step"]) == (f"export-step-{step}", step)
    record = story.best["records"][str(step)]
    for key in (key for key in record if key.endswith("/loss") and key.startswith("evaluation/")):
        assert story.best["measured"][key] == pytest.approx(record[key], rel=1e-5)


def test_control_another_step_has_another_loss(story: Story) -> None:
    losses = story.losses("killed")
    assert len({round(loss, 4) for loss in losses.values()}) == len(losses)
