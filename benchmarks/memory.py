"""Memory as the planner foresees it beside memory as a run measures it, on a CPU, a fresh process for each case.

    python -m benchmarks.memory [--only WORD] [--steps 2]

Resident size of rank 0 (ru_maxrss) over a few optimizer steps on the built-in data. What is foreseen includes
Python and its libraries, which are most of it for a tiny model: the last column leaves them out of both.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tunefleet.base.units import GIB
from tunefleet.plan.estimate.memory_items import PROCESS

ROOT = Path(__file__).parents[1]
LIBRARIES = PROCESS / GIB
_LLAMA = (
    "model.architecture={model_type: llama, vocab_size: 2048, hidden_size: 768, intermediate_size: 2048, "
    "num_hidden_layers: 4, num_attention_heads: 12, num_key_value_heads: 4, max_position_embeddings: 1024}"
)
_MODELS = {
    "opt-tiny, 0.7M": ("model=opt-tiny",),
    "opt-125m": ("model=opt-125m", "model.init=random", "model.tokenizer=demo"),
    "opt, 61M": ("model=opt-125m", "model.init=random", "model.tokenizer=demo", "model.num_layers=3"),
    "gpt2, 61M": ("model=gpt2", "model.init=random", "model.tokenizer=demo", "model.num_layers=3"),
    "llama, 28M": ("model=hf", "model.init=random", "model.tokenizer=demo", _LLAMA),
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


def _case(model: str, parallel: str, ranks: int, rows: int, length: int, precision: str, *more: str) -> Case:
    settings = (f"micro_batch={rows}", f"sequence_length={length}", f"precision={precision}", *more)
    return Case(model, parallel, ranks, tuple(f"train.{word}" for word in settings))


CASES = (
    _case("opt-tiny, 0.7M", "ddp", 1, 8, 128, "fp32"),
    _case("opt-tiny, 0.7M", "ddp", 1, 64, 256, "fp32"),
    _case("opt-tiny, 0.7M", "ddp", 1, 64, 256, "fp32", "gradient_checkpointing=true"),
    _case("opt-tiny, 0.7M", "zero2", 2, 64, 256, "fp32"),
    _case("llama, 28M", "ddp", 1, 2, 256, "fp32"),
    _case("llama, 28M", "ddp", 1, 4, 512, "fp32"),
    _case("llama, 28M", "ddp", 1, 4, 512, "fp32", "gradient_checkpointing=true"),
    _case("llama, 28M", "zero1", 1, 2, 256, "fp32"),
    _case("llama, 28M", "zero1", 2, 1, 256, "fp32"),
    _case("llama, 28M", "zero2", 2, 1, 256, "fp32"),
    _case("llama, 28M", "zero3", 2, 1, 256, "fp32"),
    _case("llama, 28M", "zero2", 2, 1, 256, "bf16"),
    _case("gpt2, 61M", "ddp", 1, 1, 256, "fp32"),
    _case("opt, 61M", "zero3", 2, 1, 128, "fp32"),
    _case("opt-125m", "ddp", 1, 1, 256, "fp32"),
)


def main() -> None:
    """Prints a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name has this word")
    parser.add_argument("--steps", type=int, default=2)
    chosen = parser.parse_args()
    print("| model | strategy | what is set | foreseen GiB | measured GiB | ratio | without libraries |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as cache:
        for case in CASES:
            told = f"{case.model} {case.parallel} {' '.join(case.words)}"
            if chosen.only in told:
                print(_line(case, *measure(case, chosen.steps, cache)), flush=True)


def measure(case: Case, steps: int, cache: str) -> tuple[float, float]:
    """(foreseen, measured) GiB of rank 0 after `steps` steps; the run is then cut short, for it would evaluate."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"parallel={case.parallel}", f"launch.processes={case.ranks}", f"data.cache={cache}"]
        words += ["name=case", f"output_dir={folder}"]
        command = [sys.executable, str(ROOT / "train.py"), *_MODELS[case.model], *words, *_QUIET, *case.words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        with open(Path(folder) / "said", "w+") as said:
            run = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT)
            logged = _wait(run, Path(folder) / "case" / "metrics.jsonl", steps)
            run.send_signal(signal.SIGTERM)
            run.wait()
            if len(logged) < steps:
                said.seek(0)
                raise SystemExit(f"{' '.join(command)}\n{said.read()}")
        return logged[-1]["memory/expected_gib"], logged[-1]["memory/peak_gib"]


def _wait(run: subprocess.Popen[bytes], metrics: Path, steps: int) -> list[dict[str, float]]:
    """The first `steps` records of the run, or fewer where it ended before."""
    while True:
        ended = run.poll() is not None
        lines = metrics.read_text().splitlines(keepends=True) if metrics.exists() else []
        logged = [json.loads(line) for line in lines if line.endswith("\n") and "memory/peak_gib" in line]
        if ended or len(logged) >= steps:
            return logged[:steps]
        time.sleep(0.2)


def _line(case: Case, foreseen: float, measured: float) -> str:
    words = ", ".join(word.removeprefix("train.") for word in case.words)
    own = (foreseen - LIBRARIES) / max(0.01, measured - LIBRARIES)
    return (
        f"| {case.model} | {case.parallel}, {case.ranks} rank{'s' * (case.ranks > 1)} | {words} "
        f"| {foreseen:.2f} | {measured:.2f} | {foreseen / measured:.2f} | {own:.2f} |"
    )


if __name__ == "__main__":
    main()
