"""TRL: what several of its options become together, and what it does unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefleet.imports import model_names, row_sets, strategy_names
from tunefleet.imports.batch_settings import put_trainer_batch
from tunefleet.imports.draft import Draft
from tunefleet.imports.option import Kind, as_int, as_list, is_in_force
from tunefleet.imports.tool import Source, Tool
from tunefleet.imports.trainer_options import (
    DOUBLE_QUANTISATION,
    gather_trainer,
    put_adapter_defaults,
    trainer_defaults,
)
from tunefleet.imports.trl_options import OPTIONS

_PEFT_TARGETS = {
    "qwen": ["q_proj", "v_proj"],
    "llama": ["q_proj", "v_proj"],
    "mistral": ["q_proj", "v_proj"],
    "smollm": ["q_proj", "v_proj"],
    "gemma": ["q_proj", "v_proj"],
    "opt": ["q_proj", "v_proj"],
    "gpt2": ["c_attn"],
    "pythia": ["query_key_value"],
    "falcon": ["query_key_value"],
    "phi-3": ["qkv_proj"],
}
"""The layers that peft takes for a family where none are named, by a part of the model's name."""
_STRATEGIES = {
    "zero1": "zero1",
    "zero2": "zero2",
    "zero3": "zero3",
    "fsdp1": "zero3",
    "fsdp2": "zero3",
    "multi_gpu": "ddp",
    "single_gpu": "single",
    "alst_ulysses_4gpu": "sequence",
    "alst_ulysses": "sequence",
}
_PROCESSES = {
    "zero1": 8,
    "zero2": 8,
    "zero3": 8,
    "fsdp1": 8,
    "fsdp2": 8,
    "multi_gpu": 8,
    "single_gpu": 1,
    "alst_ulysses_4gpu": 4,
}


def gather(values: Mapping[str, Any], draft: Draft, source: Source) -> None:
    """The model, its data, batch, strategy, and what TRL does unsaid."""
    gather_trainer(values, draft, source)
    _model(values, draft)
    _rows(values, draft)
    _adapter(values, draft)
    stated = _strategy(values, draft)
    put_trainer_batch(values, draft, source, 8, stated)
    for name in ("max_seq_length", "max_length"):
        if is_in_force(values.get(name)):
            draft.put("train.sequence_length", as_int(values[name]), name)
    strategy_names.quantised_beside_stage_3(draft)
    _defaults(values, draft)


def _model(values: Mapping[str, Any], draft: Draft) -> None:
    if not model_names.take_model(values, draft, "model_name_or_path"):
        return
    for name, value in (values.get("model_init_kwargs") or {}).items():
        draft.take(f"model_init_kwargs.{name}", value, OPTIONS.get(name))
    if is_in_force(values.get("eos_token")):
        draft.put("model.special_tokens", {"eos_token": str(values["eos_token"])}, "eos_token")


def _rows(values: Mapping[str, Any], draft: Draft) -> None:
    """One set by its name, or a mixture; all its text is in the loss, but of pairs the completions."""
    entries = values.get("datasets") or []
    if isinstance(entries, list) and entries:
        row_sets.put_sets(draft, [_entry(entry, draft) for entry in entries], "datasets")
    elif values.get("dataset_name"):
        row_sets.put_sets(draft, [_named(str(values["dataset_name"]))], "dataset_name")
    else:
        draft.refuse("dataset_name", "is not set: which rows?")
    if is_in_force(values.get("dataset_text_field")) and values["dataset_text_field"] != "text":
        draft.put("data.format", "text", "dataset_text_field")
        draft.put("data.columns", {"text": str(values["dataset_text_field"])}, "dataset_text_field")
    is_measured = str(values.get("eval_strategy", "no")).lower() not in ("no", "false")
    if is_measured and "data.mix" not in draft:
        draft.put(
            "data.validation_split",
            str(values.get("dataset_test_split") or "test"),
            "dataset_test_split, eval_strategy",
        )
    if "data.validation_share" not in draft:
        draft.default("data.validation_rows", 0, "no rows are held out unless a split is named")


def _entry(entry: Any, draft: Draft) -> dict[str, Any]:
    table = {"path": "path", "name": "subset", "split": "split"}
    extra = (
        set(entry) - set(table) - {"data_files", "columns", "data_dir"} if isinstance(entry, Mapping) else {"datasets"}
    )
    for name in extra:
        draft.refuse(f"datasets.{name}", f"not in our table of {draft.title}'s options")
    rows = entry if isinstance(entry, Mapping) else {}
    return {
        **_named(str(rows.get("path"))),
        **{table[key]: value for key, value in rows.items() if key in table and key != "path"},
    }


def _named(name: str) -> dict[str, Any]:
    path = row_sets.hub_or_file(name, Path(name).exists())
    kind = row_sets.PUBLIC_FORMATS.get(name)
    return {"path": path, **({"format": kind} if kind else {})}


def _adapter(values: Mapping[str, Any], draft: Draft) -> None:
    draft.default("adapter", "none")
    if is_in_force(values.get("load_in_8bit")):
        draft.put("adapter", "lora_8bit", "use_peft, load_in_8bit")
    if is_in_force(values.get("load_in_4bit")):
        draft.put("adapter", "qlora", "use_peft, load_in_4bit")
        if not is_in_force(values.get("use_bnb_nested_quant")):
            draft.remark("load_in_4bit", Kind.APPROXIMATE, DOUBLE_QUANTISATION)
    if draft.value("adapter") == "none":
        return
    targets = as_list(values.get("lora_target_modules") or [])
    if targets:
        draft.put("adapter.targets", targets, "lora_target_modules")
    else:
        _peft_targets(str(values.get("model_name_or_path")), draft)
    put_adapter_defaults(draft, 16, 32.0, 0.05)


def _peft_targets(model: str, draft: Draft) -> None:
    targets = next((layers for part, layers in _PEFT_TARGETS.items() if part in model.lower()), None)
    if targets:
        draft.put("adapter.targets", targets, "peft's layers for the family")
    else:
        draft.refuse("lora_target_modules", "is not set, and we do not know which layers peft takes for this family")


def _strategy(values: Mapping[str, Any], draft: Draft) -> int | None:
    """Processes by `--num_processes` or accelerate's file, whose name is the strategy."""
    name = next((key for key in ("accelerate_config", "config_file") if is_in_force(values.get(key))), "")
    stem = Path(str(values.get(name, ""))).stem.removeprefix("accelerate_")
    if name and stem not in _STRATEGIES:
        draft.refuse(
            f"{name}={values[name]}", f"is none of accelerate's files that TRL ships: {', '.join(_STRATEGIES)}"
        )
    elif name:
        draft.put("parallel", _STRATEGIES[stem], name)
    draft.default("parallel", "ddp")
    if is_in_force(values.get("num_processes")):
        return as_int(values["num_processes"])
    return _PROCESSES.get(stem)


def _defaults(values: Mapping[str, Any], draft: Draft) -> None:
    draft.default("optimizer.lr", 2e-5)
    draft.default("train.sequence_length", 1024)
    draft.default("train.precision", "bf16")
    draft.default("train.gradient_checkpointing", True)
    draft.default("data.packing", False)
    draft.default("data.long_rows", "truncate")
    draft.default("data.template", "auto")
    is_pairs = draft.value("data.format") == "prompt_completion"
    draft.default(
        "data.train_on", "response" if is_pairs else "all", "TRL's default: all text, of pairs the completion"
    )
    draft.default("tracking.log_every", "10 steps")
    if str(values.get("eval_strategy", "no")).lower() in ("no", "false"):
        draft.default("evaluation.every", None)
    trainer_defaults(draft)


MARKERS = frozenset({"dataset_name", "max_length", "use_peft", "dataset_train_split", "assistant_only_loss"})
TRL = Tool("trl", "TRL", OPTIONS, MARKERS, gather, {})
