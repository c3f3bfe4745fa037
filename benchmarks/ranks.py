"""How many more tokens a second do two ranks train than one, with a thread each?

    python -m benchmarks.ranks [--parallel ddp zero2] [--ranks 1 2] [--steps 8]

A 45M-parameter OPT on the built-in data packed to 512 tokens, two micro-batches of four sequences a step on each rank;
tokens a second are the median of the steps' own, after the first three. Needs as many quiet cores as ranks.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
_WARM_UP = 3
_MODEL = (
    "model.architecture={model_type: opt, vocab_size: 50272, hidden_size: 512, word_embed_proj_dim: 512, "
    "ffn_dim: 2048, num_hidden_layers: 6, num_attention_heads: 8, max_position_embeddings: 512, "
    "dropout: 0.0, attention_dropout: 0.0}"
)
_SETTINGS = (
    *("model=hf", "model.init=random", "model.tokenizer=demo", _MODEL, "data.packing=true", "train.threads=1"),
    *("train.sequence_length=512", "train.micro_batch=4", "tracking=files", "tracking.log_every=1"),
    *("evaluation.generate_rows=0", "evaluation.every=0", "checkpoint.at_end=false", "checkpoint.export=false"),
)


def main() -> None:
    """Prints a line for each strategy and number of ranks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parallel", nargs="+", default=["ddp", "zero2"])
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    print("| strategy | ranks | tokens/s | times the first |\n|---|---|---|---|")
    for parallel in options.parallel:
        first = 0.0
        for ranks in options.ranks:
            speed = tokens_per_second(parallel, ranks, options.steps + _WARM_UP)
            first = first or speed
            print(f"| {parallel} | {ranks} | {speed:,.0f} | {speed / first:.2f} |", flush=True)


def tokens_per_second(parallel: str, ranks: int, steps: int) -> float:
    """Of all ranks, the median step of a run."""
    with tempfile.TemporaryDirectory() as folder:
        run = (f"parallel={parallel}", f"launch.processes={ranks}", f"train.global_batch={8 * ranks}")
        where = ("name=run", f"output_dir={folder}", f"train.max_steps={steps}")
        command = [sys.executable, str(ROOT / "train.py"), *_SETTINGS, *run, *where]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if ended.returncode:
            raise SystemExit(f"{ended.stdout}\n{ended.stderr}")
        records = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
    speeds = [record["train/tokens_per_second"] for record in records if "train/tokens_per_second" in record]
    return float(statistics.median(speeds[_WARM_UP:]))


if __name__ == "__main__":
    main()
