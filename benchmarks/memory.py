"""Memory as the planner foresees it beside memory as a run measures it, on a CPU, a fresh process for each case.

    python -m benchmarks.memory [--only WORD] [--steps 3]

Resident size of rank 0 (ru_maxrss) over a few optimizer steps on the built-in data. What is foreseen includes
Python and its libraries, which are most of it for a tiny model: the last column leaves them out of both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARIES = 0.36  # GiB, as in tunefleet.plan.memory
_LLAMA = (
    "model.architecture={model_type: llama, vocab_size: 2048, hidden_size: 768, intermediate_size: 2048, "
    "num_hidden_layers: 12, num_attention_heads: 12, num_key_value_heads: 4, max_position_embeddings: 1024}"
)
_MODELS = {
    "opt-tiny, 0.7M": ("model=opt-tiny",),
    "opt-125m": ("model=opt-125m", "model.init=random", "model.tokenizer=demo"),
    "gpt2, 124M": ("model=gpt2", "model.init=random", "model.tokenizer=demo"),
    "llama, 82M": ("model=hf", "model.init=random", "model.tokenizer=demo", _LLAMA),
}
_QUIET = (
    "tracking=files",
    "evaluation.generate_rows=0",
    "evaluation.every=0",
    "checkpoint.at_end=false",
    "checkpoint.export=false",
    "data.packing=true",
    "tracking.log_every=1",
)


@dataclass(frozen=True)
class Case:
    """A model, a strategy with its number of processes, and what it computes at once."""

    model: str
    parallel: str
    ranks: int
    words: tuple[str, ...]


CASES = (
    Case("opt-tiny, 0.7M", "ddp", 1, ("train.micro_batch=8", "train.sequence_length=128", "train.precision=fp32")),
    Case("opt-tiny, 0.7M", "zero2", 2, ("train.micro_batch=64", "train.sequence_length=256", "train.precision=fp32")),
    Case("opt-125m", "ddp", 1, ("train.micro_batch=1", "train.sequence_length=256", "train.precision=fp32")),
    Case("opt-125m", "ddp", 1, ("train.micro_batch=8", "train.sequence_length=512", "train.precision=fp32")),
    Case("opt-125m", "zero1", 2, ("train.micro_batch=1", "train.sequence_length=256", "train.precision=fp32")),
    Case("opt-125m", "zero2", 2, ("train.micro_batch=1", "train.sequence_length=256", "train.precision=bf16")),
    Case("opt-125m", "zero3", 2, ("train.micro_batch=2", "train.sequence_length=256", "train.precision=fp32")),
    Case("gpt2, 124M", "ddp", 1, ("train.micro_batch=2", "train.sequence_length=512", "train.precision=fp32")),
    Case("llama, 82M", "ddp", 1, ("train.micro_batch=2", "train.sequence_length=512", "train.precision=fp32")),
    Case("llama, 82M", "ddp", 1, ("train.micro_batch=8", "train.sequence_length=512", "train.precision=fp32")),
    Case(
        "llama, 82M",
        "ddp",
        1,
        (
            *("train.micro_batch=8", "train.sequence_length=512", "train.precision=fp32"),
            "train.gradient_checkpointing=true",
        ),
    ),
    Case("llama, 82M", "ddp", 1, ("train.micro_batch=4", "train.sequence_length=512", "train.precision=bf16")),
    Case("llama, 82M", "zero1", 1, ("train.micro_batch=4", "train.sequence_length=512", "train.precision=fp32")),
    Case("llama, 82M", "zero2", 2, ("train.micro_batch=2", "train.sequence_length=512", "train.precision=fp32")),
    Case("llama, 82M", "zero3", 2, ("train.micro_batch=2", "train.sequence_length=512", "train.precision=bf16")),
)


def main() -> None:
    """Prints a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name has this word")
    parser.add_argument("--steps", type=int, default=3)
    chosen = parser.parse_args()
    print("| model | strategy | what is set | foreseen GiB | measured GiB | ratio | without libraries |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for case in CASES:
        told = f"{case.model} {case.parallel} {' '.join(case.words)}"
        if chosen.only in told:
            print(_line(case, *measure(case, chosen.steps)), flush=True)


def measure(case: Case, steps: int) -> tuple[float, float]:
    """(foreseen, measured) GiB of rank 0."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"parallel={case.parallel}", f"launch.processes={case.ranks}", f"train.max_steps={steps}"]
        # a recipe of the model comes before the words of the case
        command = [sys.executable, str(ROOT / "train.py"), *_MODELS[case.model], *words, *_QUIET, *case.words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        command += ["name=case", f"output_dir={folder}"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        lines = (Path(folder) / "case" / "metrics.jsonl").read_text().splitlines()
        logged = [record for record in map(json.loads, lines) if "memory/peak_gib" in record]
        return logged[-1]["memory/expected_gib"], logged[-1]["memory/peak_gib"]


def _line(case: Case, foreseen: float, measured: float) -> str:
    words = ", ".join(word.removeprefix("train.") for word in case.words)
    own = (foreseen - LIBRARIES) / max(0.01, measured - LIBRARIES)
    return (
        f"| {case.model} | {case.parallel}, {case.ranks} rank{'s' * (case.ranks > 1)} | {words} "
        f"| {foreseen:.2f} | {measured:.2f} | {foreseen / measured:.2f} | {own:.2f} |"
    )


if __name__ == "__main__":
    main()
