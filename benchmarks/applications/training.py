"""Training an application: a run for each seed, and the answers of its test rows."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.applications.catalogue import VARIABLE, Application
from benchmarks.applications.clinc150 import OUT_OF_SCOPE
from benchmarks.applications.measures import Values, of_intents, with_threshold
from benchmarks.applications.rows import Row, read
from tunefleet.base.errors import RunError
from tunefleet.launch.project import ROOT

_PER_MINUTE = 60


@dataclass(frozen=True)
class Trained:
    """A run of an application."""

    run_dir: Path
    cpu_minutes: float
    """Of all its processes; near 0 where it had been trained before."""

    def samples(self, split: str) -> list[Row]:
        """Its answers to every row of a split. Raises `RunError` where there are none."""
        rows = [row for row in read(self.run_dir / "samples.jsonl") if row["split"] == split]
        if not rows:
            raise RunError(f"{self.run_dir / 'samples.jsonl'} has no answers of the split {split}.")
        return rows


def train(application: Application, seed: int, folder: Path, overrides: Sequence[str]) -> Trained:
    """Trains with a seed in FOLDER/runs, or continues, or finds it done. Raises `CalledProcessError`."""
    name = f"{application.experiment}-seed{seed}"
    settings = [f"seed={seed}", f"name={name}", f"output_dir={folder / 'runs'}", f"data.cache={folder / 'cache'}"]
    command = [sys.executable, str(ROOT / "train.py"), f"experiment={application.experiment}", *settings, *overrides]
    before = _cpu_seconds()
    environment = {**os.environ, VARIABLE: str(folder)}
    subprocess.run([*command, "tracking=files"], check=True, stdout=sys.stderr, env=environment)
    return Trained(folder / "runs" / name, (_cpu_seconds() - before) / _PER_MINUTE)


def values(application: Application, trained: Trained) -> dict[str, Values]:
    """{split: its values} of a run."""
    return {split: _of_split(application, trained.samples(split)) for split in application.splits}


def _of_split(application: Application, samples: Sequence[Row]) -> Values:
    """With a threshold an answer differs from what was `generated`."""
    references = [sample["reference"] for sample in samples]
    answers = [sample["answer"] for sample in samples]
    if application.measure is not of_intents or OUT_OF_SCOPE not in references:
        return application.measure(answers, references)
    generated = [sample["generated"] for sample in samples]
    return with_threshold(of_intents(generated, references), answers, references)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
