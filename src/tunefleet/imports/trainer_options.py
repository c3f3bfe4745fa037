"""Trainer options: those of transformers' TrainingArguments, which LLaMA-Factory and TRL share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunefleet.imports import strategy_names
from tunefleet.imports.draft import Draft
from tunefleet.imports.option import (
    Kind,
    Options,
    Outcome,
    as_bool,
    as_float,
    as_int,
    as_percent,
    as_steps,
    as_text,
    choices,
    equal,
    implied,
    inert,
    is_in_force,
    joint,
    missing,
    switch,
)
from tunefleet.imports.tool import Source

KERNELS = "is a kernel: attention here is SDPA, or eager where a family needs it, with the exact mask of packing"
UPLOAD = "uploads: `tunefleet export` writes a folder that can be uploaded by hand"
_HOUSEKEEPING = "is done anyhow: a run has its own folder, is prepared once, drawn always"
_LOADER = "is how rows reach the model, and not which"
_NEAR_8BIT = "has moments of {} bits by torchao; here they have 8 by bitsandbytes: nearly the same steps"

OPTIMIZERS: Mapping[str, Mapping[str, Any] | Outcome] = {
    **{key: {"optimizer": "adamw"} for key in ("adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_apex_fused")},
    **{key: {"optimizer": "adamw_8bit"} for key in ("adamw_bnb_8bit", "adamw_8bit")},
    "paged_adamw_8bit": Outcome(Kind.INERT, {"optimizer": "adamw_8bit"}, "its states are not paged to the host here"),
    **dict.fromkeys(
        ("paged_adamw_32bit", "paged_adamw"),
        Outcome(Kind.INERT, {"optimizer": "adamw"}, "its states are not paged to the host here"),
    ),
    "adamw_torch_8bit": Outcome(Kind.APPROXIMATE, {"optimizer": "adamw_8bit"}, _NEAR_8BIT.format(8)),
    "adamw_torch_4bit": Outcome(Kind.APPROXIMATE, {"optimizer": "adamw_8bit"}, _NEAR_8BIT.format(4)),
    "adafactor": Outcome(
        Kind.APPROXIMATE, {"optimizer": "adafactor"}, "torch's own, whose rate is relative to each weight's size"
    ),
    "lion_32bit": {"optimizer": "lion"},
    "adagrad": {"optimizer": "adagrad"},
    "sgd": {"optimizer": "sgd"},
    "muon": {"optimizer": "muon"},
}
"""Update rules by the names of transformers."""
OTHER_OPTIMIZER = "is an update rule that tunefleet does not have"
SCHEDULES: Mapping[str, Mapping[str, Any] | Outcome] = {
    "linear": {"schedule": "linear"},
    "cosine": {"schedule": "cosine"},
    "cosine_with_min_lr": {"schedule": "cosine"},
    "constant": {"schedule": "constant"},
    "constant_with_warmup": {"schedule": "constant"},
    "polynomial": {"schedule": "polynomial", "schedule.power": 1.0},
    "inverse_sqrt": {"schedule": "inverse_sqrt"},
    "warmup_stable_decay": Outcome(
        Kind.APPROXIMATE, {"schedule": "wsd"}, "falls along a straight line here, not a cosine"
    ),
}
OTHER_LOSS = "is another loss than the cross-entropy of tokens"
VISION = "training on images, sound or video"
DOUBLE_QUANTISATION = "constants of 4-bit weights are quantised too here"
OTHER_SCHEDULE = "is a shape of the learning rate that tunefleet does not have"
_TRACKERS: Mapping[str, Mapping[str, Any] | Outcome] = {
    "none": {"tracking": "files"},
    "[]": {"tracking": "files"},
    **{key: {"tracking": "wandb"} for key in ("wandb", "['wandb']", "all")},
}
NO_TRACKER = Outcome(
    Kind.INERT, {"tracking": "files"}, "is a tracker that tunefleet does not write to: metrics.jsonl has all"
)


def _every(epoch: str) -> Options:
    """The two options that say how often: `save` or `eval`, by strategy and steps."""
    return {
        f"{epoch}_strategy": joint(f"`{'checkpoint' if epoch == 'save' else 'evaluation'}.every`"),
        f"{epoch}_steps": joint(f"`{'checkpoint' if epoch == 'save' else 'evaluation'}.every`"),
    }


TRAINER_OPTIONS: Options = {
    # batch and length of training
    "per_device_train_batch_size": joint("`train.micro_batch`"),
    "gradient_accumulation_steps": joint("`train.global_batch`", "micro-batch x accumulation x processes"),
    "per_device_eval_batch_size": equal("evaluation.batch", as_int),
    "auto_find_batch_size": inert("halves the batch when memory runs out: train.on_oom=split is ours"),
    "num_train_epochs": equal("train.epochs", as_float),
    "max_steps": equal("train.max_steps", lambda value: as_int(value) if as_int(value) > 0 else None),
    # optimizer and schedule
    "learning_rate": equal("optimizer.lr", as_float),
    "optim": choices("`optimizer`", OPTIMIZERS, OTHER_OPTIMIZER),
    "optim_args": missing("are arguments of an optimizer that tunefleet does not know"),
    "weight_decay": equal("optimizer.weight_decay", as_float),
    "adam_beta1": joint("`optimizer.betas`"),
    "adam_beta2": joint("`optimizer.betas`"),
    "adam_epsilon": equal("optimizer.eps", as_float),
    "max_grad_norm": equal("train.clip", as_float),
    "lr_scheduler_type": choices("`schedule`", SCHEDULES, OTHER_SCHEDULE),
    "lr_scheduler_kwargs": joint("`schedule.floor`"),
    "warmup_ratio": equal("schedule.warmup", as_percent),
    "warmup_steps": joint("`schedule.warmup`"),
    "neftune_noise_alpha": equal("train.neftune", as_float),
    "label_smoothing_factor": missing(OTHER_LOSS),
    # precision, memory, kernels
    "bf16": joint("`train.precision`"),
    "fp16": joint("`train.precision`"),
    "tf32": inert("is how fp32 products are computed"),
    "gradient_checkpointing": equal("train.gradient_checkpointing", as_bool),
    "gradient_checkpointing_kwargs": implied("is how activations are computed again, and not what"),
    "use_liger_kernel": inert(KERNELS),
    "torch_compile": inert("compiles the graph"),
    "torch_empty_cache_steps": inert("returns memory to the driver"),
    # seeds, rows
    "seed": equal("seed", as_int),
    "data_seed": implied("the order of rows follows seed here"),
    "full_determinism": implied("the order of rows is a function of the seed here; kernels are torch's own"),
    "group_by_length": switch(
        "`data.group_by_length`", {"data.group_by_length": "window"}, {"data.group_by_length": "never"}
    ),
    "train_sampling_strategy": choices(
        "`data.group_by_length`",
        {"random": {"data.group_by_length": "never"}, "group_by_length": {"data.group_by_length": "window"}},
        "takes the rows in the order of the file, and here it is drawn",
    ),
    "dataloader_num_workers": equal("data.workers", as_int),
    "dataloader_pin_memory": implied(_LOADER),
    "dataloader_persistent_workers": implied(_LOADER),
    "dataloader_prefetch_factor": implied(_LOADER),
    "dataloader_drop_last": implied("steps are whole here, and rows that are left over come in the next pass"),
    "remove_unused_columns": implied("columns that are not read stay unread"),
    "ignore_data_skip": inert("a run resumes at its position"),
    # records, evaluation, checkpoints
    "logging_steps": equal("tracking.log_every", as_steps),
    "logging_strategy": implied("steps"),
    "logging_first_step": implied("every record is written"),
    "logging_dir": implied(_HOUSEKEEPING),
    "log_level": implied(_HOUSEKEEPING),
    "disable_tqdm": implied(_HOUSEKEEPING),
    "include_num_input_tokens_seen": implied("tokens are counted always"),
    "report_to": choices("`tracking`", _TRACKERS, NO_TRACKER),
    "run_name": equal("name", as_text),
    "output_dir": equal("output_dir", as_text),
    "overwrite_output_dir": implied(_HOUSEKEEPING),
    "do_train": implied("it is what is done"),
    "do_eval": implied("validation rows are measured where there are any"),
    "do_predict": inert("answers a test set behind the training: `tunefleet evaluate RUN` is ours"),
    "predict_with_generate": inert("answers a test set behind the training: `tunefleet evaluate RUN` is ours"),
    **_every("save"),
    "save_total_limit": equal("checkpoint.keep", as_int),
    "save_only_model": inert("leaves states out of checkpoints: ours can always be resumed"),
    "save_safetensors": implied("weights are safetensors always"),
    "save_on_each_node": implied(_HOUSEKEEPING),
    **_every("eval"),
    "evaluation_strategy": joint("`evaluation.every`"),
    "eval_on_start": inert("measures before the first step too"),
    "eval_accumulation_steps": implied("losses alone are kept"),
    "prediction_loss_only": implied("losses alone are kept"),
    "load_best_model_at_end": switch("`checkpoint.keep_best`", {"checkpoint.keep_best": 1}),
    "metric_for_best_model": joint("`checkpoint.metric`"),
    "greater_is_better": implied("goes by the metric"),
    "resume_from_checkpoint": inert("goes on from a folder: `tunefleet resume RUN` is ours, for its own runs"),
    "push_to_hub": inert(UPLOAD),
    "hub_model_id": inert(UPLOAD),
    "hub_strategy": inert(UPLOAD),
    "hub_token": inert(UPLOAD),
    "hub_private_repo": inert(UPLOAD),
    # processes and engines
    "deepspeed": joint("`parallel`"),
    "fsdp": joint("`parallel=zero3`", "the same split, another engine"),
    "fsdp_config": joint("`parallel`"),
    "fsdp_transformer_layer_cls_to_wrap": implied("weights are sharded one by one"),
    "ddp_timeout": implied("a run that makes no progress is ended by launch.step_limit"),
    "ddp_find_unused_parameters": implied("every trainable weight is used"),
    "ddp_backend": implied("NCCL on GPUs, gloo on CPUs"),
    "ddp_bucket_cap_mb": implied("is how gradients travel"),
    "local_rank": implied("the launcher says it"),
    "accelerator_config": implied("is how rows reach processes"),
    "use_cpu": implied("a machine without GPUs trains on its CPU"),
    "trust_remote_code": inert(
        "runs code of the model's folder, which tunefleet never does; families of transformers need none"
    ),
}


def gather_trainer(values: Mapping[str, Any], draft: Draft, source: Source) -> None:
    """What takes several of these options: precision, schedule, cadences, strategy."""
    _precision(values, draft)
    _schedule(values, draft)
    _betas(values, draft)
    _cadence(values, draft, "save", "checkpoint.every")
    _cadence(values, draft, "eval", "evaluation.every")
    put_metric(values, draft)
    if is_in_force(values.get("deepspeed")):
        strategy_names.of_deepspeed(draft, "deepspeed", values["deepspeed"], source.path.parent)
    if is_in_force(values.get("fsdp")):
        config = values.get("fsdp_config")
        offload = "offload" in str(values["fsdp"]) or (
            isinstance(config, dict) and is_in_force(config.get("offload_params") or config.get("fsdp_offload_params"))
        )
        strategy_names.of_fsdp(draft, "fsdp", values["fsdp"], offload)


def put_metric(values: Mapping[str, Any], draft: Draft) -> None:
    """The metric that chooses a checkpoint, without the prefix of evaluations."""
    name = "metric_for_best_model"
    if is_in_force(values.get(name)):
        draft.put("checkpoint.metric", str(values[name]).removeprefix("eval_"), name)


def trainer_defaults(draft: Draft) -> None:
    """What TrainingArguments do unsaid, as far as LLaMA-Factory and TRL leave it."""
    draft.default("train.epochs", 3.0)
    draft.default("train.clip", 1.0)
    draft.default("optimizer", "adamw")
    draft.default("optimizer.eps", 1e-8)
    draft.default("optimizer.weight_decay", 0.0)
    draft.default("optimizer.decay_embeddings", True, "transformers decays embeddings too")
    draft.default("schedule", "linear")
    draft.default("schedule.warmup", "0 steps")
    draft.default("seed", 42)
    draft.default("checkpoint.every", "500 steps")
    draft.default("data.group_by_length", "never", f"{draft.title}'s order is random")
    draft.default("adapter", "none")
    draft.default("parallel", "ddp")
    draft.default("tracking", "files")


def put_adapter_defaults(draft: Draft, rank: int, alpha: float, dropout: float) -> None:
    """An adapter's constants where the file has none, and its export."""
    if draft.value("adapter") == "none":
        return
    draft.default("adapter.rank", rank)
    draft.default("adapter.alpha", alpha)
    draft.default("adapter.dropout", dropout)
    draft.default("adapter.merge", False, f"{draft.title} saves the adapter alone")


def _precision(values: Mapping[str, Any], draft: Draft) -> None:
    for name in ("bf16", "fp16"):
        if is_in_force(values.get(name)) and as_bool(values[name]):
            draft.put("train.precision", name, name)


def _schedule(values: Mapping[str, Any], draft: Draft) -> None:
    """Warm-up in steps goes before a share; a `constant` rate has none at all."""
    kind, steps = str(values.get("lr_scheduler_type", "")).lower(), values.get("warmup_steps")
    if is_in_force(steps):
        draft.put("schedule.warmup", as_steps(steps), "warmup_steps")
    if kind == "constant":
        draft.put("schedule.warmup", "0 steps", "lr_scheduler_type=constant has no warm-up")
    settings = values.get("lr_scheduler_kwargs") or {}
    if not isinstance(settings, Mapping):
        draft.refuse("lr_scheduler_kwargs", f"{settings!r:.60} is no group of settings")
        return
    for name, value in settings.items():
        if name == "min_lr_rate":
            draft.put("schedule.floor", as_float(value), "lr_scheduler_kwargs.min_lr_rate")
        elif name == "min_lr" and "optimizer.lr" in draft:
            draft.put("schedule.floor", as_float(value) / draft.value("optimizer.lr"), "lr_scheduler_kwargs.min_lr")
        else:
            draft.refuse(f"lr_scheduler_kwargs.{name}", "has no counterpart")


def _betas(values: Mapping[str, Any], draft: Draft) -> None:
    first, second = (
        as_float(values.get(name, default)) for name, default in (("adam_beta1", 0.9), ("adam_beta2", 0.999))
    )
    names = [name for name in ("adam_beta1", "adam_beta2") if name in values]
    draft.put("optimizer.betas", [first, second], ", ".join(names) or f"{draft.title}'s default")


def _cadence(values: Mapping[str, Any], draft: Draft, name: str, our_key: str) -> None:
    """`steps`, `epoch` or `no`, and how many steps."""
    strategy = values.get(f"{name}_strategy", values.get("evaluation_strategy") if name == "eval" else None)
    steps, text = values.get(f"{name}_steps"), str(strategy).lower()
    if text in ("no", "false"):
        draft.put(our_key, None, f"{name}_strategy")
    elif text == "epoch":
        draft.put(our_key, "1 epochs", f"{name}_strategy")
    elif text == "best":
        draft.put("checkpoint.keep_best", 1, f"{name}_strategy")
    elif is_in_force(steps):
        draft.put(our_key, as_steps(steps), f"{name}_steps")
    elif text == "steps":
        draft.put(our_key, "500 steps", f"{name}_strategy, {draft.title}'s default of {name}_steps")
