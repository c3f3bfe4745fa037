"""Axolotl's options, and those inside of its `datasets`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunefleet.imports import model_names, strategy_names
from tunefleet.imports.axolotl_rows import DATASET_OPTIONS, put_rows
from tunefleet.imports.batch_settings import put_batch
from tunefleet.imports.draft import Draft
from tunefleet.imports.option import (
    Kind,
    Options,
    Outcome,
    as_bool,
    as_float,
    as_int,
    as_list,
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
    other_training,
    switch,
)
from tunefleet.imports.tool import Source, Tool
from tunefleet.imports.trainer_options import (
    DOUBLE_QUANTISATION,
    KERNELS,
    NO_TRACKER,
    OPTIMIZERS,
    OTHER_LOSS,
    OTHER_OPTIMIZER,
    UPLOAD,
    VISION,
    put_adapter_defaults,
    put_metric,
)
from tunefleet.imports.weight_patterns import put_train_only

_LOADING = "is how the model is loaded or sharded, and not what is trained"
_PADDING = "is how rows are padded"
_QUANTISED = "reads weights that are quantised otherwise: name the model that they were made of"
_RELORA, _LISA = "is ReLoRA, which restarts its adapter", "is LISA, which trains other layers from time to time"
_QAT = "is training for quantised or pruned weights"
_EXPERTS = "puts an adapter on expert tensors, or quantises them"
_PREFERENCES = "training on preferences"
_REWARD = "training of a reward model or classifier"
_NO_CLASS = "is a class of models outside of transformers' AutoModelForCausalLM"
_TEMPLATES: Mapping[str, Mapping[str, Any] | Outcome] = {
    "tokenizer_default": {"data.template": "auto"},
    "llama3": {"data.template": "llama-3"},
    "phi_3": {"data.template": "phi-3"},
    "gemma": {"data.template": "gemma"},
    "chatml": {"data.template": "chatml"},
    **{
        f"tokenizer_default_fallback_{name}": {"data.template": "auto"}
        for name in ("llama3", "chatml", "gemma", "phi_3")
    },
    "jinja": {},
}
_OTHER_TEMPLATE = Outcome(
    Kind.APPROXIMATE,
    {"data.template": "auto"},
    "is written by the tokenizer's own chat template here, which may differ a little",
)
_PLUGINS = {
    "cut_cross_entropy": "computes the loss without all logits: train.loss_tile is near",
    "liger": KERNELS,
    "kernels": KERNELS,
    "spectrum": "",
    "swanlab": "is a tracker that tunefleet does not write to",
}

OPTIONS: Options = {
    # model
    "base_model": joint("`model=hf model.path`"),
    "base_model_config": equal("model.path", as_text),
    "base_model_ignore_patterns": implied("files that are not needed are not read"),
    "model_type": joint("", "the class comes from config.json"),
    "tokenizer_type": implied("the class comes from the tokenizer's files"),
    "processor_type": other_training(VISION),
    "is_multimodal": other_training(VISION),
    "cls_model_config": implied("the class comes from config.json"),
    "strict": implied("unknown settings are refused always"),
    "tokenizer_config": equal("model.tokenizer", as_text),
    "tokenizer_use_fast": implied("tokenizers are fast ones"),
    "tokenizer_legacy": implied("goes by the tokenizer's files"),
    "tokenizer_use_mistral_common": missing("reads texts with Mistral's own tokenizer"),
    "tokenizer_save_jinja_files": implied("is how a tokenizer is saved"),
    "revision_of_model": missing("names a version of the model, which model.path cannot: fetch it into a folder"),
    "trust_remote_code": inert("runs code of the model's folder, which tunefleet never does"),
    "hf_use_auth_token": implied("nothing is fetched while training"),
    "special_tokens": joint("`model.special_tokens`", "but pad_token: padding is never in the loss"),
    "tokens": joint("`model.new_tokens`"),
    "added_tokens_overrides": missing("changes tokens of the vocabulary"),
    "resize_token_embeddings_to_32x": inert("rounds the vocabulary up"),
    "shrink_embeddings": missing("takes rows from the embedding"),
    "model_config": joint("`model.architecture`"),
    "overrides_of_model_config": joint("`model.architecture`"),
    "overrides_of_model_kwargs": implied(_LOADING),
    "is_falcon_derived_model": implied(_LOADING),
    "is_llama_derived_model": implied(_LOADING),
    "is_mistral_derived_model": implied(_LOADING),
    "is_qwen_derived_model": implied(_LOADING),
    # data
    "datasets": joint("`data.path` or `data.mix`"),
    "test_datasets": joint("`data.validation_path`"),
    "pretraining_dataset": other_training("pre-training on text that streams by"),
    "shuffle_merged_datasets": implied("the order is drawn always"),
    "shuffle_before_merging_datasets": implied("the order is drawn always"),
    "chat_template": choices("`data.template`", _TEMPLATES, _OTHER_TEMPLATE),
    "chat_template_jinja": joint("`data.template`"),
    "chat_template_kwargs": missing("gives the chat template values of its own"),
    "default_system_message": missing("puts a system text before conversations without one"),
    "eot_tokens": implied("the end of an answer is found from the template"),
    "sequence_len": equal("train.sequence_length", as_int),
    "max_packed_sequence_len": equal("train.sequence_length", as_int),
    "excess_length_strategy": choices(
        "`data.long_rows`",
        {"drop": {"data.long_rows": "drop"}, "truncate": {"data.long_rows": "truncate"}},
        "is a way with long rows that tunefleet does not know",
    ),
    "sample_packing": equal("data.packing", as_bool),
    "sample_packing_sequentially": missing("keeps the order of the file; here it is drawn"),
    "curriculum_sampling": missing("keeps the order of the file; here it is drawn"),
    "eval_sample_packing": implied(_PADDING),
    "pad_to_sequence_len": implied(_PADDING),
    **dict.fromkeys(
        (
            *("sample_packing_eff_est", "sample_packing_seq_len_multiplier", "sample_packing_group_size"),
            *("sample_packing_bin_size", "total_num_tokens", "batch_flattening", "multipack_real_batches"),
        ),
        implied(_PADDING),
    ),
    "min_sample_len": missing("leaves out rows of few tokens: data.clean.min_characters counts characters"),
    "dataset_exact_deduplication": switch("`data.clean.duplicates=exact`", {"data.clean.duplicates": "exact"}),
    "dataset_prepared_path": joint("`data.cache`"),
    "push_dataset_to_hub": inert(UPLOAD),
    "dataset_processes": implied("rows are prepared in threads"),
    "dataset_num_proc": implied("rows are prepared in threads"),
    "dataset_keep_in_memory": implied("prepared data are mapped into memory"),
    "dataset_shard_num": implied("is how rows are prepared"),
    "dataset_shard_idx": implied("is how rows are prepared"),
    "skip_prepare_dataset": other_training(VISION),
    "streaming": inert("reads while training; here rows are prepared first, in bounded memory"),
    "streaming_multipack_buffer_size": inert("reads while training; here rows are prepared first, in bounded memory"),
    "val_set_size": joint("`data.validation_share`, or `data.validation_rows`"),
    "train_on_inputs": switch("`data.train_on`", {"data.train_on": "all"}, {"data.train_on": "response"}),
    "group_by_length": switch(
        "`data.group_by_length`", {"data.group_by_length": "window"}, {"data.group_by_length": "never"}
    ),
    "dataloader_num_workers": equal("data.workers", as_int),
    "dataloader_pin_memory": implied(_LOADING),
    "dataloader_prefetch_factor": implied(_LOADING),
    "dataloader_drop_last": implied(_LOADING),
    "remove_unused_columns": implied("columns that are not read stay unread"),
    # batch, optimizer, schedule
    "micro_batch_size": joint("`train.micro_batch`"),
    "batch_size": joint("`train.global_batch`"),
    "gradient_accumulation_steps": joint("`train.global_batch`", "micro-batch x accumulation x processes"),
    "auto_find_batch_size": inert("halves the batch when memory runs out: train.on_oom=split is ours"),
    "num_epochs": equal("train.epochs", as_float),
    "max_steps": equal("train.max_steps", as_int),
    "learning_rate": equal("optimizer.lr", as_float),
    "optimizer": choices("`optimizer`", OPTIMIZERS, OTHER_OPTIMIZER),
    "optim_args": missing("are arguments of an optimizer that tunefleet does not know"),
    "optim_target_modules": missing("are arguments of an optimizer that tunefleet does not have"),
    "lr_groups": missing("gives some weights a rate of their own"),
    "embedding_lr": missing("gives embeddings a rate of their own"),
    "embedding_lr_scale": missing("gives embeddings a rate of their own"),
    "loraplus_lr_ratio": equal("adapter.lr_ratio_b", as_float),
    "loraplus_lr_embedding": missing("gives embeddings beside an adapter a rate of their own"),
    "neftune_noise_alpha": equal("train.neftune", as_float),
    "adam_beta1": joint("`optimizer.betas`"),
    "adam_beta2": joint("`optimizer.betas`"),
    "adam_epsilon": equal("optimizer.eps", as_float),
    "adam_eps": equal("optimizer.eps", as_float),
    "weight_decay": equal("optimizer.weight_decay", as_float),
    "max_grad_norm": equal("train.clip", as_float),
    "lr_scheduler": choices(
        "`schedule`",
        {
            "cosine": {"schedule": "cosine"},
            "linear": {"schedule": "linear"},
            "constant": {"schedule": "constant"},
            "constant_with_warmup": {"schedule": "constant"},
        },
        "is a shape of the learning rate that tunefleet does not have",
    ),
    "lr_scheduler_kwargs": missing("are arguments of a schedule that tunefleet does not know"),
    "warmup_ratio": equal("schedule.warmup", as_percent),
    "warmup_steps": equal("schedule.warmup", as_steps),
    "cosine_min_lr_ratio": equal("schedule.floor", as_float),
    "cosine_constant_lr_ratio": missing("is where a cosine reaches its floor", 1.0),
    "eta_min": implied("no code of Axolotl's reads it"),
    "lr_quadratic_warmup": missing("is a curved warm-up"),
    # precision, memory, kernels
    "bf16": joint("`train.precision`"),
    "bfloat16": joint("`train.precision`"),
    "fp16": joint("`train.precision`"),
    "float16": joint("`train.precision`"),
    "tf32": inert("is how fp32 products are computed"),
    **dict.fromkeys(("fp8", "fp8_enable_fsdp_float8_all_gather"), missing("computes in 8-bit floats")),
    "gradient_checkpointing": joint("`train.gradient_checkpointing`"),
    "gradient_checkpointing_kwargs": implied("is how activations are computed again, and not what"),
    "activation_offloading": inert("keeps activations in host memory"),
    "tiled_mlp": inert("computes feed-forward layers in parts: train.loss_tile does so for the head"),
    "tiled_mlp_use_original_mlp": inert("computes feed-forward layers in parts"),
    **dict.fromkeys(
        (
            *("attn_implementation", "flash_attention", "xformers_attention", "sdp_attention", "eager_attention"),
            *("flex_attention", "flex_attn_compile_kwargs", "flash_attn_cross_entropy", "flash_attn_rms_norm"),
            *("flash_attn_fuse_mlp", "flash_attn_fuse_qkv", "fused_attn_kernel", "gemma4_hybrid_attn_impl"),
            *("liger_rms_norm", "liger_glu_activation", "liger_layer_norm", "liger_rope", "liger_use_token_scaling"),
            *("liger_fused_linear_cross_entropy", "liger_cross_entropy", "liger_rms_norm_gated", "cut_cross_entropy"),
            *("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "use_kernels", "use_scattermoe", "use_sonicmoe"),
            *("experts_implementation", "unsloth_cross_entropy_loss", "unsloth_lora_mlp", "unsloth_lora_qkv"),
            *("unsloth_lora_o", "scaling_softmax", "use_fused_rope", "use_fused_rmsnorm", "chunked_cross_entropy"),
        ),
        inert(KERNELS),
    ),
    "s2_attention": missing("is attention in groups, which is not what the model does"),
    "torch_compile": inert("compiles the graph"),
    "torch_compile_backend": inert("compiles the graph"),
    "torch_compile_mode": inert("compiles the graph"),
    "plugins": joint(""),
    # adapters and quantised weights
    "adapter": choices(
        "`adapter`",
        {"lora": {"adapter": "lora"}, "qlora": {"adapter": "qlora"}},
        "is another adapter than LoRA",
    ),
    "lora_r": equal("adapter.rank", as_int),
    "lora_alpha": equal("adapter.alpha", as_float),
    "lora_dropout": equal("adapter.dropout", as_float),
    "lora_target_linear": switch("`adapter.targets=[all-linear]`", {"adapter.targets": ["all-linear"]}),
    "lora_target_modules": joint("`adapter.targets`"),
    "lora_target_parameters": missing(_EXPERTS),
    "quantize_moe_experts": missing(_EXPERTS),
    "lora_modules_to_save": missing("trains whole layers beside the adapter"),
    "lora_layers_to_transform": missing("puts the adapter on some blocks alone"),
    "lora_fan_in_fan_out": implied("goes by the layer"),
    "lora_on_cpu": implied(_LOADING),
    "lora_model_dir": missing("starts from an adapter that is trained already"),
    "peft_use_rslora": equal("adapter.rslora", as_bool),
    "peft_use_dora": equal("adapter.dora", as_bool),
    "peft_init_lora_weights": missing("starts A and B otherwise", True),
    "peft_layers_to_transform": missing("puts the adapter on some blocks alone"),
    "peft_autocast_adapter_dtype": implied("an adapter is in fp32 here"),
    "peft": missing("starts A and B otherwise (LoftQ)"),
    "load_in_4bit": joint("`adapter=qlora`"),
    "load_in_8bit": joint("`adapter=lora_8bit`"),
    "bnb_config_kwargs": joint("", "NF4 with doubly quantised constants is what qlora has"),
    **dict.fromkeys(
        (
            *("gptq", "gptq_groupsize", "gptq_model_v1", "gptq_disable_exllama", "model_quantization_config"),
            *("model_quantization_config_kwargs", "llama4_linearized_experts"),
        ),
        missing(_QUANTISED),
    ),
    **dict.fromkeys(("qat", "quantization", "llmcompressor", "use_onebitllms"), missing(_QAT)),
    "unfrozen_parameters": joint("`model.train_only`", "expressions, as shell patterns"),
    "use_eaft": missing(OTHER_LOSS),
    "eaft_alpha": missing(OTHER_LOSS),
    "eaft_k": missing(OTHER_LOSS),
    "label_smoothing_factor": missing(OTHER_LOSS),
    **dict.fromkeys(("lisa_n_layers", "lisa_step_interval", "lisa_layers_attribute"), missing(_LISA)),
    **dict.fromkeys(
        (
            *("relora", "relora_steps", "relora_warmup_steps", "relora_anneal_steps", "relora_prune_ratio"),
            *(
                "relora_cpu_offload",
                "jagged_restart_steps",
                "jagged_restart_warmup_steps",
                "jagged_restart_anneal_steps",
            ),
        ),
        missing(_RELORA),
    ),
    # strategy and launch
    "fsdp": joint("`parallel=zero3`", "the same split, another engine"),
    "fsdp_config": joint("`parallel`"),
    "fsdp_version": implied("is the engine's"),
    "fsdp_final_state_dict_type": implied("an export is whole always"),
    "dp_shard_size": joint("`parallel=zero3`"),
    "dp_replicate_size": joint("", "copies between machines: parallel.hierarchical is near"),
    "deepspeed": joint("`parallel`"),
    "tensor_parallel_size": joint("`parallel.tensor`"),
    "context_parallel_size": joint("`parallel.sequence`"),
    "context_parapllel_size": joint("`parallel.sequence`"),
    "sequence_parallel_degree": joint("`parallel.sequence`"),
    "heads_k_stride": inert("is a knob of ring attention"),
    "ring_attn_func": inert("is a knob of ring attention"),
    **dict.fromkeys(
        ("expert_parallel_size", "expert_parallel_num_nvl_bytes", "expert_parallel_token_capacity"),
        missing("divides experts over processes", 1),
    ),
    **dict.fromkeys(
        (
            *("ddp_find_unused_parameters", "ddp_timeout", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp"),
            *("accelerator_config", "low_cpu_mem_usage", "device_map", "max_memory", "device", "local_rank"),
            *("experimental_skip_move_to_device", "torchdistx_path", "reinit_lm_head", "gpu_memory_limit"),
            *("world_size", "torch_dtype", "nccl_timeout"),
        ),
        implied(_LOADING),
    ),
    **dict.fromkeys(
        ("use_ray", "ray_num_workers", "ray_run_name", "resources_per_worker"),
        inert("is Ray's launcher: launch.processes is ours"),
    ),
    # records, evaluation, checkpoints
    "logging_steps": equal("tracking.log_every", as_steps),
    "logging_dir": implied("a run has its own folder"),
    "saves_per_epoch": joint("`checkpoint.every`"),
    "save_steps": joint("`checkpoint.every`"),
    "save_strategy": joint("`checkpoint.every`"),
    "save_total_limit": equal("checkpoint.keep", as_int),
    "save_only_model": inert("leaves states out of checkpoints: ours can always be resumed"),
    "save_safetensors": implied("weights are safetensors always"),
    "save_first_step": inert("saves the first step too"),
    "evals_per_epoch": joint("`evaluation.every`"),
    "eval_steps": joint("`evaluation.every`"),
    "eval_strategy": joint("`evaluation.every`"),
    "evaluation_strategy": joint("`evaluation.every`"),
    "eval_batch_size": equal("evaluation.batch", as_int),
    "eval_max_new_tokens": equal("evaluation.max_new_tokens", as_int),
    **dict.fromkeys(
        ("do_causal_lm_eval", "eval_causal_lm_metrics", "eval_table_size", "do_bench_eval", "bench_dataset"),
        inert("measures generated answers: evaluation.generate_rows and evaluation.metrics are near"),
    ),
    "early_stopping_patience": equal("train.early_stopping.patience", as_int),
    "load_best_model_at_end": switch("`checkpoint.keep_best`", {"checkpoint.keep_best": 1}),
    "metric_for_best_model": joint("`checkpoint.metric`"),
    "greater_is_better": implied("goes by the metric"),
    "loss_watchdog_threshold": inert("stops when the loss explodes: train.spike_sigma is ours"),
    "loss_watchdog_patience": inert("stops when the loss explodes: train.spike_sigma is ours"),
    "include_tokens_per_second": implied("is recorded always"),
    "include_tkps": implied("is recorded always"),
    "wandb_project": equal("tracking.project", as_text),
    "wandb_entity": equal("tracking.entity", as_text),
    "wandb_name": equal("name", as_text),
    "wandb_run_id": implied("a run has one identity over all its starts"),
    "wandb_mode": choices(
        "`tracking.wandb`",
        {mode: {"tracking.wandb": mode} for mode in ("online", "offline", "disabled")},
        "is a mode that tunefleet does not know",
    ),
    "use_wandb": joint("`tracking`"),
    "wandb_watch": inert("sends gradients"),
    "wandb_log_model": inert("sends files"),
    **dict.fromkeys(
        (
            *("use_tensorboard", "use_mlflow", "use_comet", "use_swanlab", "use_trackio", "mlflow_experiment_name"),
            *("mlflow_tracking_uri", "comet_project_name", "swanlab_project", "swanlab_experiment_name"),
            *("swanlab_description", "swanlab_mode", "swanlab_workspace", "swanlab_log_completions"),
            *("swanlab_completion_log_interval", "swanlab_completion_max_buffer", "trackio_project_name"),
        ),
        inert(NO_TRACKER.note),
    ),
    **dict.fromkeys(("hub_model_id", "hub_strategy", "push_to_hub", "hub_revision"), inert(UPLOAD)),
    "resume_from_checkpoint": inert("goes on from a folder: `tunefleet resume RUN` is ours, for its own runs"),
    "auto_resume_from_checkpoints": implied("the same command resumes"),
    "seed": equal("seed", as_int),
    "output_dir": equal("output_dir", as_text),
    "debug": implied("prints rows: `tunefleet data show`"),
    "test_value": implied("is read by no code of Axolotl's"),
    "max_samples": equal("data.max_rows", as_int),
    "profiler_steps": inert("writes a trace"),
    "gc_steps": implied("memory is let go of as it is"),
    # other kinds of training
    **dict.fromkeys(
        (
            "rl",
            "rl_beta",
            "dpo_beta",
            "dpo_use_weighting",
            "orpo_alpha",
            "kto_desirable_weight",
            "kto_undesirable_weight",
        ),
        other_training(_PREFERENCES + " or by reinforcement"),
    ),
    **dict.fromkeys(
        ("trl", "vllm", "reward_processing_classes", "gym", "ebft"), other_training("reinforcement learning")
    ),
    **dict.fromkeys(
        ("reward_model", "process_reward_model", "num_labels", "center_rewards_coefficient"), other_training(_REWARD)
    ),
    **dict.fromkeys(("image_size", "image_resize_algorithm", "skip_image_processing"), other_training(VISION)),
    **dict.fromkeys(("diffusion", "noise_schedule", "eps"), other_training("diffusion of text")),
    **dict.fromkeys(
        ("kd_trainer", "kd_alpha", "kd_temperature", "kd_ce_alpha"), other_training("distillation from a teacher")
    ),
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
    path = model_names.take_model(values, draft, "base_model")
    if not path:
        return
    model_names.refuse_quantised(draft, path, "base_model")
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
