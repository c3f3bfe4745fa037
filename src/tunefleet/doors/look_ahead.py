"""Data check before submitting: a process of its own reads the first rows, because it needs transformers.

`python -m tunefleet.doors.look_ahead FOLDER...` looks for the plan saved in each folder, and writes what is wrong
into `complaints.json` beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tunefleet.base import files, status
from tunefleet.base.errors import DataError
from tunefleet.base.status import State
from tunefleet.config.load import dump
from tunefleet.doors.rank import prepare_environment
from tunefleet.launch import project
from tunefleet.libraries.heavy_imports import heavy_imports
from tunefleet.plan import Plan

_COMPLAINTS = "complaints.json"


def expect_readable(plans: Sequence[Plan]) -> None:
    """Looks at the first rows of every source of those that may start, once for all that read the same in one way.

    Raises `DataError` with file and line. Where that is not possible it is noted, and nothing is refused.
    """
    different = list({_reading(plan): plan for plan in plans if _may_start(plan)}.values())
    if different and (complaints := first_row_complaints(different)):
        raise DataError(*dict.fromkeys(complaints))


def _may_start(plan: Plan) -> bool:
    run_status = status.read(plan.paths.status)
    return run_status is None or (run_status.state.final and run_status.state is not State.FINISHED)


def _reading(plan: Plan) -> str:
    """All that the look depends on."""
    train, sources = plan.config.train, plan.sources
    family = [sources.architecture.config.get(key) for key in ("model_type", "vocab_size")]
    return json.dumps([dump(plan.config.data), train.sequence_length, sources.tokenizer, *family])


def first_row_complaints(plans: Sequence[Plan]) -> list[str]:
    """What is wrong with the first rows of these plans; empty where they could not be read."""
    with tempfile.TemporaryDirectory(prefix="tunefleet-look-") as parent:
        folders = [Path(parent, str(number)) for number in range(len(plans))]
        for plan, folder in zip(plans, folders, strict=True):
            replace(plan, run_dir=str(folder)).save()
        looked = check_in_process(folders)
        if looked.returncode:
            reason = [line for line in looked.stderr.splitlines() if line.strip()][-1:] or ["without a word"]
            print(f"note: the first rows were not looked at: {reason[0]} (exit code {looked.returncode}).", flush=True)
            return []
        return [complaint for folder in folders for complaint in files.read_json(folder / _COMPLAINTS)]


def check_in_process(folders: Sequence[Path]) -> subprocess.CompletedProcess[str]:
    """Runs `main` over the folders in a new process."""
    paths = [str(project.IMPORTED_FROM), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-P", "-m", __name__, *map(str, folders)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )


def main() -> None:
    """Looks for each folder that is named; what is wrong with the data is no failure of the look."""
    plans = [Plan.read(Path(folder)) for folder in sys.argv[1:]]
    prepare_environment(plans[0])
    os.environ["USE_TORCH"] = "0"  # for `datasets`, where a set of the hub is named
    sys.modules["torch"] = None  # type: ignore[assignment]  # tokenizers do without it, which saves most of the time
    with heavy_imports(models=False):
        from tunefleet.runs import data_precheck  # transformers starts here

    for plan in plans:
        files.write_json(Path(plan.run_dir) / _COMPLAINTS, list(data_precheck.complaints(plan)))


if __name__ == "__main__":
    main()
