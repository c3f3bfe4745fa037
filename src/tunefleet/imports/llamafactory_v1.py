"""LLaMA-Factory's options, in the newer form of its YAML files with `train_dataset` and `dist_config`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tunefleet.base import files
from tunefleet.imports import model_names, row_sets, strategy_names
from tunefleet.imports.batch_settings import put_batch
from tunefleet.imports.draft import Draft
from tunefleet.imports.option import (
    Kind,
    Options,
    Outcome,
    as_float,
    as_int,
    as_list,
    as_text,
    choices,
    equal,
    implied,
    inert,
    is_in_force,
    joint,
    missing,
    other_training,
)
from tunefleet.imports.tool import Source, Tool
from tunefleet.imports.trainer_options import KERNELS, put_adapter_defaults

_LARGEST = 1 << 20  # bytes of a file of sets
_BATCHING = Outcome(Kind.APPROXIMATE, {"data.packing": True}, "fills batches by tokens; here conversations are packed")
_CONVERTERS = {"alpaca": "alpaca", "sharegpt": "sharegpt", "pair": ""}

OPTIONS: Options = {
    "model": joint("`model=hf model.path`"),
    "model_class": choices(
        "", {"llm": {}}, Outcome(Kind.OTHER_TRAINING, {}, "is another class of models than language models")
    ),
    "template": implied("is the tokenizer's own chat template"),
    "trust_remote_code": inert("runs code of the model's folder, which tunefleet never does"),
    "train_dataset": joint("`data.mix`", "a YAML file of sources"),
    "eval_dataset": joint("`data.validation_path`"),
    "dist_config": joint("`parallel`"),
    "peft_config": joint("`adapter`"),
    "quant_config": joint("`adapter=qlora`"),
    "kernel_config": inert(KERNELS),
    "flash_attn": inert(KERNELS),
    "init_config": implied("weights are read one by one"),
    "batching_strategy": choices(
        "`data.packing`",
        {"normal": {"data.packing": False}, "dynamic_batching": _BATCHING, "dynamic_padding_free": _BATCHING},
        "is a way to make batches that tunefleet does not know",
    ),
    "batching_workers": equal("data.workers", as_int),
    "micro_batch_size": joint("`train.micro_batch`"),
    "global_batch_size": joint("`train.global_batch`"),
    "cutoff_len": equal("train.sequence_length", as_int),
    "learning_rate": equal("optimizer.lr", as_float),
    "num_train_epochs": equal("train.epochs", as_float),
    "max_steps": equal("train.max_steps", as_int),
    "max_grad_norm": equal("train.clip", as_float),
    "bf16": joint("`train.precision`"),
    "enable_activation_checkpointing": equal("train.gradient_checkpointing"),
    "cp_size": joint("`parallel.sequence`"),
    "cp_mode": implied("is Ulysses"),
    "optim_config": joint("`optimizer`"),
    "lr_scheduler_config": missing("names a schedule of its own: choose schedule=... by hand"),
    "sample_backend": inert("answers after the training: `tunefleet evaluate RUN` is ours"),
    "max_new_tokens": equal("evaluation.max_new_tokens", as_int),
    "logging_steps": equal("tracking.log_every", lambda value: f"{as_int(value)} steps"),
    "save_steps": equal("checkpoint.every", lambda value: f"{as_int(value)} steps"),
    "save_epochs": equal("checkpoint.every", lambda value: f"{as_float(value):g} epochs"),
    "output_dir": equal("output_dir", as_text),
    "seed": equal("seed", as_int),
    "dpo_beta": other_training("training on preferences"),
    "ref_model": other_training("training on preferences"),
}
NESTED: Mapping[str, Options] = {
    "train_dataset": {
        "path": joint("`path`"),
        "source": joint("", "hf_hub is the hub, local a file"),
        "converter": joint("`format`"),
        "size": equal("max_rows", as_int),
        "split": equal("split", as_text),
        "weight": equal("weight", as_float),
        "streaming": implied("rows are prepared first"),
    },
    "peft_config": {
        "name": choices("`adapter`", {"lora": {"adapter": "lora"}}, "is another way to train than LoRA"),
        "r": equal("adapter.rank", as_int),
        "lora_alpha": equal("adapter.alpha", as_float),
        "lora_dropout": equal("adapter.dropout", as_float),
        "target_modules": joint("`adapter.targets`"),
        "use_rslora": equal("adapter.rslora"),
        "use_dora": equal("adapter.dora"),
        "freeze_trainable_layers": missing("trains some layers by their number: name them in model.freeze by hand"),
        "freeze_trainable_modules": missing("trains some layers by their number: name them in model.freeze by hand"),
    },
    "optim_config": {
        "name": choices(
            "`optimizer`", {"muon": {"optimizer": "muon"}, "adamw": {"optimizer": "adamw"}}, "is another update rule"
        ),
        "lr": equal("optimizer.lr", as_float),
        "wd": equal("optimizer.weight_decay", as_float),
        "weight_decay": equal("optimizer.weight_decay", as_float),
        "momentum": equal("optimizer.momentum", as_float),
        "nesterov": implied("muon's momentum is Nesterov's"),
        "ns_steps": implied("muon takes five steps of Newton and Schulz"),
        "betas": equal("optimizer.betas"),
        "eps": equal("optimizer.eps", as_float),
        "adam_lr": missing("gives weights outside of muon's matrices a rate of their own"),
    },
}


def gather(values: Mapping[str, Any], draft: Draft, source: Source) -> None:
    """The model, its data, batch, strategy, and what LLaMA-Factory does unsaid."""
    model_names.take_model(values, draft, "model")
    for name in ("peft_config", "optim_config"):
        _group(name, values, draft)
    _rows(values, draft, source)
    _quantised(values, draft)
    _strategy(values, draft, source)
    if draft.value("adapter") not in (None, "none"):
        targets = as_list((values.get("peft_config") or {}).get("target_modules") or "all")
        draft.put("adapter.targets", ["all-linear"] if targets == ["all"] else targets, "peft_config.target_modules")
    _batch(values, draft, source)
    strategy_names.quantised_beside_stage_3(draft)
    _defaults(values, draft)


def _group(name: str, values: Mapping[str, Any], draft: Draft) -> None:
    """The options inside of a group."""
    inner = values.get(name) or {}
    if not isinstance(inner, Mapping):
        draft.refuse(name, "is no group of options")
        return
    for key, value in inner.items():
        draft.take(f"{name}.{key}", value, NESTED[name].get(key))


def _rows(values: Mapping[str, Any], draft: Draft, source: Source) -> None:
    """The sources of the YAML file that `train_dataset` names, or a set of the hub."""
    name = values.get("train_dataset")
    if not name:
        draft.refuse("train_dataset", "is not set: which rows?")
        return
    entries = _sources(str(name), source)
    if entries is None:
        draft.refuse(
            f"train_dataset={name}", "is no YAML file of sources on this machine: name its folder with --dataset-dir"
        )
        return
    rows = [read for label, entry in entries.items() if (read := _source(label, entry, draft))]
    row_sets.put_sets(draft, rows, "train_dataset")
    draft.default("data.validation_rows", 0)


def _sources(name: str, source: Source) -> Mapping[str, Any] | None:
    folder = [source.dataset_folder / Path(name).name] if source.dataset_folder else []
    candidates = [*folder, Path(name), *(above / name for above in source.path.resolve().parents)]
    path = next(
        (candidate for candidate in candidates if candidate.is_file() and candidate.stat().st_size <= _LARGEST), None
    )
    try:
        values = yaml.safe_load(files.read_bytes(path).decode()) if path else None
    except (yaml.YAMLError, RecursionError, ValueError, OSError):
        values = None
    return values if isinstance(values, Mapping) else None


def _source(label: str, entry: Any, draft: Draft) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        draft.refuse(f"train_dataset.{label}", "is no group of options")
        return {}
    entry_draft = Draft(draft.title)
    for key, value in entry.items():
        entry_draft.take(f"train_dataset.{label}.{key}", value, NESTED["train_dataset"].get(key))
    converter = str(entry.get("converter") or "auto")
    if converter not in ("auto", *_CONVERTERS) or converter == "pair":
        entry_draft.refuse(
            f"train_dataset.{label}.converter={converter}", "is a reader of rows that tunefleet does not have"
        )
    if converter == "alpaca":
        entry_draft.remark(
            "train_dataset",
            Kind.APPROXIMATE,
            "joins an instruction and its input by one line break, and here by an empty line",
        )
    draft.remarks += [remark for remark in entry_draft.remarks if remark not in draft.remarks]
    path = str(entry.get("path"))
    is_hub = str(entry.get("source", "hf_hub")) in ("hf_hub", "hub") and not Path(path).exists()
    kind = {"format": converter} if converter != "auto" else {}
    settings = {key: setting.value for key, setting in entry_draft.settings.items()}
    return {"path": f"hub:{path}" if is_hub else path, **kind, **settings}


def _quantised(values: Mapping[str, Any], draft: Draft) -> None:
    config = values.get("quant_config") or {}
    if not is_in_force(config):
        return
    bits, method = as_int(config.get("quantization_bit") or 0), str(config.get("name", "bnb"))
    if bits == 4 and method in ("bnb", "bitsandbytes") and draft.value("adapter") == "lora":
        draft.put("adapter", "qlora", "peft_config, quant_config")
    else:
        draft.refuse("quant_config", "quantises otherwise than to 4 bits (bitsandbytes) under LoRA")


def _strategy(values: Mapping[str, Any], draft: Draft, source: Source) -> None:
    config = values.get("dist_config") or {}
    name = str(config.get("name", "")) if isinstance(config, Mapping) else str(config)
    if name == "deepspeed":
        strategy_names.of_deepspeed(draft, "dist_config", config.get("config_file"), source.path.parent)
    elif name in ("fsdp2", "fsdp"):
        strategy_names.of_fsdp(draft, "dist_config", "full_shard", is_in_force(config.get("offload_params")))
    elif name not in ("", "ddp"):
        draft.refuse(f"dist_config={name}", "is an engine that divides experts over processes")
    size = as_int(values.get("cp_size") or 1)
    if size > 1:
        draft.put("parallel", "sequence", "cp_size")
        draft.put("parallel.sequence", size, "cp_size")
    draft.default("parallel", "ddp")


def _batch(values: Mapping[str, Any], draft: Draft, source: Source) -> None:
    micro = as_int(values.get("micro_batch_size") or 1)
    put_batch(draft, micro, 1, source, ("micro_batch_size", "accumulation"))
    if is_in_force(values.get("global_batch_size")):
        draft.put("train.global_batch", as_int(values["global_batch_size"]), "global_batch_size")


def _defaults(values: Mapping[str, Any], draft: Draft) -> None:
    if "bf16" in values:
        draft.put("train.precision", "bf16" if is_in_force(values["bf16"]) else "fp32", "bf16")
    put_adapter_defaults(draft, 8, 16.0, 0.0) if draft.value("adapter") else None
    for key, value in {
        "adapter": "none",
        "optimizer": "adamw",
        "optimizer.lr": 1e-4,
        "optimizer.betas": [0.9, 0.999],
        "optimizer.eps": 1e-8,
        "optimizer.weight_decay": 0.0,
        "optimizer.decay_embeddings": True,
        "schedule": "linear",
        "schedule.warmup": "0 steps",
        "seed": 42,
        "train.clip": 1.0,
        "train.epochs": 3.0,
        "train.sequence_length": 2048,
        "train.precision": "bf16",
        "train.gradient_checkpointing": True,
        "data.packing": False,
        "data.train_on": "response",
        "data.template": "auto",
        "data.long_rows": "truncate",
        "data.group_by_length": "never",
        "data.max_unfilled": 1.0,
        "checkpoint.every": None,
        "tracking": "files",
    }.items():
        draft.default(key, value)


MARKERS = frozenset({"train_dataset", "dist_config", "peft_config", "kernel_config", "batching_strategy"})
LLAMAFACTORY_V1 = Tool("llamafactory_v1", "LLaMA-Factory v1", OPTIONS, MARKERS, gather, NESTED)
