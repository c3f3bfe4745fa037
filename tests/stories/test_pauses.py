"""What does a person see of a run that its sweep has pruned, and may they let it train on?"""

from __future__ import annotations

import time
from pathlib import Path

from tests.stories.commands import SMALL, start, status, train, tunefleet
from tunefleet.base import sweep_requests
from tunefleet.base.paths import RunPaths
from tunefleet.tracking import metrics

STEPS = 80
WORDS = [*SMALL, f"train.max_steps={STEPS}", "train.micro_batch=1", "train.sequence_length=64", "name=trial"]
WORDS += ["checkpoint.export=false", "evaluation.generate_rows=0", "evaluation.every=null", "parallel=ddp"]


def test_a_pruned_run_says_why_and_its_own_command_trains_on_to_the_end(tmp_path: Path) -> None:
    run = RunPaths(tmp_path / "outputs" / "trial")
    sweep_requests.set_rung(run, STEPS - 1)
    process = start(tmp_path, *WORDS)
    while len(metrics.read(run.metrics)) < 2 and process.poll() is None:
        time.sleep(0.05)
    sweep_requests.prune(run, "worse than the median of 9 trials")
    assert process.wait(timeout=300) == 0
    pruned = status(run.root)
    assert 2 <= pruned["saved_step"] == pruned["step"] < STEPS
    card = tunefleet(tmp_path, "status", "trial")
    assert "pruned: worse than the median of 9 trials" in card
    assert f"{pruned['step']} of {STEPS}, saved at {pruned['step']}" in card
    assert f"resuming from step {pruned['step']}" in train(tmp_path, *WORDS)
    now = status(run.root)
    assert (now["state"], now["step"], now["reason"]) == ("finished", STEPS, "")
    assert now["seconds"] > pruned["seconds"] > 0
