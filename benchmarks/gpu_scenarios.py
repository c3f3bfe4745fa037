"""Runs of train.py that benchmarks/gpu.sh interrupts, resumes elsewhere, exports, and starts where they cannot be."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

STEPS, STOP_AFTER = 60, 5
_TINY = [
    *("data=demo", "model=opt-tiny", "train.sequence_length=64", "train.micro_batch=4", "train.global_batch=8"),
    *("evaluation.every=null", "evaluation.generate_rows=0", "tracking=files", "optimizer.lr=1e-3"),
]
_HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}
_LIMIT = 140.0 * float(os.environ.get("PATIENCE", 1))  # seconds of one run


def main() -> None:
    """Plays the scenario that is named, and writes what came of it."""
    spec = json.loads(os.environ["SPEC"])
    folder = Path(spec["out"]) / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    result = SCENARIOS[sys.argv[1]](folder, spec["dry"])
    Path(os.environ["RESULT"]).write_text(json.dumps(result))


def resharded(folder: Path, dry: bool) -> dict[str, Any]:
    """Two processes on the CPU are interrupted, and one on the GPU goes on: row 1, for ZeRO 2 and 3."""
    strategies = ("zero2",) if dry else ("zero2", "zero3")
    with ThreadPoolExecutor() as pool:
        return dict(zip(strategies, pool.map(lambda name: _resharded(folder, name, dry), strategies), strict=True))


def _resharded(folder: Path, strategy: str, dry: bool) -> str:
    settings = [*_run(folder, f"resharded-{strategy}", dry), f"parallel={strategy}", "train.precision=bf16"]
    code, text = _train([*settings, "launch.processes=2"], _HIDDEN, stop=_metrics(folder, f"resharded-{strategy}"))
    assert code == 130, text
    stopped = _losses(folder, f"resharded-{strategy}")
    code, text = _train([*settings, "launch.processes=1"])
    assert code == 0, text
    losses = _losses(folder, f"resharded-{strategy}")
    assert len(losses) == _steps(dry) > len(stopped), (len(losses), len(stopped))
    assert all(map(math.isfinite, losses)), losses
    jump = abs(losses[len(stopped)] - losses[len(stopped) - 1])
    return f"went on after step {len(stopped)}, the loss moved by {jump:.3f}"


def resumed(folder: Path, dry: bool) -> dict[str, Any]:
    """A run that is interrupted and resumed ends as one that is not, within rounding: row 35."""
    settings = ["parallel=zero2", "train.precision=bf16"]

    def whole() -> list[float]:
        code, text = _train([*_run(folder, "whole", dry), *settings])
        assert code == 0, text
        return _losses(folder, "whole")

    def in_two() -> list[float]:
        code, text = _train([*_run(folder, "in-two", dry), *settings], stop=_metrics(folder, "in-two"))
        assert code == 130, text
        code, text = _train([*_run(folder, "in-two", dry), *settings])
        assert code == 0, text
        return _losses(folder, "in-two")

    with ThreadPoolExecutor() as pool:
        expected, measured = (future.result() for future in [pool.submit(whole), pool.submit(in_two)])
    difference = max(abs(a / b - 1) for a, b in zip(expected, measured, strict=True))
    assert difference < 0.02, difference
    return {"largest_relative_difference": difference, "bit_equal": expected == measured}


def exported(folder: Path, dry: bool) -> dict[str, Any]:
    """A run answers, exports, and its export is measured: generation on the GPU, and what a user does next."""
    settings = [*_run(folder, "exported", dry, 8), "evaluation.generate_rows=2", "evaluation.max_new_tokens=8"]
    code, text = _train([*settings, "parallel=zero3"])
    assert code == 0, text
    measured = _tunefleet(["evaluate", str(folder / "exported"), "--limit", "4", "evaluation.max_new_tokens=8"])
    return {"evaluated": next((line[:60] for line in measured.splitlines() if "loss" in line), "")}


def placed(folder: Path, dry: bool) -> dict[str, Any]:
    """LOCAL_RANK=3 and one visible GPU (row 2), two processes for one (row 3), and a GPU that is hidden (row 4)."""
    rank = {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0" if dry else "3",
        "CUDA_VISIBLE_DEVICES": "" if dry else "0",
    }
    cases: dict[str, tuple[Mapping[str, str], tuple[str, ...], int]] = {
        "one-visible": (rank, (), 0),
        "hidden": (_HIDDEN, ("launch.processes=1",), 0),
    }
    if not dry:
        cases["two-on-one"] = ({"CUDA_VISIBLE_DEVICES": "0"}, ("launch.processes=2",), 2)
    with ThreadPoolExecutor() as pool:
        runs = {
            name: pool.submit(_train, [*_run(folder, name, dry, 2), "checkpoint.export=false", *settings], environment)
            for name, (environment, settings, _) in cases.items()
        }
    for name, (*_, expected) in cases.items():
        code, text = runs[name].result()
        assert code == expected, (name, text)
    assert dry or "each process needs one" in runs["two-on-one"].result()[1]
    return dict.fromkeys(cases, "as it should")


def quantised(folder: Path, dry: bool) -> dict[str, Any]:
    """QLoRA with 8-bit states on an exported model: trained, saved, exported and measured (rows 13 to 16)."""
    code, text = _train([*_run(folder, "base", dry, 4)])
    assert code == 0, text
    settings = ["adapter=qlora", "optimizer=adamw_8bit", "checkpoint.export=false"]
    base = next((folder / "base").rglob("model.safetensors")).parent
    code, text = _train([*_run(folder, "qlora", dry, 5), *settings, "model=hf", f"model.path={base}"])
    assert code == 0, text
    _tunefleet(["export", str(folder / "qlora")])
    return {"evaluated": _tunefleet(["evaluate", str(folder / "qlora"), "--limit", "4"]).splitlines()[-1][:60]}


def _run(folder: Path, name: str, dry: bool, steps: int | None = None) -> list[str]:
    return [*_TINY, f"output_dir={folder}", f"name={name}", f"train.max_steps={steps or _steps(dry)}"]


def _steps(dry: bool) -> int:
    return 30 if dry else STEPS


def _metrics(folder: Path, name: str) -> Path:
    return folder / name / "metrics.jsonl"


def _losses(folder: Path, name: str) -> list[float]:
    """Of each step, the last record of it."""
    records = [json.loads(line) for line in _metrics(folder, name).read_text().splitlines()]
    losses = {record["step"]: record["train/loss"] for record in records if "train/loss" in record}
    return [losses[step] for step in sorted(losses)]


def _train(overrides: Sequence[str], environment: Mapping[str, str] = {}, stop: Path | None = None) -> tuple[int, str]:
    """(exit code, the end of the output) of train.py; Ctrl-C comes when the file `stop` has some steps."""
    command = [sys.executable, "-m", "tunefleet", "train", *overrides]
    settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True, **settings)
    began = time.monotonic()
    while stop and process.poll() is None and time.monotonic() - began < _LIMIT:
        if stop.exists() and stop.read_text().count("train/loss") >= STOP_AFTER:
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.02)
    try:
        text, _ = process.communicate(timeout=max(1.0, _LIMIT - (time.monotonic() - began)))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
    print("$", " ".join(command), "->", process.returncode, "\n", text, flush=True)
    return process.returncode, text[-1500:]


def _tunefleet(arguments: Sequence[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tunefleet", *arguments], capture_output=True, text=True, timeout=_LIMIT
    )
    print("$", *arguments, "->", done.returncode, "\n", done.stdout, done.stderr, flush=True)
    assert done.returncode == 0, done.stderr[-1500:]
    return done.stdout.strip()


SCENARIOS: dict[str, Callable[[Path, bool], dict[str, Any]]] = {
    "resharded": resharded,
    "resumed": resumed,
    "exported": exported,
    "placed": placed,
    "quantised": quantised,
}

if __name__ == "__main__":
    main()
