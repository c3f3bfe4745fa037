"""Export verification: a new process reads an export with plain transformers; tokens, stops and logits are compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tunefleet.base import files
from tunefleet.base.errors import DataError, ExportError
from tunefleet.base.units import GIB
from tunefleet.contracts import Evaluable
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.libraries import light_imports
from tunefleet.plan.plan import Plan

PROBES = (
    " Hello,  world! It's 12345 + 6.78e-9 = ?\n\n\tdef f(x):\n        return x['a'] # I'LL go",
    "e\u0301\u00e9 \u4f60\u597d\uff0c\u4e16\u754c \u0645\u0631\u062d\u0628\u0627 "
    "\U0001f469\u200d\U0001f4bb\u200b \u212b\ufb01\r\n end ",
)
_TOKENS = 24
_MESSAGES = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "It is that."}]
_OF_FP32 = 1e-2
"""Root mean square of the logits' differences, to that of the logits: fp32 leaves another order of sums and TF32."""
_OF_16_BITS = 0.2  # 8 bits of mantissa, on other hardware, after many layers; another head is further off than that
_READER = Path(__file__).with_name("plain_reader.py")
_BEFORE = "lighten()\nimport atexit, gc; gc.disable(); atexit.register(gc.freeze)\n"
"""Before the reader's source: nothing looks for garbage in all of transformers, as it is imported and at the end."""
_SPARE = 1.25  # memory for the model and what reading it takes


@dataclass(frozen=True)
class Expected:
    """What was trained: `logits` [tokens, vocabulary] of `rows`, in fp32 or 16 bits; or `no_logits` says why not."""

    texts: Sequence[str]
    ids: Sequence[Sequence[int]]
    template: ChatTemplate
    stops: Sequence[int]
    rows: Sequence[Sequence[int]]
    logits: NDArray[np.float32] | None = None
    fp32: bool = True
    no_logits: str = ""


def sample_rows(tokenizer: Any, vocabulary: int) -> list[list[int]]:
    """A few tokens of each probe, to compute logits of; all that fit where a tokenizer has odd ids."""
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"][:_TOKENS] for text in PROBES]
    rows = [[token for token in row if token < vocabulary] for row in rows]
    return [row for row in rows if row]


def logits_of(model: Evaluable, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """The logits of `rows`, [tokens, vocabulary], as they are in training. Collective where ranks share it."""
    network: Any = model.model
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    with torch.no_grad(), model.precision():
        logits = [
            network(input_ids=torch.tensor([row], device=device), use_cache=False).logits[0].float() for row in rows
        ]
    network.train(training)
    return np.asarray(torch.cat(logits).cpu().numpy(), dtype=np.float32)


def why_no_logits(plan: Plan) -> str:
    """Why logits of an export cannot be compared with those of the training; empty where they can."""
    bits = plan.config.adapter.frozen_bits
    return f"it was trained beside {bits}-bit weights" if bits else ""


def verify(folder: Path, expected: Expected) -> dict[str, str]:
    """What was compared, for the console. Raises `ExportError` where the export in `folder` is not what was trained."""
    reason = expected.no_logits or too_large(folder)
    report, logits = _read(folder, expected, with_logits=not reason)
    differences = _differences(report, expected)
    summary = f"not compared: {reason}"
    if not reason:
        assert expected.logits is not None
        distance, allowed = logit_distance(logits, expected.logits), _OF_FP32 if expected.fp32 else _OF_16_BITS
        summary = f"of {len(expected.logits)} tokens, {distance:.1e} apart (relative, {allowed:g} is allowed)"
        differences += [] if distance <= allowed else [f"its logits are {distance:.2g} apart from the trained model's"]
    if differences:
        raise ExportError(
            f"plain transformers reads the export otherwise than it was trained: {'; '.join(differences)}"
        )
    return {
        "tokenizer": f"same ids for {len(expected.texts)} texts",
        "stop tokens": str(report["stops"]),
        "logits": summary,
    }


def summary(compared: dict[str, str]) -> str:
    """What `verify` compared, on one line."""
    return "; ".join(f"{name}: {value}" for name, value in compared.items())


def _differences(report: dict[str, Any], expected: Expected) -> list[str]:
    differences = []
    for text, ids, exported_ids in zip(expected.texts, expected.ids, report["ids"], strict=True):
        if list(ids) != exported_ids:
            differences.append(f"its tokenizer makes other ids of {text[:40]!r}")
            break
    if report["template"] != expected.template.exported:
        differences.append("its chat template is another")
    elif report["rendered"] != _rendered(expected.template):
        differences.append("its chat template writes another text")
    if set(report["stops"]) != set(expected.stops):
        differences.append(f"it stops at {report['stops']}, and answers ended with {list(expected.stops)}")
    return differences + [f"{name} is missing" for name in report["missing"][:1]]


def _rendered(template: ChatTemplate) -> str | None:
    """What the template makes of a conversation; None where that changes with the day, or cannot be made."""
    if template.prints_today:
        return None
    try:
        return template.text(_MESSAGES)
    except DataError:  # a template for conversations of another form
        return None


def logit_distance(logits: NDArray[np.float32] | None, reference: NDArray[np.float32]) -> float:
    """Root mean square of the differences, relative to how far the reference's logits vary."""
    if logits is None or logits.shape != reference.shape:
        return float("inf")
    scale = float(np.sqrt(np.mean((reference - reference.mean()) ** 2))) or 1.0
    relative = float(np.sqrt(np.mean((logits - reference) ** 2))) / scale
    return relative if np.isfinite(relative) else float("inf")


def _read(folder: Path, expected: Expected, with_logits: bool) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
    """The report of a new process on `folder`, and its logits."""
    with tempfile.TemporaryDirectory() as scratch:
        request = {
            "folder": str(folder),
            "texts": list(expected.texts),
            "messages": _MESSAGES if _rendered(expected.template) is not None else [],
            "tokens": [list(row) for row in expected.rows] if with_logits else None,
            "dtype": _dtype(folder, expected.fp32),
            "logits": f"{scratch}/logits.npy",
        }
        process = subprocess.run(
            [sys.executable, "-P", "-c", _reader()],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            env=_environment(),
        )
        if process.returncode:
            last = (process.stderr.strip() or "no message").splitlines()[-1]
            raise ExportError(f"plain transformers cannot read the export: {last}")
        logits = np.load(f"{scratch}/logits.npy") if with_logits else None
    return json.loads(process.stdout.strip().splitlines()[-1]), logits


def _reader() -> str:
    """Source that runs without tunefleet."""
    lighten, read = (Path(path).read_text(encoding="utf-8") for path in (light_imports.__file__, _READER))
    return f"{lighten}\n{_BEFORE}{read}"


def _environment() -> dict[str, str]:
    """No GPU (this process may hold its memory), no network, and nothing of a group of ranks."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return {**inherited, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def _dtype(folder: Path, fp32: bool) -> str:
    """fp32 where the model fits so into memory: every processor computes with it."""
    fits = fp32 or _bytes(folder) * 2 * _SPARE < free_memory()
    return "float32" if fits else "bfloat16"


def too_large(folder: Path) -> str:
    """Why this machine cannot read the export in `folder` for its logits; empty where it can."""
    needed, free = _bytes(folder) * _SPARE, free_memory()
    return f"the model takes {needed / GIB:.1f} GiB to read, and {free / GIB:.1f} are free" if needed > free else ""


def _bytes(folder: Path) -> int:
    """Of the weights, with those of the model beneath where `folder` holds an adapter alone."""
    total = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    adapter = folder / "adapter_config.json"
    if adapter.exists() and (base := json.loads(files.read_text(adapter)).get("base_model_name_or_path")):
        total += sum(file.stat().st_size for file in Path(base).glob("*.safetensors"))
    return total


def free_memory() -> int:
    """Bytes of memory that this process could still get (Linux): of the machine, and of its control group."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return 0
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current"))
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no control group, or no limit ("max")
        return free
