"""How long does saving a checkpoint stop the training, beside writing and syncing the same bytes?

An OPT of 61 million parameters (fp32, Adam, one process: 733 MB of weights and optimizer states at stage 0) is saved
several times by the checkpoint store, each time followed by a plain loop that writes the bytes of every saved file and
calls fsync. The least seconds and the least seconds of the processor are printed for every stage with their ratios, and
how busy the machine was: hashing takes a core for itself, which a busy one does not have.

    python -m benchmarks.checkpoint [--stages 0 1 3] [--repeats 5] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ARCHITECTURE: dict[str, Any] = {
    "model_type": "opt",
    "vocab_size": 16384,
    "hidden_size": 640,
    "word_embed_proj_dim": 640,
    "ffn_dim": 2560,
    "num_hidden_layers": 10,
    "num_attention_heads": 10,
    "max_position_embeddings": 2048,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}


def main() -> None:
    """One line for each stage of ZeRO."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", type=int, nargs="+", default=[0, 1, 3])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; a temporary folder by default")
    parser.add_argument("--stage", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.stage is not None:
        return _measure(chosen.stage, chosen.repeats, chosen.folder)
    for stage in chosen.stages:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            command = [sys.executable, "-m", "benchmarks.checkpoint", "--stage", str(stage), "--folder", folder]
            subprocess.run([*command, "--repeats", str(chosen.repeats)], check=True, env=_one_rank())
    return None


def _one_rank() -> dict[str, str]:
    from tunefleet.launch.local import free_port

    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    return {**os.environ, **place, "MASTER_PORT": str(free_port()), "DS_ACCELERATOR": "cpu", "DS_LOG_LEVEL": "warning"}


def _measure(stage: int, repeats: int, folder: Path) -> None:
    from tests.plans import tiny_plan

    from tunefleet.checkpoint.retention import Retention
    from tunefleet.checkpoint.store import CheckpointStore
    from tunefleet.contracts import RunState
    from tunefleet.engine.group import join
    from tunefleet.runs.trajectory import batches, engine

    group = join()
    model = {"name": "opt", "init": "random", "architecture": ARCHITECTURE}
    plan = tiny_plan(folder, model, stage=stage, micro_batch=1, sequence_length=256)
    trainer = engine(plan, group)
    trainer.train_step(batches(plan, 0).take(plan.batch.accumulation))
    store = CheckpointStore(folder / "checkpoints", plan.identity, group, Retention(1))
    saves, writes = [], []
    for step in range(1, repeats + 1):
        saves.append(_seconds(partial(store.save, trainer, RunState(step=step))))
        saved = (folder / "checkpoints" / f"step-{step:08d}").rglob("*")
        contents = [path.read_bytes() for path in saved if path.is_file()]
        writes.append(_seconds(partial(_write_and_sync, contents, folder / "plain")))
    size = sum(len(content) for content in contents) / 1e6
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, save, write in zip(("seconds", "CPU seconds"), _least(saves), _least(writes), strict=True):
        print(
            f"stage {stage}, {size:.0f} MB, {name}: save {save:.2f}, write and sync {write:.2f}: {save / write:.2f} x"
        )
    trains = partial(trainer.train_step, batches(plan, 0).take(plan.batch.accumulation))
    copies, steps = [], []
    for step in range(repeats + 1, 2 * repeats + 2):
        copies.append(_seconds(partial(store.save_beside, trainer, RunState(step=step)))[0])
        store.advance(wait=True)
        steps.append(_seconds(trains)[0])
    first, *others = copies
    step_seconds = statistics.median(steps)
    print(
        f"stage {stage}, {size:.0f} MB, asynchronous, seconds: save {statistics.median(others):.2f}, the first "
        f"{first:.2f}; a step of {plan.batch.total} x {plan.config.train.sequence_length} tokens {step_seconds:.2f}"
    )
    trainer.close()
    group.destroy()


def _seconds(act: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the clock, and of the processor in this process."""
    started, used = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - started, time.process_time() - used


def _least(pairs: list[tuple[float, float]]) -> list[float]:
    return [min(column) for column in zip(*pairs, strict=True)]


def _write_and_sync(contents: list[bytes], target: Path) -> None:
    """Writes each of `contents`, which are in memory, to a file of one name, and syncs it."""
    for content in contents:
        with open(target, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())


if __name__ == "__main__":
    main()
