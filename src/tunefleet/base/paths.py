"""File names of a run: the one place that spells them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NOT_RUNS = ("cache", "code", "mlruns", "submissions", "sweeps")
"""Folders of ours beside the runs', whose names no run may have."""


def lies_in(named: Path, folder: Path) -> bool:
    """Whether `named` is directly below `folder`, which is an absolute path without links.

    Where it is not, a record that names it is not obeyed: it was edited, or copied from elsewhere.
    """
    try:
        is_there = named.parent == folder or named.parent.resolve() == folder
    except (OSError, ValueError, RuntimeError):  # no path at all, or a link to itself
        return False
    return is_there and named.name not in ("", "..")


@dataclass(frozen=True)
class RunPaths:
    """The files of one run, all below its directory `root`."""

    root: Path

    @property
    def plan(self) -> Path:
        """Everything decided before the start; ranks read this and nothing else."""
        return self.root / "plan.json"

    @property
    def provenance(self) -> Path:
        """Where the run comes from: commit, versions, command; written beside the plan."""
        return self.root / "provenance.json"

    @property
    def diff(self) -> Path:
        """The edits that the commit does not hold, for `git apply`; not there where there were none."""
        return self.root / "code.diff"

    @property
    def metrics(self) -> Path:
        """One JSON object a line: the truth about what was logged."""
        return self.root / "metrics.jsonl"

    @property
    def csv(self) -> Path:
        """The same as a table, where `tracking.csv` asks for it."""
        return self.root / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files, where `tracking.tensorboard` asks for them."""
        return self.root / "tensorboard"

    @property
    def profile(self) -> Path:
        """The folder of the traces and tables that `train.profile` asks for."""
        return self.root / "profile"

    @property
    def batches(self) -> Path:
        """Every step whose update was refused, with the rows of all its micro-batches: one JSON object a line."""
        return self.root / "batches.jsonl"

    @property
    def order(self) -> Path:
        """From which step on which sequences are passed over, and how processes split a step (`runs/step_order.py`)."""
        return self.root / "order.json"

    @property
    def status(self) -> Path:
        """Where the run stands: replaced atomically, one final state for every end."""
        return self.root / "status.json"

    @property
    def samples(self) -> Path:
        """The model's answers at the last evaluation, one JSON object a line."""
        return self.root / "samples.jsonl"

    @property
    def predictions(self) -> Path:
        """Every answer of the last `tunefleet evaluate`, with prompt, reference and scores."""
        return self.root / "predictions.jsonl"

    @property
    def data(self) -> Path:
        """What the training rows are: their card, as far as it says how the model is to be used."""
        return self.root / "data.json"

    @property
    def checkpoints(self) -> Path:
        """One folder a saved step, and the pointer to the newest."""
        return self.root / "checkpoints"

    @property
    def tokenizer(self) -> Path:
        """The run's own copy of the tokenizer that it was trained with."""
        return self.root / "tokenizer"

    @property
    def export(self) -> Path:
        """The trained model in Hugging Face form."""
        return self.root / "export"

    def export_of(self, step: int) -> Path:
        """The model of another checkpoint than the last, in the same form."""
        return self.root / f"export-step-{step}"

    @property
    def stop(self) -> Path:
        """A polite request: if this file appears, the run saves and stops at the next step."""
        return self.root / "stop"

    @property
    def rung(self) -> Path:
        """Written by the run's sweep, `{"step": N}`: the run trains with its whole schedule and pauses after step N."""
        return self.root / "rung.json"

    @property
    def prune(self) -> Path:
        """Written by the run's sweep: if this file appears, the run saves and ends as pruned; its text says why."""
        return self.root / "prune"

    @property
    def sweep(self) -> Path:
        """The absolute path of the folder of the run's sweep, as text; not there where it is in none."""
        return self.root / "sweep"

    @property
    def lock(self) -> Path:
        """Held by the launcher of the run while it runs."""
        return self.root / ".lock"

    @property
    def heartbeat(self) -> Path:
        """Touched every few seconds while rank 0 lives."""
        return self.root / ".heartbeat"

    @property
    def attempts(self) -> Path:
        """Every job that ran or runs this run: one JSON object a line, for each start."""
        return self.root / "attempts.jsonl"

    @property
    def submission(self) -> Path:
        """Which submission to SLURM holds this run, written before the job exists."""
        return self.root / "submission.json"

    @property
    def cancelled(self) -> Path:
        """The user's request that the run does not resume by itself."""
        return self.root / "cancelled"

    @property
    def trajectories(self) -> Path:
        """What `tunefleet check` compares: losses, norms and weights of its tiny models."""
        return self.root / "trajectories.json"

    @property
    def curve(self) -> Path:
        """The loss curve as a picture."""
        return self.root / "loss.png"

    @property
    def report(self) -> Path:
        """The page of `tunefleet report`."""
        return self.root / "report.html"

    @property
    def wandb(self) -> Path:
        """The folder below which Weights & Biases keeps its own files."""
        return self.root

    @property
    def console(self) -> Path:
        """What a point of a grid wrote to its output, where several run side by side."""
        return self.root / "logs" / "console.log"

    def log(self, rank: int) -> Path:
        """What rank `rank` wrote to its output; of rank 0, whose output is the console, its plain lines."""
        return self.root / "logs" / f"rank{rank}.log"

    def pulse(self, rank: int) -> Path:
        """What rank `rank` does, replaced every few seconds while it lives."""
        return self.root / "logs" / f"rank{rank}.pulse.json"

    def stacks(self, rank: int) -> Path:
        """Where every thread of rank `rank` stood when the run made no progress."""
        return self.root / "logs" / f"rank{rank}.stacks.txt"

    @property
    def hang(self) -> Path:
        """Which ranks made no progress, what all of them did: written before they are ended for it."""
        return self.root / "logs" / "hang.json"

    def failure(self, rank: int) -> Path:
        """Why rank `rank` ended, written by itself before it left."""
        return self.root / "logs" / f"rank{rank}.failure.json"
