"""Three starts of one run, offline with the real package: `python -m tests.tracking.wandb_starts FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.plans import tiny_plan
from tunefleet.tracking.metrics import MetricsFile
from tunefleet.tracking.trackers import Trackers
from tunefleet.tracking.wandb import WandbSink

STARTS: list[tuple[str, list[dict[str, Any]]]] = [
    ("paused", [{"step": 1, "train/loss": 3.0}, {"step": 2, "evaluation/seen/loss": 2.5}]),
    ("pruned", [{"step": 3, "evaluation/seen/loss": 2.0, "evaluation/seen/perplexity": 7.4}]),
    ("finished", [{"step": 4, "evaluation/seen/loss": 2.25, "evaluation/unseen/loss": float("nan"), "final": True}]),
]


def main(folder: Path) -> None:
    """Logs what each start logs, and ends as it ends; prints what is announced."""
    plan = tiny_plan(folder, tracking={"group": "lr", "run_name": "lr=1e-4"})
    plan.paths.root.mkdir(parents=True)
    step = 0
    for state, records in STARTS:
        trackers = Trackers([MetricsFile(plan.paths.metrics, step), WandbSink(plan, "offline", print)])
        for record in records:
            trackers.log(record)
        step = records[-1]["step"]
        trackers.finish({"state": state})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
