"""One invented file for each pattern of other tools' public examples, and what must become of it.

`files` is how many of 294 public text-SFT examples have the option in force, as they were counted in 2026; names and
values are invented. What is expected was written from the other tools' documents, not from the import tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LLAMAFACTORY: dict[str, Any] = {
    "stage": "sft",
    "do_train": True,
    "model_name_or_path": "example/llama-tiny",
    "finetuning_type": "lora",
    "dataset": "letters",
    "template": "llama3",
    "cutoff_len": 1536,
    "learning_rate": "3e-5",
    "bf16": True,
}
LLAMAFACTORY_V1: dict[str, Any] = {
    "model": "example/llama-tiny",
    "train_dataset": "sources.yaml",
    "micro_batch_size": 3,
    "cutoff_len": 1536,
    "learning_rate": 3e-5,
    "max_steps": 12,
    "output_dir": "out/v1",
}
AXOLOTL: dict[str, Any] = {
    "base_model": "example/llama-tiny",
    "datasets": [{"path": "example/dialogues", "type": "chat_template"}],
    "sequence_len": 3072,
    "micro_batch_size": 3,
    "learning_rate": "3e-5",
    "output_dir": "out/axolotl",
}
TRL: dict[str, Any] = {
    "model_name_or_path": "example/llama-tiny",
    "dataset_name": "example/dialogues",
    "output_dir": "out/trl",
}
CHAT: dict[str, Any] = {
    "data_path": "Dahoas/rm-static",
    "data_split": "10,0,0",
    "model_name_or_path": "facebook/opt-350m",
    "deepspeed": True,
}
BASES = {
    "LLaMA-Factory": LLAMAFACTORY,
    "LLaMA-Factory v1": LLAMAFACTORY_V1,
    "Axolotl": AXOLOTL,
    "TRL": TRL,
    "DeepSpeed-Chat": CHAT,
}
_LORA = {"adapter": "lora", "lora_r": 12, "lora_alpha": 24, "lora_target_linear": True}
_FOUR_BITS = {**_LORA, "adapter": "qlora", "load_in_4bit": True}


@dataclass(frozen=True)
class Pattern:
    """Options over the tool's base file; the settings that must come of them, or the options that must be refused."""

    tool: str
    files: int
    options: Mapping[str, Any]
    becomes: Mapping[str, Any] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    commented: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, Any]:
        """The whole file."""
        return {**BASES[self.tool], **self.options}


def _factory(files: int, options: Mapping[str, Any], becomes: Mapping[str, Any] | None = None, **more: Any) -> Pattern:
    return Pattern("LLaMA-Factory", files, options, becomes or {}, **more)


def _axolotl(files: int, options: Mapping[str, Any], becomes: Mapping[str, Any] | None = None, **more: Any) -> Pattern:
    return Pattern("Axolotl", files, options, becomes or {}, **more)


def _rows(files: int, entry: Mapping[str, Any], becomes: Mapping[str, Any] | None = None, **more: Any) -> Pattern:
    return _axolotl(files, {"datasets": [{"path": "example/rows", **entry}]}, becomes, **more)


def _trl(files: int, options: Mapping[str, Any], becomes: Mapping[str, Any] | None = None, **more: Any) -> Pattern:
    return Pattern("TRL", files, options, becomes or {}, **more)


def _chat(files: int, options: Mapping[str, Any], becomes: Mapping[str, Any] | None = None, **more: Any) -> Pattern:
    return Pattern("DeepSpeed-Chat", files, options, becomes or {}, **more)


def _v1(files: int, options: Mapping[str, Any], becomes: Mapping[str, Any] | None = None, **more: Any) -> Pattern:
    return Pattern("LLaMA-Factory v1", files, options, becomes or {}, **more)


PATTERNS: dict[str, Pattern] = {
    "lf model": _factory(41, {}, {"model.path": "example/llama-tiny", "data.template": "llama-3"}),
    "lf quantised files": _factory(
        5, {"model_name_or_path": "example/llama-tiny-AWQ"}, refused=("model_name_or_path=example/llama-tiny-AWQ",)
    ),
    "lf foreign code": _factory(39, {"trust_remote_code": True}, commented=("trust_remote_code=True",)),
    "lf full": _factory(17, {"finetuning_type": "full"}, {"adapter": "none"}),
    "lf lora": _factory(19, {"lora_rank": 12}, {"adapter": "lora", "adapter.rank": 12, "adapter.alpha": 24.0}),
    "lf oft": _factory(
        4,
        {"finetuning_type": "oft", "oft_block_size": 16, "oft_target": "all"},
        refused=("finetuning_type=oft", "oft_block_size=16", "oft_target=all"),
    ),
    "lf alpha": _factory(1, {"lora_rank": 12, "lora_alpha": 5}, {"adapter.alpha": 5.0}),
    "lf targets": _factory(18, {"lora_target": "all"}, {"adapter.targets": ["all-linear"]}),
    "lf named targets": _factory(18, {"lora_target": "q_proj,v_proj"}, {"adapter.targets": ["q_proj", "v_proj"]}),
    "lf two sets": _factory(
        26,
        {"dataset": "letters, digits", "max_samples": 70},
        {
            "data.mix": [
                {"path": "ROOT/data/letters.json", "format": "alpaca", "max_rows": 70},
                {"path": "hub:example/digits", "format": "messages", "split": "small", "max_rows": 70},
            ]
        },
    ),
    "lf remote sets": _factory(1, {"dataset_dir": "REMOTE:example/sets"}, refused=("dataset_dir=REMOTE:example/sets",)),
    "lf other template": _factory(
        23, {"template": "qwen3_nothink"}, {"data.template": "auto"}, commented=("template=qwen3_nothink",)
    ),
    "lf housekeeping": _factory(
        41, {"overwrite_cache": True, "plot_loss": True, "ddp_timeout": 9, "preprocessing_num_workers": 3}
    ),
    "lf loader": _factory(36, {"dataloader_num_workers": 3}, {"data.workers": 3}),
    "lf prepared": _factory(1, {"tokenized_path": "prepared/rows"}, {"data.cache": "prepared/rows"}),
    "lf packing": _factory(1, {"packing": False}, {"data.packing": False}),
    "lf records": _factory(
        40,
        {"logging_steps": 7, "save_steps": 90, "output_dir": "out/lf", "run_name": "mine"},
        {"tracking.log_every": "7 steps", "checkpoint.every": "90 steps", "output_dir": "out/lf", "name": "mine"},
    ),
    "lf trackers": _factory(38, {"report_to": "none"}, {"tracking": "files"}),
    "lf wandb": _factory(2, {"report_to": "wandb"}, {"tracking": "wandb"}),
    "lf model alone": _factory(1, {"save_only_model": True}, commented=("save_only_model=True",)),
    "lf batch": _factory(
        40,
        {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 5},
        {"train.micro_batch": 3, "train.global_batch": 15, "train.precision": "bf16"},
    ),
    "lf rate": _factory(
        40,
        {"num_train_epochs": 2.0, "lr_scheduler_type": "cosine", "warmup_ratio": 0.2},
        {"optimizer.lr": 3e-5, "train.epochs": 2.0, "schedule": "cosine", "schedule.warmup": "20%"},
    ),
    "lf steps": _factory(
        5, {"max_steps": 40, "warmup_steps": 6}, {"train.max_steps": 40, "schedule.warmup": "6 steps"}
    ),
    "lf pure bf16": _factory(
        3, {"pure_bf16": True}, {"train.precision": "bf16", "train.master_weights": False, "parallel": "zero1"}
    ),
    "lf deepspeed": _factory(2, {"deepspeed": "settings/ds_z3_offload_config.json"}, {"parallel": "zero3_offload"}),
    "lf deepspeed file": _factory(2, {"deepspeed": "own.json"}, {"parallel": "zero2_offload"}),
    "lf deepspeed fp8": _factory(1, {"deepspeed": "ds_z3_fp8_config.json"}, refused=("deepspeed",)),
    "lf fsdp": _factory(
        1, {"fsdp": ["full_shard", "auto_wrap"], "fsdp_transformer_layer_cls_to_wrap": "Layer"}, {"parallel": "zero3"}
    ),
    "lf no checkpointing": _factory(
        1, {"disable_gradient_checkpointing": True}, {"train.gradient_checkpointing": False}
    ),
    "lf kernels": _factory(
        4, {"flash_attn": "fa2", "use_v1_kernels": True}, commented=("flash_attn=fa2", "use_v1_kernels=True")
    ),
    "lf four bits": _factory(
        4,
        {"quantization_bit": 4, "quantization_method": "bnb", "double_quantization": False},
        {"adapter": "qlora"},
        commented=("double_quantization=False",),
    ),
    "lf paged": _factory(
        1, {"optim": "paged_adamw_8bit"}, {"optimizer": "adamw_8bit"}, commented=("optim=paged_adamw_8bit",)
    ),
    "lf muon": _factory(1, {"use_muon": True}, {"optimizer": "muon"}),
    "lf moments": _factory(
        1,
        {"adam_beta1": 0.8, "adam_beta2": 0.97, "weight_decay": 0.02, "max_grad_norm": 0.4, "seed": 11},
        {"optimizer.betas": [0.8, 0.97], "optimizer.weight_decay": 0.02, "train.clip": 0.4, "seed": 11},
    ),
    "lf megatron": _factory(
        2,
        {
            "finetuning_type": "full",
            "tensor_model_parallel_size": 2,
            "pipeline_model_parallel_size": 1,
            "overlap_grad_reduce": True,
            "mixed_precision": "bf16_mixed",
        },
        {"parallel": "tensor", "parallel.tensor": 2, "train.precision": "bf16"},
        commented=("overlap_grad_reduce=True",),
    ),
    "lf experts": _factory(1, {"expert_model_parallel_size": 2}, refused=("expert_model_parallel_size=2",)),
    "lf ray": _factory(1, {"ray_num_workers": 3}, commented=("ray_num_workers=3",)),
    "lf kt": _factory(5, {"use_kt": True, "kt_config": "a.yaml"}, refused=("use_kt=True", "kt_config=a.yaml")),
    "lf loss": _factory(4, {"use_dft_loss": True}, refused=("use_dft_loss=True",)),
    "lf fp8": _factory(2, {"fp8": True, "fp8_backend": "ao"}, refused=("fp8=True", "fp8_backend=ao")),
    "lf optimizers": _factory(
        4,
        {"use_galore": True, "use_adam_mini": True, "use_badam": True, "use_apollo": True},
        refused=("use_galore=True", "use_adam_mini=True", "use_badam=True", "use_apollo=True"),
    ),
    "lf pro": _factory(1, {"finetuning_type": "freeze", "use_llama_pro": True}, refused=("use_llama_pro=True",)),
    "lf pissa": _factory(1, {"pissa_init": True}, refused=("pissa_init=True",)),
    "lf depths": _factory(1, {"mixture_of_depths": "convert"}, refused=("mixture_of_depths=convert",)),
    "lf dpo": _factory(0, {"stage": "dpo", "pref_beta": 0.1}, refused=("stage=dpo", "pref_beta=0.1")),
    "lf pictures": _factory(9, {"image_max_pixels": 90000}, refused=("image_max_pixels=90000",)),
    "lf pictures in rows": _factory(9, {"dataset": "photos"}, refused=("dataset=photos",)),
    "lf unknown": _factory(0, {"sing": "loudly"}, refused=("sing=loudly",)),
    "v1 plain": _v1(
        14,
        {},
        {"data.path": "hub:example/digits", "data.max_rows": 40, "data.format": "alpaca", "train.micro_batch": 3},
    ),
    "v1 fsdp": _v1(12, {"dist_config": {"name": "fsdp2", "dcp_path": None}}, {"parallel": "zero3"}),
    "v1 turbo": _v1(1, {"dist_config": {"name": "fsdpturbo"}}, refused=("dist_config=fsdpturbo",)),
    "v1 lora": _v1(
        3,
        {"peft_config": {"name": "lora", "r": 6, "lora_alpha": 9, "lora_dropout": 0.1, "target_modules": "all"}},
        {"adapter": "lora", "adapter.rank": 6, "adapter.alpha": 9.0, "adapter.targets": ["all-linear"]},
    ),
    "v1 four bits": _v1(
        1,
        {
            "quant_config": {"name": "bnb", "quantization_bit": 4},
            "peft_config": {"name": "lora", "r": 6},
            "dist_config": {"name": "fsdp2"},
        },
        {"adapter": "qlora", "parallel": "zero2"},
        commented=("dist_config with quantised weights",),
    ),
    "v1 kernels": _v1(13, {"kernel_config": {"name": "auto"}}, commented=("kernel_config={'name': 'auto'}",)),
    "v1 batches": _v1(3, {"batching_strategy": "dynamic_batching"}, commented=("batching_strategy=dynamic_batching",)),
    "v1 sequences": _v1(2, {"cp_size": 2, "cp_mode": "ulysses"}, {"parallel": "sequence", "parallel.sequence": 2}),
    "v1 muon": _v1(
        1,
        {"optim_config": {"name": "muon", "wd": 0.2, "momentum": 0.9}},
        {"optimizer": "muon", "optimizer.weight_decay": 0.2, "optimizer.momentum": 0.9},
    ),
    "v1 answers": _v1(12, {"sample_backend": "hf", "max_new_tokens": 30}, {"evaluation.max_new_tokens": 30}),
    "ax plain": _axolotl(
        192,
        {},
        {
            "model.path": "example/llama-tiny",
            "train.sequence_length": 3072,
            "data.path": "hub:example/dialogues",
            "data.format": "messages",
            "data.long_rows": "drop",
            "optimizer.betas": [0.9, 0.999],
        },
    ),
    "ax classes": _axolotl(76, {"model_type": "LlamaForCausalLM", "tokenizer_type": "LlamaTokenizer", "strict": False}),
    "ax other classes": _axolotl(6, {"model_type": "MambaLMHeadModel"}, refused=("model_type=MambaLMHeadModel",)),
    "ax tokenizer": _axolotl(1, {"tokenizer_config": "example/words"}, {"model.tokenizer": "example/words"}),
    "ax revision": _axolotl(2, {"revision_of_model": "abc123"}, refused=("revision_of_model=abc123",)),
    "ax templates": _axolotl(13, {"chat_template": "chatml"}, {"data.template": "chatml"}),
    "ax other templates": _axolotl(
        44, {"chat_template": "falcon_h1"}, {"data.template": "auto"}, commented=("chat_template=falcon_h1",)
    ),
    "ax ends of turns": _axolotl(25, {"eot_tokens": ["<over>"]}),
    "ax padding token": _axolotl(57, {"special_tokens": {"pad_token": "<pad>"}}),
    "ax 32x": _axolotl(5, {"resize_token_embeddings_to_32x": True}, commented=("resize_token_embeddings_to_32x=True",)),
    "ax mistral-common": _axolotl(
        8, {"tokenizer_use_mistral_common": True}, refused=("tokenizer_use_mistral_common=True",)
    ),
    "ax packing": _axolotl(149, {"sample_packing": True, "eval_sample_packing": False}, {"data.packing": True}),
    "ax curriculum": _axolotl(1, {"curriculum_sampling": True}, refused=("curriculum_sampling=True",)),
    "ax short rows": _axolotl(2, {"min_sample_len": 900}, refused=("min_sample_len=900",)),
    "ax duplicates": _axolotl(1, {"dataset_exact_deduplication": True}, {"data.clean.duplicates": "exact"}),
    "ax prepared": _axolotl(92, {"dataset_prepared_path": "ready"}, {"data.cache": "ready"}),
    "ax streaming": _axolotl(1, {"streaming": True}, commented=("streaming=True",)),
    "ax no validation": _axolotl(62, {"val_set_size": 0.0}, {"data.validation_rows": 0}),
    "ax all text": _axolotl(
        1,
        {"train_on_inputs": True, "group_by_length": True},
        {"data.train_on": "all", "data.group_by_length": "window"},
    ),
    "ax batch": _axolotl(
        187, {"gradient_accumulation_steps": 6, "num_epochs": 3}, {"train.global_batch": 18, "train.epochs": 3.0}
    ),
    "ax steps": _axolotl(7, {"max_steps": 33}, {"train.max_steps": 33}),
    "ax adamw": _axolotl(50, {"optimizer": "adamw_torch_fused"}, {"optimizer": "adamw"}),
    "ax 8 bits": _axolotl(71, {"optimizer": "adamw_bnb_8bit"}, {"optimizer": "adamw_8bit"}),
    "ax paged": _axolotl(
        26, {"optimizer": "paged_adamw_32bit"}, {"optimizer": "adamw"}, commented=("optimizer=paged_adamw_32bit",)
    ),
    "ax torchao 8 bits": _axolotl(
        21, {"optimizer": "adamw_torch_8bit"}, {"optimizer": "adamw_8bit"}, commented=("optimizer=adamw_torch_8bit",)
    ),
    "ax torchao 4 bits": _axolotl(
        12, {"optimizer": "adamw_torch_4bit"}, {"optimizer": "adamw_8bit"}, commented=("optimizer=adamw_torch_4bit",)
    ),
    "ax moments": _axolotl(
        8,
        {"adam_beta2": 0.93, "adam_eps": 1e-5, "weight_decay": 0.3, "max_grad_norm": 0.7},
        {"optimizer.betas": [0.9, 0.93], "optimizer.eps": 1e-5, "optimizer.weight_decay": 0.3, "train.clip": 0.7},
    ),
    "ax schedule": _axolotl(
        186,
        {"lr_scheduler": "cosine", "warmup_ratio": 0.05, "cosine_min_lr_ratio": 0.2},
        {"schedule": "cosine", "schedule.warmup": "5%", "schedule.floor": 0.2},
    ),
    "ax constant": _axolotl(
        9,
        {"lr_scheduler": "constant_with_warmup", "warmup_steps": 12},
        {"schedule": "constant", "schedule.warmup": "12 steps"},
    ),
    "ax unread floor": _axolotl(4, {"eta_min": 1e-7, "cosine_constant_lr_ratio": 1.0}),
    "ax curved warm-up": _axolotl(2, {"lr_quadratic_warmup": True}, refused=("lr_quadratic_warmup=True",)),
    "ax bf16": _axolotl(186, {"bf16": "auto", "tf32": True}, {"train.precision": "auto"}, commented=("tf32=True",)),
    "ax fp16": _axolotl(5, {"bf16": False, "fp16": True}, {"train.precision": "fp16"}),
    "ax checkpointing": _axolotl(
        159,
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}},
        {"train.gradient_checkpointing": True},
    ),
    "ax offloaded activations": _axolotl(
        16,
        {"gradient_checkpointing": "offload", "activation_offloading": True},
        {"train.gradient_checkpointing": True},
        commented=("activation_offloading=True",),
    ),
    "ax kernels": _axolotl(
        184,
        {"flash_attention": True, "lora_mlp_kernel": True, "liger_rope": True},
        commented=("flash_attention=True", "lora_mlp_kernel=True", "liger_rope=True"),
    ),
    "ax plugins": _axolotl(
        88,
        {"plugins": ["axolotl.integrations.liger.LigerPlugin"]},
        commented=("plugins: axolotl.integrations.liger.LigerPlugin",),
    ),
    "ax other plugins": _axolotl(
        5,
        {"plugins": ["axolotl.integrations.expert_parallel.Plugin"]},
        refused=("plugins: axolotl.integrations.expert_parallel.Plugin",),
    ),
    "ax compiled": _axolotl(4, {"torch_compile": True}, commented=("torch_compile=True",)),
    "ax lora": _axolotl(
        48,
        {**_LORA, "lora_dropout": 0.07},
        {
            "adapter": "lora",
            "adapter.rank": 12,
            "adapter.alpha": 24.0,
            "adapter.dropout": 0.07,
            "adapter.targets": ["all-linear"],
        },
    ),
    "ax qlora": _axolotl(89, _FOUR_BITS, {"adapter": "qlora"}),
    "ax named targets": _axolotl(
        65, {"adapter": "lora", "lora_target_modules": ["q_proj", "o_proj"]}, {"adapter.targets": ["q_proj", "o_proj"]}
    ),
    "ax expression": _axolotl(
        11,
        {"adapter": "lora", "lora_target_modules": r"model.layers.[\d]+.self_attn.(q|k)_proj"},
        {"adapter.targets": ["q_proj", "k_proj"]},
        commented=("lora_target_modules",),
    ),
    "ax expert tensors": _axolotl(
        22,
        {**_FOUR_BITS, "lora_target_parameters": ["experts.down"], "quantize_moe_experts": True},
        refused=("lora_target_parameters=['experts.down']", "quantize_moe_experts=True"),
    ),
    "ax whole layers": _axolotl(
        4, {**_LORA, "lora_modules_to_save": ["embed_tokens"]}, refused=("lora_modules_to_save=['embed_tokens']",)
    ),
    "ax rslora": _axolotl(1, {**_LORA, "peft_use_rslora": True}, {"adapter.rslora": True}),
    "ax loftq": _axolotl(
        1, {**_LORA, "peft": {"loftq_config": {"loftq_bits": 4}}}, refused=("peft={'loftq_config': {'loftq_bits': 4}}",)
    ),
    "ax nothing to start from": _axolotl(99, {"lora_model_dir": None, "lora_fan_in_fan_out": True}),
    "ax other quantised weights": _axolotl(18, {"gptq": True}, refused=("gptq=True",)),
    "ax qat": _axolotl(11, {"qat": {"weight_dtype": "int4"}}, refused=("qat={'weight_dtype': 'int4'}",)),
    "ax fp8": _axolotl(1, {"fp8": True}, refused=("fp8=True",)),
    "ax router": _axolotl(
        6, {"model_config": {"output_router_logits": True}}, refused=("model_config.output_router_logits",)
    ),
    "ax eaft": _axolotl(1, {"use_eaft": True}, refused=("use_eaft=True",)),
    "ax lisa": _axolotl(2, {"lisa_n_layers": 3}, refused=("lisa_n_layers=3",)),
    "ax fsdp": _axolotl(
        30,
        {"fsdp_version": 2, "fsdp_config": {"offload_params": True, "reshard_after_forward": True}},
        {"parallel": "zero3_offload"},
    ),
    "ax four bits under fsdp": _axolotl(
        20,
        {**_FOUR_BITS, "fsdp": ["full_shard", "auto_wrap"]},
        {"adapter": "qlora", "parallel": "zero2"},
        commented=("fsdp with quantised weights",),
    ),
    "ax shards": _axolotl(
        6, {"dp_shard_size": 2, "dp_replicate_size": 2}, {"parallel": "zero3"}, commented=("dp_replicate_size",)
    ),
    "ax deepspeed": _axolotl(
        8,
        {"deepspeed": "settings/zero3_bf16_cpuoffload_params.json"},
        {"parallel": "zero3", "parallel.offload_parameters": "cpu"},
    ),
    "ax tensor": _axolotl(2, {"tensor_parallel_size": 2}, {"parallel": "tensor", "parallel.tensor": 2}),
    "ax sequence": _axolotl(4, {"context_parallel_size": 4}, {"parallel": "sequence", "parallel.sequence": 4}),
    "ax experts": _axolotl(4, {"expert_parallel_size": 4}, refused=("expert_parallel_size=4",)),
    "ax loading": _axolotl(17, {"ddp_find_unused_parameters": True, "low_cpu_mem_usage": True}),
    "ax records": _axolotl(
        186,
        {"logging_steps": 1, "saves_per_epoch": 2, "evals_per_epoch": 4, "save_total_limit": 6},
        {
            "tracking.log_every": "1 steps",
            "checkpoint.every": "0.5 epochs",
            "evaluation.every": "0.25 epochs",
            "checkpoint.keep": 6,
        },
    ),
    "ax cadences in steps": _axolotl(
        3,
        {"save_steps": 80, "eval_steps": 40, "eval_batch_size": 5},
        {"checkpoint.every": "80 steps", "evaluation.every": "40 steps", "evaluation.batch": 5},
    ),
    "ax early": _axolotl(3, {"early_stopping_patience": 4, "val_set_size": 40}, {"train.early_stopping.patience": 4}),
    "ax watchdog": _axolotl(16, {"loss_watchdog_threshold": 6.0}, commented=("loss_watchdog_threshold=6.0",)),
    "ax wandb": _axolotl(4, {"wandb_project": "letters"}, {"tracking": "wandb", "tracking.project": "letters"}),
    "ax other trackers": _axolotl(3, {"use_tensorboard": True}, commented=("use_tensorboard=True",)),
    "ax upload": _axolotl(1, {"hub_model_id": "example/mine"}, commented=("hub_model_id=example/mine",)),
    "ax seed": _axolotl(13, {"seed": 8}, {"seed": 8}),
    "ax alpaca": _rows(93, {"type": "alpaca"}, {"data.format": "alpaca", "data.template": "alpaca-line"}),
    "ax completion": _rows(
        5, {"type": "completion", "field": "chapter"}, {"data.format": "text", "data.columns": {"text": "chapter"}}
    ),
    "ax other prompts": _rows(5, {"type": "jeopardy"}, refused=("datasets.type=jeopardy",)),
    "ax slice": _rows(34, {"type": "alpaca", "split": "train[:30%]"}, {"data.split": "train[:30%]"}),
    "ax sharegpt keys": _rows(
        46,
        {
            "type": "chat_template",
            "field_messages": "talks",
            "message_property_mappings": {"role": "from", "content": "value"},
        },
        {"data.format": "sharegpt", "data.columns": {"conversations": "talks"}},
    ),
    "ax older keys": _rows(
        2,
        {"type": "chat_template", "message_field_role": "from", "message_field_content": "value"},
        {"data.format": "sharegpt", "data.columns": {"conversations": "messages"}},
    ),
    "ax thinking": _rows(
        6,
        {"type": "chat_template", "field_thinking": "thinking", "template_thinking_key": "thinking"},
        {"data.format": "messages"},
    ),
    "ax one file": _rows(
        4, {"type": "alpaca", "data_files": "part.jsonl"}, {"data.path": "hub:example/rows/part.jsonl"}
    ),
    "ax no system texts": _rows(
        2, {"type": "chat_template", "drop_system_message": True}, refused=("datasets.drop_system_message=True",)
    ),
    "ax preferences": _axolotl(19, {"rl": "dpo"}, refused=("rl=dpo",)),
    "ax rewards": _axolotl(4, {"reward_model": True}, refused=("reward_model=True",)),
    "ax pictures": _axolotl(29, {"processor_type": "AutoProcessor"}, refused=("processor_type=AutoProcessor",)),
    "trl plain": _trl(
        28,
        {},
        {
            "data.train_on": "all",
            "optimizer.lr": 2e-5,
            "train.sequence_length": 1024,
            "seed": 42,
            "train.gradient_checkpointing": True,
            "schedule": "linear",
        },
    ),
    **{
        f"{tool} quantised files": pattern(0, {option: f"example/{name}"}, refused=(f"{option}=example/{name}",))
        for tool, pattern, option, name in (
            ("ax", _axolotl, "base_model", "llama-tiny-gptq-4bit"),
            ("trl", _trl, "model_name_or_path", "llama-tiny-AWQ"),
            ("v1", _v1, "model", "llama-tiny-FP8"),
            ("chat", _chat, "model_name_or_path", "opt_tiny_GPTQ"),
        )
    },
    "trl mixture": _trl(
        1,
        {"dataset_name": None, "datasets": [{"path": "stanfordnlp/imdb"}, {"path": "example/more", "split": "a"}]},
        {"data.mix": [{"path": "hub:stanfordnlp/imdb", "format": "text"}, {"path": "hub:example/more", "split": "a"}]},
    ),
    "trl batch": _trl(
        11,
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 7, "num_processes": 3},
        {"train.micro_batch": 2, "train.global_batch": 42, "launch.processes": 3},
    ),
    "trl length": _trl(3, {"max_length": 700, "packing": True}, {"train.sequence_length": 700, "data.packing": True}),
    "trl wrapped": _trl(
        1,
        {"packing": True, "packing_strategy": "wrapped"},
        {"data.long_rows": "split"},
        commented=("packing_strategy=wrapped",),
    ),
    "trl lora": _trl(
        14,
        {"use_peft": True, "lora_r": 20, "lora_alpha": 10},
        {
            "adapter": "lora",
            "adapter.rank": 20,
            "adapter.alpha": 10.0,
            "adapter.dropout": 0.05,
            "adapter.targets": ["q_proj", "v_proj"],
        },
    ),
    "trl targets": _trl(
        4, {"use_peft": True, "lora_target_modules": ["all-linear"]}, {"adapter.targets": ["all-linear"]}
    ),
    "trl four bits": _trl(
        2, {"use_peft": True, "load_in_4bit": True}, {"adapter": "qlora"}, commented=("load_in_4bit",)
    ),
    "trl floor": _trl(
        1,
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.3}, "warmup_steps": 0.05},
        {"schedule": "cosine", "schedule.floor": 0.3, "schedule.warmup": "5%"},
    ),
    "trl dtype": _trl(3, {"dtype": "bfloat16", "attn_implementation": "eager"}, {"train.precision": "bf16"}),
    "trl evaluation": _trl(
        4,
        {"eval_strategy": "steps", "eval_steps": 60},
        {"evaluation.every": "60 steps", "data.validation_split": "test"},
    ),
    "trl trackers": _trl(
        6,
        {"report_to": "trackio", "push_to_hub": True},
        {"tracking": "files"},
        commented=("report_to=trackio", "push_to_hub=True"),
    ),
    "trl accelerate": _trl(9, {"accelerate_config": "zero2"}, {"parallel": "zero2", "launch.processes": 8}),
    "trl jobs": _trl(1, {"flavor": "small", "timeout": "1h"}, commented=("flavor=small", "timeout=1h")),
    "trl answers": _trl(0, {"assistant_only_loss": True}, {"data.train_on": "response"}),
    "chat plain": _chat(
        12,
        {
            "per_device_train_batch_size": 5,
            "max_seq_len": 300,
            "weight_decay": 0.1,
            "num_train_epochs": 2,
            "lr_scheduler_type": "cosine",
            "num_warmup_steps": 0,
            "seed": 1234,
            "gradient_checkpointing": True,
            "zero_stage": 2,
        },
        {
            "model": "opt-350m",
            "train.micro_batch": 5,
            "train.sequence_length": 300,
            "optimizer.weight_decay": 0.1,
            "train.epochs": 2.0,
            "parallel": "zero2",
            "train.precision": "fp16",
            "data.train_on": "all",
            "optimizer.betas": [0.9, 0.95],
            "data.packing": False,
            "data.template": "joined",
            "data.format": "chosen",
        },
    ),
    "chat four sets": _chat(
        10,
        {"data_path": ["Dahoas/rm-static", "Dahoas/full-hh-rlhf"], "data_split": "2,4,4"},
        {
            "data.mix": [
                {"path": "hub:Dahoas/rm-static", "format": "chosen", "epochs": 0.2},
                {"path": "hub:Dahoas/full-hh-rlhf", "format": "chosen", "epochs": 0.2},
            ]
        },
        commented=("data_split",),
    ),
    "chat other sets": _chat(2, {"data_path": "mkqa-Japanese"}, refused=("data_path=mkqa-Japanese",)),
    "chat offload": _chat(1, {"zero_stage": 3, "offload": True}, {"parallel": "zero3_offload"}),
    "chat tensorboard": _chat(2, {"enable_tensorboard": True}, commented=("enable_tensorboard=True",)),
    "chat gpus": _chat(
        13, {"num_gpus": 2, "per_device_train_batch_size": 4}, {"launch.processes": 2, "train.global_batch": 8}
    ),
    "chat later steps": _chat(0, {"actor_model_name_or_path": "x/y"}, refused=("actor_model_name_or_path=x/y",)),
}

BUILT_LATER: dict[str, Pattern] = {
    "ax validation share": _axolotl(106, {"val_set_size": 0.07}, {"data.validation_share": 0.07}),
    "lf validation share": _factory(0, {"val_size": 0.2}, {"data.validation_share": 0.2}),
    "ax trained layers": _axolotl(
        8,
        {"unfrozen_parameters": ["^lm_head.weight$", r"model.layers.1[0-9]+.mlp"]},
        {"model.train_only": ["lm_head.weight", "model.layers.1?*.mlp*"]},
    ),
    "ax part of a weight": _axolotl(
        1, {"unfrozen_parameters": ["^a.weight$[:9]"]}, refused=("unfrozen_parameters=^a.weight$[:9]",)
    ),
    "lf trained layers": _factory(
        1, {"finetuning_type": "freeze", "freeze_trainable_layers": 3}, refused=("freeze_trainable_layers=3",)
    ),
    "ax 8-bit weights": _axolotl(25, {**_LORA, "load_in_8bit": True}, {"adapter": "lora_8bit"}),
    "ax 8 bits without an adapter": _axolotl(0, {"load_in_8bit": True}, refused=("load_in_8bit",)),
    "trl 8-bit weights": _trl(1, {"use_peft": True, "load_in_8bit": True}, {"adapter": "lora_8bit"}),
    "lf 8-bit weights": _factory(0, {"quantization_bit": 8}, {"adapter": "lora_8bit"}),
    "ax other ends": _axolotl(
        29,
        {"special_tokens": {"eos_token": "<end>", "bos_token": "<begin>", "pad_token": "<pad>"}},
        {"model.special_tokens": {"eos_token": "<end>", "bos_token": "<begin>"}},
    ),
    "ax new tokens": _axolotl(5, {"tokens": ["<new>", "<newer>"]}, {"model.new_tokens": ["<new>", "<newer>"]}),
    "trl other end": _trl(4, {"eos_token": "<end>"}, {"model.special_tokens": {"eos_token": "<end>"}}),
    "lf new tokens": _factory(0, {"add_tokens": "<a>,<b>"}, {"model.new_tokens": ["<a>", "<b>"]}),
    "lf lora+": _factory(1, {"loraplus_lr_ratio": 12.0}, {"adapter.lr_ratio_b": 12.0}),
    "lf noise": _factory(0, {"neftune_noise_alpha": 4}, {"train.neftune": 4.0}),
    "chat lora alone": _chat(
        2,
        {"lora_dim": 64, "only_optimize_lora": True, "lora_module_name": "decoder.layers."},
        {"adapter": "lora", "adapter.rank": 64, "adapter.alpha": 1.0, "optimizer.lr": 5e-4},
    ),
    "chat lora": _chat(6, {"lora_dim": 64, "lora_module_name": "layers."}, refused=("only_optimize_lora",)),
}
PATTERNS |= BUILT_LATER
