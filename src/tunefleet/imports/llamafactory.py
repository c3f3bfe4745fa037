"""LLaMA-Factory: what several of its options become together, and what it does unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunefleet.imports import dataset_info, model_names, row_sets, strategy_names
from tunefleet.imports.batch_settings import put_trainer_batch
from tunefleet.imports.draft import Draft
from tunefleet.imports.llamafactory_options import OPTIONS
from tunefleet.imports.option import as_bool, as_float, as_int, as_list, is_in_force
from tunefleet.imports.tool import Source, Tool
from tunefleet.imports.trainer_options import gather_trainer, put_adapter_defaults, trainer_defaults


def gather(values: Mapping[str, Any], draft: Draft, source: Source) -> None:
    """The model, its data, batch, strategy, and what LLaMA-Factory does unsaid."""
    gather_trainer(values, draft, source)
    model_names.take_model(values, draft, "model_name_or_path")
    _rows(values, draft, source)
    _adapter(values, draft)
    _degrees(values, draft)
    put_trainer_batch(values, draft, source, 8)
    checkpointing = not as_bool(values.get("disable_gradient_checkpointing") or False)
    draft.put(
        "train.gradient_checkpointing",
        checkpointing,
        "disable_gradient_checkpointing" if not checkpointing else f"{draft.title}'s default",
    )
    strategy_names.pure_bf16(draft, "pure_bf16 needs zero1 or more")
    strategy_names.quantised_beside_stage_3(draft)
    _defaults(draft)


def _rows(values: Mapping[str, Any], draft: Draft, source: Source) -> None:
    """The sets by their names, each with as many rows as `max_samples` leaves."""
    names = as_list(values.get("dataset") or [])
    most = as_int(values["max_samples"]) if is_in_force(values.get("max_samples")) else None
    sets = dataset_info.sets(names, "dataset", values.get("dataset_dir"), draft, source)
    rows = [{**entry, **({"max_rows": most} if most else {})} for entry in sets]
    if is_in_force(values.get("interleave_probs")) and len(rows) > 1:
        weights = [as_float(weight) for weight in as_list(values["interleave_probs"])]
        rows = [{**entry, "weight": weight} for entry, weight in zip(rows, weights, strict=False)]
    if rows or not names:
        row_sets.put_sets(draft, rows, "dataset")
    _validation(values, draft, source)


def _validation(values: Mapping[str, Any], draft: Draft, source: Source) -> None:
    share = values.get("val_size")
    if is_in_force(share):
        if as_float(share) < 1:
            draft.put("data.validation_share", as_float(share), "val_size")
        else:
            draft.put("data.validation_rows", as_int(share), "val_size")
    held_out = as_list(values.get("eval_dataset") or [])
    if len(held_out) > 1:
        draft.refuse("eval_dataset", "names several sets, and data.validation_path is one")
    elif sets := dataset_info.sets(held_out, "eval_dataset", values.get("dataset_dir"), draft, source):
        draft.put("data.validation_path", sets[0]["path"], "eval_dataset")
    else:
        draft.default("data.validation_rows", 0)


def _adapter(values: Mapping[str, Any], draft: Draft) -> None:
    """LoRA beside 4-bit weights is qlora; the scale is twice the rank where none is set."""
    if draft.value("adapter") is None:
        draft.default("adapter", "lora")
    bits = values.get("quantization_bit")
    if is_in_force(bits):
        if as_int(bits) in (4, 8) and draft.value("adapter") == "lora":
            draft.put("adapter", "qlora" if as_int(bits) == 4 else "lora_8bit", "finetuning_type, quantization_bit")
        else:
            draft.refuse(f"quantization_bit={bits}", "quantises otherwise than to 4 or 8 bits under LoRA")
    if draft.value("adapter") == "none":
        return
    targets = as_list(values.get("lora_target") or "all")
    draft.put(
        "adapter.targets",
        ["all-linear"] if targets == ["all"] else targets,
        "lora_target" if "lora_target" in values else f"{draft.title}'s default",
    )
    rank = draft.value("adapter.rank") or 8
    put_adapter_defaults(draft, 8, 2.0 * rank, 0.0)


def _degrees(values: Mapping[str, Any], draft: Draft) -> None:
    names = {
        "tensor_model_parallel_size": "tensor",
        "pipeline_model_parallel_size": "pipeline",
        "context_parallel_size": "sequence",
    }
    for name, our_key in names.items():
        if is_in_force(values.get(name)) and as_int(values[name]) > 1:
            draft.put("parallel", our_key, name)
            draft.put(f"parallel.{our_key}", as_int(values[name]), name)


def _defaults(draft: Draft) -> None:
    draft.default("optimizer.lr", 5e-5)
    draft.default("train.sequence_length", 2048)
    draft.default("train.precision", "auto", "no precision is set: the model's own")
    draft.default("data.packing", False)
    draft.default("data.train_on", "response")
    draft.default("data.long_rows", "truncate")
    draft.default("data.template", "auto")
    draft.default("data.max_unfilled", 1.0, "its own demo rows hold {{name}}, and are trained on as they stand")
    trainer_defaults(draft)


MARKERS = frozenset({"stage", "finetuning_type", "cutoff_len", "dataset_dir", "quantization_bit", "lora_rank"})
LLAMAFACTORY = Tool("llamafactory", "LLaMA-Factory", OPTIONS, MARKERS, gather, {})
