"""DeepSpeed-Chat's options: the shell line that starts main.py of its first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunefleet.imports import model_names, row_sets
from tunefleet.imports.batch_settings import put_trainer_batch
from tunefleet.imports.draft import Draft
from tunefleet.imports.option import (
    Kind,
    Options,
    as_bool,
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

_ENGLISH_PAIRS = (
    "Dahoas/rm-static",
    "Dahoas/full-hh-rlhf",
    "Dahoas/synthetic-instruct-gptj-pairwise",
    "yitingxie/rlhf-reward-datasets",
)
_WHOLE_LAYERS = ("decoder.layers.", "layers.", "transformer.h.", "gpt_neox.layers.", "model.layers.")
_SCHEDULES = {name: {"schedule": name} for name in ("linear", "cosine", "constant", "polynomial")}
_LATER_STEPS = "a later step of DeepSpeed-Chat: reward models and reinforcement learning"

OPTIONS: Options = {
    "data_path": joint("`data.path` or `data.mix`", "with format: chosen"),
    "data_split": joint("`data.mix.*.epochs`", "its first share"),
    "sft_only_data_path": missing("adds rows to this step alone: give them as a source of data.mix"),
    "data_output_path": equal("data.cache", as_text),
    "model_name_or_path": joint("`model`"),
    "per_device_train_batch_size": joint("`train.micro_batch`"),
    "per_device_eval_batch_size": equal("evaluation.batch", as_int),
    "max_seq_len": equal("train.sequence_length", as_int),
    "learning_rate": equal("optimizer.lr", as_float),
    "weight_decay": equal("optimizer.weight_decay", as_float),
    "num_train_epochs": equal("train.epochs", as_float),
    "gradient_accumulation_steps": joint("`train.global_batch`"),
    "lr_scheduler_type": choices(
        "`schedule`",
        {**_SCHEDULES, "constant_with_warmup": {"schedule": "constant"}},
        "is a shape of the learning rate that tunefleet does not have",
    ),
    "num_warmup_steps": equal("schedule.warmup", lambda value: f"{as_int(value)} steps"),
    "output_dir": equal("output_dir", as_text),
    "seed": equal("seed", as_int),
    "local_rank": implied("the launcher says it"),
    "gradient_checkpointing": equal("train.gradient_checkpointing", as_bool),
    "dropout": equal("model.dropout", as_float),
    "offload": joint("`parallel=zero2_offload` or `zero3_offload`"),
    "dtype": choices(
        "`train.precision`",
        {"fp16": {"train.precision": "fp16"}, "bf16": {"train.precision": "bf16"}},
        "is a precision that tunefleet does not have",
    ),
    "zero_stage": joint("`parallel`"),
    "lora_dim": joint("`adapter.rank`"),
    "lora_module_name": joint("`adapter.targets`"),
    "only_optimize_lora": joint("`adapter`"),
    "lora_learning_rate": joint("`optimizer.lr`", "where nothing but LoRA is trained"),
    "compute_fp32_loss": implied("the loss is computed in fp32"),
    "enable_tensorboard": inert("is a tracker that tunefleet does not write to: metrics.jsonl has all"),
    "tensorboard_path": inert("is a tracker that tunefleet does not write to: metrics.jsonl has all"),
    "add_eot_token": missing("adds a token to the vocabulary"),
    "print_loss": implied("is recorded always"),
    "deepspeed": implied("is what trains"),
    "deepspeed_config": missing("is a file of DeepSpeed's own: choose parallel=... by hand"),
    "num_gpus": joint("`launch.processes`"),
    "num_nodes": equal("launch.nodes", as_int),
    "master_port": equal("launch.port", as_int),
    "include": implied("CUDA_VISIBLE_DEVICES says which GPUs"),
    **dict.fromkeys(
        (
            *("num_padding_at_beginning", "actor_model_name_or_path", "critic_model_name_or_path", "enable_ema"),
            *("actor_learning_rate", "critic_learning_rate", "actor_zero_stage", "critic_zero_stage", "ppo_epochs"),
            *("unsupervised_dataset_name", "enable_hybrid_engine", "reward_model_name_or_path", "actor_lora_dim"),
        ),
        other_training(_LATER_STEPS),
    ),
}


def gather(values: Mapping[str, Any], draft: Draft, source: Source) -> None:
    """The model, its data, batch, strategy, and what main.py does unsaid."""
    path = values.get("model_name_or_path")
    if path:
        model_names.put_model(draft, str(path), "model_name_or_path")
    elif not draft.refusals:
        draft.refuse("model_name_or_path", "is not set: which model?")
    _rows(values, draft)
    _lora(values, draft)
    _strategy(values, draft)
    stated = as_int(values["num_gpus"]) if is_in_force(values.get("num_gpus")) else None
    put_trainer_batch(values, draft, source, 16, stated)
    _defaults(draft)


def _rows(values: Mapping[str, Any], draft: Draft) -> None:
    """Each set gives this step its first share; prompts and answers are joined as they stand, and all of it trains."""
    names = as_list(values.get("data_path") or ["Dahoas/rm-static"])
    shares = [as_float(share) for share in as_list(values.get("data_split") or "2,4,4")]
    first = round(shares[0] / sum(shares), 6) if sum(shares) else 1.0
    for name in names:
        if name not in _ENGLISH_PAIRS:
            draft.refuse(
                f"data_path={name}", "has a reader of its own in DeepSpeed-Chat, and its rows are not read here"
            )
    rows = [{"path": f"hub:{name}", "format": "chosen", **({"epochs": first} if first < 1 else {})} for name in names]
    row_sets.put_sets(draft, rows, "data_path, data_split" if "data_split" in values else "data_path")
    draft.put("data.template", "joined", "rows hold Human: and Assistant: themselves")
    if set(names) & set(_ENGLISH_PAIRS[2:]):
        draft.remark(
            "data_path",
            Kind.APPROXIMATE,
            "puts Human: and Assistant: around rows of some sets, which are joined as they stand here",
        )
    draft.remark(
        "data_path",
        Kind.APPROXIMATE,
        "ends an answer with the text <|endoftext|>, and here it is the tokenizer's end of sequence",
    )
    if first < 1:
        draft.remark(
            "data_split", Kind.APPROXIMATE, "takes its share of rows by a draw of its own, so other rows are drawn here"
        )


def _lora(values: Mapping[str, Any], draft: Draft) -> None:
    """The scale is 1 / rank; without only_optimize_lora, what has no matrices is trained too."""
    if not is_in_force(values.get("lora_dim")):
        draft.default("adapter", "none")
        return
    draft.put("adapter", "lora", "lora_dim")
    draft.put("adapter.rank", as_int(values["lora_dim"]), "lora_dim")
    draft.put("adapter.alpha", 1.0, "its scale is 1 / rank")
    draft.put("adapter.dropout", 0.0, "its default")
    draft.put("adapter.merge", True, "saves the whole model")
    module = str(values.get("lora_module_name", "decoder.layers."))
    if module in _WHOLE_LAYERS:
        draft.put("adapter.targets", ["all-linear"], "lora_module_name")
    else:
        draft.refuse(
            f"lora_module_name={module}", "is a part of layer names that we do not know: adapter.targets names them"
        )
    rate = values.get("lora_learning_rate")
    draft.put("optimizer.lr", as_float(rate or 5e-4), "lora_learning_rate" if rate else f"{draft.title}'s default")
    if not is_in_force(values.get("only_optimize_lora")):
        draft.refuse("only_optimize_lora", "is not set, so embeddings, norms and biases are trained beside the adapter")


def _strategy(values: Mapping[str, Any], draft: Draft) -> None:
    stage = as_int(values.get("zero_stage") or 0)
    names = {0: "ddp", 1: "zero1", 2: "zero2", 3: "zero3"}
    if stage not in names:
        draft.refuse(f"zero_stage={stage}", "is no ZeRO stage")
        return
    offload = is_in_force(values.get("offload")) and stage >= 2
    draft.put("parallel", names[stage] + "_offload" * offload, "zero_stage, offload" if offload else "zero_stage")


def _defaults(draft: Draft) -> None:
    for key, value in {
        "optimizer": "adamw",
        "optimizer.lr": 1e-5,
        "optimizer.betas": [0.9, 0.95],
        "optimizer.eps": 1e-8,
        "optimizer.weight_decay": 0.0,
        "optimizer.decay_embeddings": True,
        "schedule": "cosine",
        "schedule.warmup": "0 steps",
        "seed": 1234,
        "train.clip": 1.0,
        "train.epochs": 1.0,
        "train.sequence_length": 512,
        "train.precision": "fp16",
        "data.packing": False,
        "data.train_on": "all",
        "data.long_rows": "truncate",
        "data.group_by_length": "never",
        "checkpoint.every": None,
        "evaluation.every": "1 epochs",
        "tracking": "files",
    }.items():
        draft.default(key, value)


MARKERS = frozenset({"data_split", "lora_dim", "zero_stage", "num_warmup_steps", "only_optimize_lora"})
DEEPSPEED_CHAT = Tool("deepspeed_chat", "DeepSpeed-Chat", OPTIONS, MARKERS, gather, {})
