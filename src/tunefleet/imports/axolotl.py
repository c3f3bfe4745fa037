"""Axolotl: what several of its options become together, and what it does unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunefleet.imports import model_names, strategy_names
from tunefleet.imports.axolotl_options import OPTIONS
from tunefleet.imports.axolotl_rows import DATASET_OPTIONS, put_rows
from tunefleet.imports.batch_settings import put_batch
from tunefleet.imports.draft import Draft
from tunefleet.imports.option import (
    Kind,
    as_float,
    as_int,
    as_list,
    as_steps,
    is_in_force,
)
from tunefleet.imports.tool import Source, Tool
from tunefleet.imports.trainer_options import (
    DOUBLE_QUANTISATION,
    KERNELS,
    put_adapter_defaults,
    put_metric,
)
from tunefleet.imports.weight_patterns import put_train_only

_NO_CLASS = "is a class of models outside of transformers' AutoModelForCausalLM"
_PLUGINS = {
    "cut_cross_entropy": "computes the loss without all logits: train.loss_tile is near",
    "liger": KERNELS,
    "kernels": KERNELS,
    "spectrum": "",
    "swanlab": "is a tracker that tunefleet does not write to",
}


def gather(values: Mapping[str, Any], draft: Draft, source: Source) -> None:
    """The model, its data, batch, strategy, and what Axolotl does unsaid."""
    _model(values, draft)
    _tokens(values, draft)
    _plugins(values, draft)
    put_rows(values, draft)
    _validation(values, draft)
    _precision(values, draft)
    _adapter(values, draft)
    put_train_only(as_list(values.get("unfrozen_parameters") or []), draft, "unfrozen_parameters")
    _strategy(values, draft, source)
    micro = as_int(values.get("micro_batch_size") or 1)
    accumulation = as_int(values.get("gradient_accumulation_steps") or 1)
    if is_in_force(values.get("batch_size")) and not values.get("gradient_accumulation_steps"):
        accumulation = max(1, as_int(values["batch_size"]) // micro)
    put_batch(draft, micro, accumulation, source, ("micro_batch_size", "gradient_accumulation_steps"))
    _cadences(values, draft)
    _defaults(values, draft)


def _model(values: Mapping[str, Any], draft: Draft) -> None:
    if not model_names.take_model(values, draft, "base_model"):
        return
    kind = str(values.get("model_type") or "")
    if kind.startswith("Mamba") or "ForConditionalGeneration" in kind:
        draft.refuse(f"model_type={kind}", _NO_CLASS)
    for name in ("model_config", "overrides_of_model_config"):
        for key, value in (values.get(name) or {}).items():
            if key == "output_router_logits" and is_in_force(value):
                draft.refuse(f"{name}.{key}", "adds a loss of the router")
            elif is_in_force(value):
                draft.put("model.architecture", {**(draft.value("model.architecture") or {}), key: value}, name)


def _tokens(values: Mapping[str, Any], draft: Draft) -> None:
    added = values.get("tokens") or []
    if is_in_force(added):
        draft.put("model.new_tokens", list(added.values() if isinstance(added, Mapping) else as_list(added)), "tokens")
    tokens = values.get("special_tokens") or {}
    for name, token in tokens.items():
        if name != "pad_token" and token:
            by_name = {**(draft.value("model.special_tokens") or {}), name: str(token)}
            draft.put("model.special_tokens", by_name, "special_tokens")


def _plugins(values: Mapping[str, Any], draft: Draft) -> None:
    for plugin in as_list(values.get("plugins") or []):
        note = next((note for part, note in _PLUGINS.items() if f".{part}" in plugin.lower()), None)
        if note:
            draft.remark(f"plugins: {plugin}", Kind.INERT, note)
        else:
            draft.refuse(f"plugins: {plugin}", "is code that changes the training")


def _validation(values: Mapping[str, Any], draft: Draft) -> None:
    share = as_float(values.get("val_set_size") or 0)
    if 0 < share < 1:
        draft.put("data.validation_share", share, "val_set_size")
    elif not is_in_force(values.get("test_datasets")):
        draft.put(
            "data.validation_rows", as_int(share), "val_set_size" if "val_set_size" in values else "Axolotl's default"
        )


def _precision(values: Mapping[str, Any], draft: Draft) -> None:
    texts = {name: str(values.get(name)).lower() for name in ("bf16", "bfloat16", "fp16", "float16")}
    if "true" in (texts["fp16"], texts["float16"]):
        draft.put("train.precision", "fp16", "fp16")
    elif "true" in (texts["bf16"], texts["bfloat16"]):
        draft.put("train.precision", "bf16", "bf16")
    elif texts["bf16"] == "false" and texts["fp16"] == "false":
        draft.put("train.precision", "fp32", "bf16, fp16")
    else:
        draft.put("train.precision", "auto", "bf16" if "bf16" in values else "Axolotl's default")
    checkpointing = values.get("gradient_checkpointing")
    if str(checkpointing).lower().startswith("offload"):
        draft.remark(f"gradient_checkpointing={checkpointing}", Kind.INERT, "keeps activations in host memory")
    draft.put(
        "train.gradient_checkpointing",
        is_in_force(checkpointing),
        "gradient_checkpointing" if "gradient_checkpointing" in values else "Axolotl's default",
    )


def _adapter(values: Mapping[str, Any], draft: Draft) -> None:
    draft.default("adapter", "none")
    adapter = draft.value("adapter")
    if is_in_force(values.get("load_in_8bit")) and adapter == "lora":
        draft.put("adapter", "lora_8bit", "adapter, load_in_8bit")
    elif is_in_force(values.get("load_in_8bit")):
        draft.refuse("load_in_8bit", "needs adapter=lora beside the quantised weights")
    if is_in_force(values.get("load_in_4bit")):
        if adapter == "none":
            draft.refuse("load_in_4bit", "needs an adapter beside the quantised weights")
        else:
            draft.put("adapter", "qlora", "adapter, load_in_4bit")
    elif adapter == "qlora":
        draft.put("adapter", "lora", "adapter=qlora without load_in_4bit has whole weights")
    _four_bits(values, draft)
    _targets(values, draft)
    put_adapter_defaults(draft, 8, 16.0, 0.0)


def _four_bits(values: Mapping[str, Any], draft: Draft) -> None:
    for name, value in (values.get("bnb_config_kwargs") or {}).items():
        if name == "bnb_4bit_use_double_quant" and not is_in_force(value):
            draft.remark(f"bnb_config_kwargs.{name}", Kind.APPROXIMATE, DOUBLE_QUANTISATION)
        elif name == "bnb_4bit_quant_type" and value != "nf4":
            draft.refuse(f"bnb_config_kwargs.{name}={value}", "is another type of 4 bits than NF4")


def _targets(values: Mapping[str, Any], draft: Draft) -> None:
    """`lora_target_linear` and the list add up to every layer; an expression is its last names."""
    if draft.value("adapter") == "none" or draft.value("adapter.targets") == ["all-linear"]:
        return
    targets = values.get("lora_target_modules")
    if isinstance(targets, str) and set(targets) & set("\\|*()[]^$"):
        _expression(targets, draft)
    elif targets:
        names = as_list(targets)
        draft.put("adapter.targets", ["all-linear"] if "all-linear" in names else names, "lora_target_modules")
    else:
        draft.refuse("lora_target_modules", "is not set, and neither is lora_target_linear: which layers?")


def _expression(targets: str, draft: Draft) -> None:
    """The names of linear layers that stand in a regular expression, for layers of the whole model."""
    table = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "in_proj", "out_proj")
    names = [
        name
        for name in table
        if name in targets
        or name.split("_")[0] in targets.replace("|", " ").replace("(", " ").replace(")", " ").split()
    ]
    if not names:
        draft.refuse(f"lora_target_modules={targets:.40}", "is an expression without a name of a linear layer")
        return
    draft.put("adapter.targets", names, "lora_target_modules")
    draft.remark(
        "lora_target_modules",
        Kind.APPROXIMATE,
        "is an expression; here it is the names in it, in every block of the model",
    )


def _strategy(values: Mapping[str, Any], draft: Draft, source: Source) -> None:
    config = values.get("fsdp_config")
    config = config if isinstance(config, Mapping) else {}
    if is_in_force(values.get("deepspeed")):
        strategy_names.of_deepspeed(draft, "deepspeed", values["deepspeed"], source.path.parent)
    elif is_in_force(values.get("fsdp")) or config:
        offload = "offload" in str(values.get("fsdp")) or is_in_force(
            config.get("offload_params", config.get("fsdp_offload_params"))
        )
        arguments = (
            f"{values.get('fsdp')} {config.get('reshard_after_forward', '')} {config.get('fsdp_sharding_strategy', '')}"
        )
        strategy_names.of_fsdp(draft, "fsdp" if "fsdp" in values else "fsdp_config", arguments, offload)
    elif is_in_force(values.get("dp_shard_size")) and as_int(values["dp_shard_size"]) > 1:
        draft.put("parallel", "zero3", "dp_shard_size")
    _degrees(values, draft)
    strategy_names.quantised_beside_stage_3(draft)
    draft.default("parallel", "ddp")


def _degrees(values: Mapping[str, Any], draft: Draft) -> None:
    names = {
        "tensor_parallel_size": "tensor",
        **dict.fromkeys(("context_parallel_size", "context_parapllel_size", "sequence_parallel_degree"), "sequence"),
    }
    for name, our_key in names.items():
        if not is_in_force(values.get(name)) or as_int(values[name]) < 2:
            continue
        if our_key == "sequence":
            draft.put("parallel", "sequence", name)
        elif "parallel" in draft and "zero3" in str(draft.value("parallel")):
            draft.put("parallel", "tensor_zero2", name)
            draft.remark(
                name,
                Kind.APPROXIMATE,
                "goes with ZeRO up to stage 2 here: the same training, with whole weights in each part",
            )
        else:
            draft.put("parallel", "tensor", name)
        draft.put(f"parallel.{our_key}", as_int(values[name]), name)
    if is_in_force(values.get("dp_replicate_size")) and as_int(values["dp_replicate_size"]) > 1:
        draft.remark("dp_replicate_size", Kind.INERT, "copies weights between machines: parallel.hierarchical is near")


def _cadences(values: Mapping[str, Any], draft: Draft) -> None:
    for per_epoch, name, strategies, our_key in (
        ("saves_per_epoch", "save_steps", ("save_strategy",), "checkpoint.every"),
        ("evals_per_epoch", "eval_steps", ("eval_strategy", "evaluation_strategy"), "evaluation.every"),
    ):
        strategy = next(
            (
                str(values[key]).lower()
                for key in strategies
                if is_in_force(values.get(key)) or values.get(key) is False
            ),
            "",
        )
        if is_in_force(values.get(per_epoch)):
            draft.put(our_key, f"{1 / as_float(values[per_epoch]):.6g} epochs", per_epoch)
        elif is_in_force(values.get(name)):
            draft.put(our_key, as_steps(values[name]), name)
        elif strategy in ("no", "false"):
            draft.put(our_key, None, strategies[0])
        else:
            draft.put(our_key, "1 epochs", strategies[0] if strategy else "Axolotl's default")


def _defaults(values: Mapping[str, Any], draft: Draft) -> None:
    first, second = (
        as_float(values.get(name) or default) for name, default in (("adam_beta1", 0.9), ("adam_beta2", 0.999))
    )
    draft.put(
        "optimizer.betas",
        [first, second],
        "adam_beta1, adam_beta2" if "adam_beta2" in values or "adam_beta1" in values else "Axolotl's default",
    )
    if "optimizer.lr" not in draft:
        draft.refuse("learning_rate", "is not set, and Axolotl has no default for it")
    if str(values.get("lr_scheduler")) == "constant":
        draft.put("schedule.warmup", "0 steps", "lr_scheduler=constant has no warm-up")
    if "schedule.warmup" not in draft:
        draft.put("schedule.warmup", "3%", "Axolotl's default")
        draft.remark(
            "warmup",
            Kind.APPROXIMATE,
            "is 3% of the steps unsaid, and at most 100 steps: set schedule.warmup='100 steps' in a longer run",
        )
    if is_in_force(values.get("dataset_prepared_path")):
        draft.put("data.cache", str(values["dataset_prepared_path"]), "dataset_prepared_path")
    is_wandb = any(is_in_force(values.get(name)) for name in ("wandb_project", "use_wandb"))
    draft.put("tracking", "wandb" if is_wandb else "files", "wandb_project" if is_wandb else "Axolotl's default")
    put_metric(values, draft)
    for key, value in {
        "optimizer": "adamw",
        "optimizer.eps": 1e-8,
        "optimizer.weight_decay": 0.0,
        "optimizer.decay_embeddings": True,
        "schedule": "cosine",
        "schedule.floor": 0.0,
        "seed": 42,
        "train.clip": 1.0,
        "train.epochs": 1.0,
        "train.sequence_length": 512,
        "data.packing": False,
        "data.train_on": "response",
        "data.long_rows": "drop",
        "data.group_by_length": "never",
    }.items():
        draft.default(key, value)


MARKERS = frozenset({"base_model", "sequence_len", "micro_batch_size", "val_set_size", "datasets"})
AXOLOTL = Tool("axolotl", "Axolotl", OPTIONS, MARKERS, gather, {"datasets": DATASET_OPTIONS})
