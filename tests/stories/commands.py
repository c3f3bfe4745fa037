"""How a test types a command: train.py and tunefleet in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SMALL = ["data.max_rows=300", "data.validation_rows=6", "evaluation.generate_rows=2", "tracking=files"]


def command(*arguments: str) -> list[str]:
    """`python train.py WORDS`."""
    return [sys.executable, str(ROOT / "train.py"), *arguments]


def environment(folder: Path, outer: Mapping[str, str] = os.environ) -> dict[str, str]:
    """A person without a W&B key, whose Hugging Face cache is empty."""
    variables = {k: v for k, v in outer.items() if not k.startswith(("WANDB", "HF_", "RANK", "WORLD_SIZE"))}
    return {**variables, "HF_HOME": str(folder / "hf"), "HOME": str(folder), "COLUMNS": "120"}


def train(folder: Path, *arguments: str, code: int = 0) -> str:
    """Runs train.py to its end; returns everything that it printed."""
    return _run(command(*arguments), folder, code)


def tunefleet(folder: Path, *arguments: str, code: int = 0, typed: str = "") -> str:
    """Runs the command `tunefleet`; returns everything that it printed."""
    return _run([str(Path(sys.executable).with_name("tunefleet")), *arguments], folder, code, typed)


def start(folder: Path, *arguments: str, launcher: Sequence[str] = (sys.executable,)) -> subprocess.Popen[bytes]:
    """Starts train.py as a shell does, in a process group of its own; its output goes to `folder`/output.txt."""
    with open(folder / "output.txt", "wb") as output:
        return subprocess.Popen(
            [*launcher, *command(*arguments)[1:]],
            cwd=folder,
            env=environment(folder),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def run_folder(folder: Path) -> Path:
    """The directory of the one run in `folder`."""
    (plan,) = (folder / "outputs").glob("*/plan.json")
    return plan.parent


def metrics(run: Path) -> list[dict[str, Any]]:
    """The records of a run, without what a clock says, and how much memory a process took."""
    path = run / "metrics.jsonl"
    if not path.exists():
        return []
    records = [json.loads(line) for line in path.read_text().splitlines()]
    measured = ("second", "memory", "mfu")
    return [{k: v for k, v in r.items() if k != "time" and not any(part in k for part in measured)} for r in records]


def status(run: Path) -> dict[str, Any]:
    """The run's status.json."""
    return dict(json.loads((run / "status.json").read_text()))


def _run(arguments: list[str], folder: Path, code: int, typed: str = "") -> str:
    done = subprocess.run(
        arguments,
        cwd=folder,
        env=environment(folder),
        input=typed.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    printed = done.stdout.decode()
    assert done.returncode == code, printed[-4000:]
    return printed
