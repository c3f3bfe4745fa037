"""TensorFlow export: an exported folder as a SavedModel, written by another process and compared with torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer

from tunefleet import __version__
from tunefleet.base import delivery, disk, files, progress, text
from tunefleet.base.errors import ExportError, RunError
from tunefleet.model import build
from tunefleet.plan.plan import Plan
from tunefleet.runs import verify_export
from tunefleet.runs.checkpoint_export import exported

TOLERANCE = 1e-4
"""The largest difference of a logit from torch's, in fp32."""
FAMILIES = ("gpt2", "gpt_neox", "llama", "mistral", "opt", "qwen2")
_WRITER = Path(__file__).parents[1] / "libraries" / "keras_hub_private.py"
_BESIDE = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json", "config.json")
_FP32, _FILES = 4, 12  # bytes of a weight of a SavedModel; its files
_NEW_TOKENS = 8  # of the greedy answers that are compared
_LONG = 128  # tokens of a row that no text is: positions and windows count


def export(plan: Plan, folder: Path, choice: str, python: str) -> str:
    """Writes the SavedModel of the chosen checkpoint into `folder`, with the tokenizer's files; what was compared.

    `python` has tensorflow and keras-hub. Raises `RunError` where the family or the program cannot, `ExportError`
    where the SavedModel computes something else than torch.
    """
    source = exported(plan, choice)
    _expect_convertible(source)
    with delivery.staging(folder) as staged, progress.during("writing a SavedModel"):
        compared = write(source, staged, python)
        for name in _BESIDE:
            if (source / name).exists():
                shutil.copyfile(source / name, staged / name)
        facts = {"version": __version__, "run": plan.name, "identity": plan.identity, "compared": compared}
        delivery.deliver(staged, folder, facts)
    return compared


def _expect_convertible(source: Path) -> None:
    if not (source / "config.json").exists():
        raise RunError(f"{source}: is an adapter alone. Merge it first: `tunefleet export RUN --merged --to FOLDER`.")
    family = files.read_json(source / "config.json").get("model_type")
    if family not in FAMILIES:
        raise RunError(
            f"{source}: the family {family} has no way to TensorFlow here. Those that have: {', '.join(FAMILIES)}."
        )


def write(source: Path, saved_model: Path, python: str) -> str:
    """Writes the model of the folder `source` to `saved_model`; what was compared.

    Raises as `export`, and `DiskError` before anything is written where the disk has no room for it.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    model: Any = build.read_export(source, torch.float32)
    stops = model.generation_config.eos_token_id
    disk.expect_room(saved_model, model.num_parameters() * _FP32, files=_FILES)
    vocabulary, context = model.config.vocab_size, getattr(model.config, "max_position_embeddings", _LONG)
    long_row = torch.randint(vocabulary, (min(_LONG, context),), generator=torch.Generator().manual_seed(0)).tolist()
    with tempfile.TemporaryDirectory() as scratch:
        request: dict[str, Any] = {
            "folder": str(source),
            "config": files.read_json(source / "config.json"),
            "saved_model": str(saved_model),
            "rows": [
                row[: context - _NEW_TOKENS] for row in (*verify_export.sample_rows(tokenizer, vocabulary), long_row)
            ],
            "new_tokens": _NEW_TOKENS,
            "stops": stops if isinstance(stops, list) else [stops],
            "texts": list(verify_export.PROBES),
            "logits": f"{scratch}/logits.npy",
        }
        report = _run(request, python)
        logits = np.load(request["logits"])
    return _compared(request, report, logits, model.eval(), tokenizer)


def _run(request: dict[str, Any], python: str) -> dict[str, Any]:
    """What the writer says. Raises `RunError` with its last line where it could not."""
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "PYTHONPATH")}
    try:
        process = subprocess.run(
            [python, "-P", str(_WRITER)], input=json.dumps(request), capture_output=True, text=True, env=environment
        )
    except OSError as error:
        raise RunError(f"--tensorflow-python: {python}: {error.strerror}.") from None
    if process.returncode:
        last_line = (process.stderr.strip() or "no message").splitlines()[-1]
        hint = ""
        if "No module named" in last_line:
            hint = " Install `tunefleet[tensorflow]`, or name a Python that has it with --tensorflow-python."
        raise RunError(f"no SavedModel was written: {text.in_one_line(last_line)[:300]}.{hint}")
    report: dict[str, Any] = json.loads(process.stdout.strip().splitlines()[-1])
    return report


def _compared(
    request: dict[str, Any], report: dict[str, Any], logits: NDArray[np.float32], model: Any, tokenizer: Any
) -> str:
    """What was compared with torch. Raises `ExportError` where it is not the same."""
    with torch.no_grad():
        rows = [model(input_ids=torch.tensor([row]), use_cache=False).logits[0] for row in request["rows"]]
    reference = torch.cat(rows).numpy()
    distance = float(np.abs(logits - reference).max()) if logits.shape == reference.shape else float("inf")
    if not distance <= TOLERANCE:
        raise ExportError(f"the SavedModel's logits are up to {distance:.1e} from torch's; {TOLERANCE:g} is allowed")
    if report["answers"] != [_greedy(model, row, request) for row in request["rows"]]:
        raise ExportError("the SavedModel's greedy answers are not torch's")
    if report["ids"] != [tokenizer(probe, add_special_tokens=False)["input_ids"] for probe in request["texts"]]:
        raise ExportError("the tokenizer's ids are not those of tokenizers alone")
    return f"logits of {len(reference)} tokens up to {distance:.1e} apart; {len(rows)} greedy answers and all ids equal"


def _greedy(model: Any, row: list[int], request: dict[str, Any]) -> list[int]:
    ids = torch.tensor([row])
    answer: list[int] = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=request["new_tokens"],
        eos_token_id=request["stops"],
    )[0, len(row) :].tolist()
    return answer
