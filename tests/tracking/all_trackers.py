"""Two starts of one run with every tracker that is installed: `python -m tests.tracking.all_trackers FOLDER`.

The first start fails after step 4; the second resumes after step 2, whose steps 3 and 4 are the same again.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.plans import tiny_plan
from tunefleet.plan.plan import Plan
from tunefleet.runs.run_trackers import trackers_of_rank
from tunefleet.tracking.console import Console

SAMPLES = [{"split": "seen", "question": "a | b", "reference": "c", "answer": f"d\n{n}"} for n in range(2)]


def settings() -> dict[str, Any]:
    """Of `tracking`."""
    return {
        "wandb": "offline",
        "csv": True,
        "tensorboard": True,
        "mlflow": find_spec("mlflow") is not None,
        "artifacts": ["plan"],
        "project": "voices",
        "run_name": "mine",
    }


def planned(folder: Path) -> Plan:
    """The run's plan, with a digest of a file."""
    plan = tiny_plan(folder, tracking=settings())
    plan.contents["data"] = {"rows.jsonl": "ab" * 32}
    return plan


def step(number: int) -> list[dict[str, Any]]:
    """What a run logs after a step: its numbers, and every second one an evaluation."""
    axes = {"step": number, "epoch": number / 8, "seconds": 0.1 * number, "tokens": 20_000_000 + 3 * number}
    numbers = {"train/loss": 3.0 / number, "train/gradient_norm": 1 / 3, "train/lr": 1e-4 / 3, "train/mfu": 0.1}
    numbers |= {"train/tokens_per_second": 1234.5, "memory/peak_gib": 0.7}
    records = [{**axes, "time": 1e9 + number, **numbers}]
    evaluation = {"evaluation/seen/loss": 2.0 / number, "evaluation/unseen/loss": 2.5 / number}
    return records + [{**axes, **evaluation}] * (number % 2 == 0)


def main(folder: Path) -> None:
    """Logs both starts."""
    plan = planned(folder)
    plan.save()
    for resumed_from, last, ending in (
        (0, 4, {"state": "failed", "reason": "the loss became nan"}),
        (2, 6, {"state": "finished"}),
    ):
        trackers = trackers_of_rank(plan, 0, Console(False, 6), resumed_from)
        for number in range(resumed_from + 1, last + 1):
            for record in step(number):
                trackers.log(record)
            trackers.samples(number, SAMPLES if number % 2 == 0 else [])
        trackers.finish(ending)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
