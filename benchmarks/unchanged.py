"""Do two checkouts of the repository compute the same numbers, to the last bit? For changes that should change none.

    git worktree add ../before COMMIT
    python -m benchmarks.unchanged ../before [--only zero3] [--demo] [--renamed learning_tokens=loss_tokens]

Both run the same commands, each in an empty folder; `--demo` adds the whole demo (two minutes each). Compared are:
every record of metrics.jsonl but for what a clock or the kernel's memory says, the samples, the exported weights, and
the prepared arrays (by their bytes, whatever their files are called). Ends with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
SMALL = ["data.max_rows=300", "data.validation_rows=6", "evaluation.generate_rows=2", "tracking=files"]
SMALL += [
    "train.max_steps=6",
    "train.micro_batch=2",
    "train.global_batch=4",
    "train.threads=1",
    "data.cache=cache",
    "seed=3",
]
COMMANDS = {
    "single": [],
    "unpacked": ["data.packing=false", "model.dropout=0.1"],
    "split": ["data.long_rows=split", "train.sequence_length=32", "train.precision=fp32"],
    "lora": ["adapter=lora", "adapter.rank=4"],
    "lion": ["optimizer=lion", "schedule=cosine"],
    "ddp": ["parallel=ddp", "launch.processes=2"],
    "zero1": ["parallel=zero1", "launch.processes=2"],
    "zero2": ["parallel=zero2", "launch.processes=2", "train.gradient_checkpointing=true"],
    "zero3": ["parallel=zero3", "launch.processes=2"],
    "tensor": ["parallel=tensor", "launch.processes=2"],
    "pipeline": ["parallel=pipeline", "launch.processes=2"],
    "sequence": ["parallel=sequence", "launch.processes=2", "model.dropout=0"],
}
_CLOCK = ("second", "memory", "mfu", "time")
Numbers = dict[str, Any]


def main() -> None:
    """Prints a line for each command."""
    chosen = _arguments()
    renamed = dict(pair.split("=") for pair in chosen.renamed)
    commands = {name: [*SMALL, *words] for name, words in COMMANDS.items()}
    commands |= {"demo": ["train.threads=1", "data.cache=cache"]} if chosen.demo else {}
    different = 0
    for name, words in commands.items():
        if not chosen.only or name in chosen.only:
            before, after = _numbers(chosen.before.resolve(), words, renamed), _numbers(HERE, words, {})
            differing = [what for what in before if before[what] != after[what]]
            different += bool(differing)
            print(f"{name:<10} {'differs: ' + ', '.join(differing) if differing else 'the same: ' + _told(after)}")
    sys.exit(different > 0)


def _told(numbers: Numbers) -> str:
    losses = [record["train/loss"] for record in numbers["metrics"] if "train/loss" in record]
    return f"{len(numbers['metrics'])} records, {sum(numbers['data'].values())} arrays, last loss {losses[-1]!r}"


def _numbers(tree: Path, words: list[str], renamed: dict[str, str]) -> Numbers:
    """What a checkout computes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
        command = [sys.executable, str(tree / "train.py"), *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{tree}: {' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        (plan,) = folder.glob("outputs/*/plan.json")
        run = plan.parent
        return {
            "metrics": [_record(json.loads(line), renamed) for line in (run / "metrics.jsonl").open()],
            "samples": [_record(json.loads(line), renamed) for line in (run / "samples.jsonl").open()],
            "weights": {path.name: _digest(path) for path in sorted((run / "export").glob("*.safetensors"))},
            "data": Counter(_digest(path) for path in (folder / "cache").rglob("*.npy")),
        }


def _record(record: dict[str, Any], renamed: dict[str, str]) -> dict[str, Any]:
    kept = {key: value for key, value in record.items() if not any(word in key for word in _CLOCK)}
    for before, after in renamed.items():
        kept = {key.replace(before, after): value for key, value in kept.items()}
    return kept


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of the commit before the change")
    parser.add_argument("--only", nargs="*", choices=COMMANDS, help="these commands alone")
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--renamed", nargs="*", default=[], metavar="OLD=NEW", help="words in keys of the records")
    return parser.parse_args()


if __name__ == "__main__":
    main()
