"""Model card: the README.md of an export, with what was trained on what, how, and how good it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from tunefleet.base import files, secrets
from tunefleet.base.text import in_one_line
from tunefleet.config.adapter import AdapterName
from tunefleet.launch import provenance
from tunefleet.plan.plan import Plan
from tunefleet.runs import licenses
from tunefleet.runs.run_summary import results
from tunefleet.tracking import metrics

NAME = "README.md"
_SEAL = re.compile(r"\n<!-- tunefleet ([0-9a-f]{64}) -->\n\Z")
_PACKAGES = ("tunefleet", "torch", "transformers", "deepspeed", "peft", "tokenizers")
_NOT_STATED = "unknown: not stated; say it before you publish this model"


def write(plan: Plan, folder: Path, step: int, dtype: str) -> bool:
    """Writes the card into `folder`, whose weights are of `step`; whether it did: a card that was edited stays."""
    path = folder / NAME
    if path.exists() and not _is_untouched(path):
        return False
    content = secrets.redacted(f"{_front_matter(plan)}\n{_body(plan, step, dtype)}")
    files.write_text(path, f"{content}\n<!-- tunefleet {_digest(content)} -->\n")
    return True


def _is_untouched(path: Path) -> bool:
    try:
        content = files.read_bytes(path).decode("utf-8")
    except (OSError, ValueError):
        return False
    seal = _SEAL.search(content)
    return bool(seal) and _digest(content[: seal.start()]) == seal[1] if seal else False


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _front_matter(plan: Plan) -> str:
    """What a hub reads; https://huggingface.co/docs/hub/model-cards has the fields."""
    base, adapter_alone = _base(plan), _adapter_alone(plan)
    fields: dict[str, Any] = {
        "license": licenses.of_base(plan) or "unknown",
        "library_name": "peft" if adapter_alone else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["tunefleet", *(["lora"] if plan.config.adapter.name is not AdapterName.NONE else [])],
    }
    if hub_names := licenses.hub_data(plan):
        fields["datasets"] = hub_names
    if base:
        fields |= {"base_model": base, "base_model_relation": "adapter" if adapter_alone else "finetune"}
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n"


def _body(plan: Plan, step: int, dtype: str) -> str:
    sections = {
        "How good it is": _evaluation(plan, step),
        "What it was trained on": _table(_data(plan)),
        "How it was trained": _table(_training(plan, step, dtype)),
        "Licences": _table(_licenses(plan)),
        "Made with": _table(_versions(plan)),
    }
    parts = [f"# {plan.name}", _summary(plan), *(f"## {title}\n\n{text}" for title, text in sections.items())]
    return "\n\n".join(parts) + "\n"


def _summary(plan: Plan) -> str:
    start = f"Fine-tuned from {_base(plan)}" if _base(plan) else f"{plan.config.model.name}, trained from scratch"
    return f"{in_one_line(start)}, with supervised fine-tuning on {in_one_line(plan.config.data.name)}."


def _evaluation(plan: Plan, step: int) -> str:
    """What was measured at `step`, a row for each validation split."""
    records = [record for record in metrics.evaluations(plan.paths.metrics) if record["step"] == step]
    measured = {key: value for record in records for key, value in record.items()}
    lines = results(measured) if measured else {}
    return _table(lines) if lines else f"Not measured at step {step}; `tunefleet evaluate {plan.name}` does."


def _data(plan: Plan) -> Mapping[str, Any]:
    """Names and sizes, and no path: a card is for others to read."""
    config = plan.config.data
    card: Mapping[str, Any] = {}
    with suppress(OSError, ValueError):
        card = files.read_json(plan.paths.data)
    sizes = {"conversations": "conversations", "tokens": "tokens", "loss_tokens": "tokens in the loss"}
    return {
        "data set": config.name,
        "sources": ", ".join(licenses.of_data(plan)),
        **{label: f"{card[key]:,}" for key, label in sizes.items() if isinstance(card.get(key), int)},
        "chat template": Path(config.template).name,
        "in the loss": config.train_on.value,
    }


def _licenses(plan: Plan) -> Mapping[str, str]:
    stated = {"base model": licenses.of_base(plan)} if _base(plan) else {}
    stated |= {f"data: {name}": license for name, license in licenses.of_data(plan).items()}
    return {name: license or _NOT_STATED for name, license in stated.items()}


def _training(plan: Plan, step: int, dtype: str) -> Mapping[str, Any]:
    config = plan.config
    adapter = config.adapter
    lora = f"rank {adapter.rank}, alpha {adapter.alpha:g}" if adapter.name is not AdapterName.NONE else ""
    return {
        "optimizer steps": f"{step:,}",
        "sequences of a step": plan.batch.total,
        "sequence length": config.train.sequence_length,
        "optimizer": f"{config.optimizer.name}, learning rate {config.optimizer.lr:g}, {config.schedule.name} schedule",
        **({adapter.name.value: lora} if lora else {}),
        "precision": f"{config.train.precision.value}; these weights are {dtype}",
        "strategy": f"{config.parallel.name}, {plan.layout.world_size} process(es)",
        "seed": config.train.seed,
        "identity": plan.identity,
    }


def _versions(plan: Plan) -> Mapping[str, str]:
    recorded = provenance.read(plan.paths.provenance)
    packages = recorded.packages if recorded else {}
    return {name: packages[name] for name in _PACKAGES if name in packages}


def _base(plan: Plan) -> str:
    """The name of the model that the training started from: of the hub, or of a folder; empty for none."""
    if plan.sources.weights is None:
        return ""
    path = plan.config.model.path or plan.sources.weights
    is_hub_name = path.count("/") == 1 and not path.startswith((".", "/", "~")) and not Path(path).exists()
    return path if is_hub_name else Path(path).name


def _adapter_alone(plan: Plan) -> bool:
    return plan.config.adapter.name is not AdapterName.NONE and not plan.config.adapter.merge


def _table(rows: Mapping[str, Any]) -> str:
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _cell(value: Any) -> str:
    return in_one_line(str(value)).replace("|", "\\|")
