"""LLaMA-Factory's options, each with its counterpart, in the form of its YAML files with `stage`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunefleet.imports.option import (
    Kind,
    Options,
    Outcome,
    as_bool,
    as_float,
    as_int,
    as_list,
    as_text,
    choices,
    equal,
    implied,
    inert,
    joint,
    missing,
    other_training,
    switch,
)
from tunefleet.imports.trainer_options import DOUBLE_QUANTISATION, KERNELS, OTHER_LOSS, TRAINER_OPTIONS, VISION

_ENGINE = "is a knob of Megatron's engine"
_KT = "is another engine: KTransformers computes experts on the CPU"
_OFT = "is another adapter than LoRA"
_FP8 = "computes in 8-bit floats"
_PREFERENCES = "training on preferences (DPO, KTO, ORPO, SimPO)"
_OPTIMIZER = "is an update rule that tunefleet does not have"
_TEMPLATE = (
    "is written by the tokenizer's own chat template here, which may differ from LLaMA-Factory's in its system text"
)

_STAGES: Mapping[str, Mapping[str, Any] | Outcome] = {
    "sft": {},
    "pt": Outcome(
        Kind.OTHER_TRAINING, {}, "is pre-training on plain text: data.format=text reads it, without an import"
    ),
    **{
        stage: Outcome(Kind.OTHER_TRAINING, {}, f"is {training}, and tunefleet does supervised fine-tuning on text")
        for stage, training in {
            "dpo": _PREFERENCES,
            "kto": _PREFERENCES,
            "rm": "training of a reward model",
            "ppo": "reinforcement learning",
        }.items()
    },
}

OPTIONS: Options = {
    **TRAINER_OPTIONS,
    # what is trained
    "stage": choices("", _STAGES, "is a stage that tunefleet does not know"),
    "model_name_or_path": joint("`model=hf model.path`"),
    "model_revision": missing("names a version of the model, which model.path cannot: fetch it into a folder"),
    "finetuning_type": choices(
        "`adapter`",
        {
            "full": {"adapter": "none"},
            "lora": {"adapter": "lora"},
            "freeze": {"adapter": "none"},
            "oft": Outcome(Kind.MISSING, {}, _OFT),
        },
        "is a way to train that tunefleet does not know",
    ),
    "adapter_name_or_path": missing("starts from an adapter that is trained already"),
    "lora_rank": equal("adapter.rank", as_int),
    "lora_alpha": equal("adapter.alpha", as_float),
    "lora_dropout": equal("adapter.dropout", as_float),
    "lora_target": joint("`adapter.targets`"),
    "use_rslora": equal("adapter.rslora", as_bool),
    "use_dora": equal("adapter.dora", as_bool),
    "loraplus_lr_ratio": equal("adapter.lr_ratio_b", as_float),
    "loraplus_lr_embedding": missing("gives embeddings beside an adapter a rate of their own"),
    "additional_target": missing("trains whole layers beside the adapter"),
    "create_new_adapter": implied("an adapter is new"),
    "pissa_init": missing("starts A and B from singular vectors"),
    "pissa_iter": missing("starts A and B from singular vectors"),
    "pissa_convert": missing("starts A and B from singular vectors"),
    "oft_block_size": missing(_OFT),
    "oft_target": missing(_OFT),
    "oft_rank": missing(_OFT),
    "freeze_trainable_layers": missing("trains some layers by their number: name them in model.freeze by hand"),
    "freeze_trainable_modules": missing("trains some layers by their number: name them in model.freeze by hand"),
    "freeze_extra_modules": missing("trains some layers by their number: name them in model.freeze by hand"),
    "use_llama_pro": missing("adds blocks to the model"),
    "mixture_of_depths": missing("is another architecture"),
    "quantization_bit": joint("`adapter=qlora` or `lora_8bit`", "4 bits (NF4) or 8"),
    "quantization_method": choices("", {"bnb": {}, "bitsandbytes": {}}, "quantises otherwise than bitsandbytes"),
    "quantization_type": choices("", {"nf4": {}}, "is another type of 4 bits than NF4"),
    "double_quantization": switch(
        "", {}, Outcome(Kind.APPROXIMATE, {}, f"{DOUBLE_QUANTISATION}: a little less memory")
    ),
    "rope_scaling": missing("changes the model's positions: model.architecture can say it by hand"),
    "resize_vocab": implied("the embedding gets a row for every token"),
    "add_tokens": equal("model.new_tokens", as_list),
    "add_special_tokens": equal("model.new_tokens", as_list),
    "use_fast_tokenizer": implied("tokenizers are fast ones"),
    "split_special_tokens": missing("reads special tokens in texts letter by letter"),
    "flash_attn": inert(KERNELS),
    "enable_liger_kernel": inert(KERNELS),
    "use_v1_kernels": inert(KERNELS),
    "use_unsloth": inert(KERNELS),
    "use_unsloth_gc": inert(KERNELS),
    "use_cache": implied("nothing is kept of earlier tokens while training"),
    "shift_attn": missing("is attention in groups, which is not what the model does"),
    "upcast_layernorm": implied("norms are computed in fp32"),
    "upcast_lmhead_output": implied("the loss is computed in fp32"),
    "low_cpu_mem_usage": implied("weights are read one by one"),
    "cache_dir": implied("models are where the hub's cache has them"),
    "hf_hub_token": implied("nothing is fetched while training"),
    "disable_gradient_checkpointing": joint("`train.gradient_checkpointing`"),
    "pure_bf16": switch("`train.master_weights=false`", {"train.precision": "bf16", "train.master_weights": False}),
    # data
    "dataset": joint("`data.path` or `data.mix`", "read from dataset_info.json"),
    "dataset_dir": joint("", "the folder of dataset_info.json"),
    "eval_dataset": joint("`data.validation_path`"),
    "template": choices(
        "`data.template`",
        {"llama3": {"data.template": "llama-3"}},
        Outcome(Kind.APPROXIMATE, {"data.template": "auto"}, _TEMPLATE),
    ),
    "enable_thinking": implied("answers are trained as they are written"),
    "cutoff_len": equal("train.sequence_length", as_int),
    "max_samples": joint("`data.max_rows`"),
    "val_size": joint("`data.validation_share`, or `data.validation_rows`"),
    "mask_history": switch("`data.train_on=last`", {"data.train_on": "last"}),
    "train_on_prompt": switch("`data.train_on=all`", {"data.train_on": "all"}),
    "packing": switch(
        "`data.packing`",
        Outcome(Kind.APPROXIMATE, {"data.packing": True}, "lets packed conversations see each other; here they do not"),
        {"data.packing": False},
    ),
    "neat_packing": switch("`data.packing`", {"data.packing": True}),
    "mix_strategy": joint("`data.mix`"),
    "interleave_probs": joint("`data.mix.*.weight`"),
    "tool_format": implied("goes by the template"),
    "default_system": missing("puts a system text before conversations without one"),
    "tokenized_path": equal("data.cache", as_text),
    "streaming": inert("reads while training; here rows are prepared first, in bounded memory"),
    "buffer_size": inert("reads while training; here rows are prepared first, in bounded memory"),
    "overwrite_cache": implied("prepared data are named by their content"),
    "preprocessing_num_workers": implied("rows are prepared in threads"),
    "preprocessing_batch_size": implied("rows are prepared as they stream by"),
    "ignore_pad_token_for_loss": implied("padding is never in the loss"),
    "eval_num_beams": inert("is how answers are searched for"),
    "data_shared_file_system": implied("data.cache may be shared"),
    # records
    "plot_loss": implied("is drawn always"),
    "include_effective_tokens_per_second": implied("is recorded always"),
    "compute_accuracy": inert("measures the accuracy of tokens"),
    "use_swanlab": inert("is a tracker that tunefleet does not write to"),
    "swanlab_project": inert("is a tracker that tunefleet does not write to"),
    "swanlab_run_name": inert("is a tracker that tunefleet does not write to"),
    "swanlab_mode": inert("is a tracker that tunefleet does not write to"),
    "early_stopping_steps": equal("train.early_stopping.patience", as_int),
    # other optimizers and losses
    **dict.fromkeys(
        (
            *(
                "use_galore",
                "galore_layerwise",
                "galore_target",
                "galore_rank",
                "galore_scale",
                "galore_update_interval",
            ),
            *("use_apollo", "apollo_layerwise", "apollo_target", "apollo_rank", "apollo_scale", "apollo_scale_type"),
            *(
                "use_badam",
                "badam_mode",
                "badam_switch_mode",
                "badam_switch_interval",
                "badam_verbose",
                "use_adam_mini",
            ),
        ),
        missing(_OPTIMIZER),
    ),
    "use_muon": switch("`optimizer=muon`", {"optimizer": "muon"}),
    **dict.fromkeys(
        ("use_asft_loss", "asft_alpha", "use_dft_loss", "use_eaft_loss", "eaft_alpha"), missing(OTHER_LOSS)
    ),
    **dict.fromkeys(("fp8", "fp8_backend", "fp8_enable_fsdp_float8_all_gather"), missing(_FP8)),
    "moe_aux_loss_coef": missing("adds a loss of the router"),
    # engines
    "use_ray": inert("is Ray's launcher: launch.processes is ours"),
    "ray_num_workers": inert("is Ray's launcher: launch.processes is ours"),
    "ray_run_name": inert("is Ray's launcher"),
    "ray_storage_path": inert("is Ray's launcher"),
    "placement_strategy": inert("is Ray's launcher"),
    "resources_per_worker": inert("is Ray's launcher"),
    "tensor_model_parallel_size": joint("`parallel.tensor`"),
    "pipeline_model_parallel_size": joint("`parallel.pipeline`"),
    "context_parallel_size": joint("`parallel.sequence`"),
    "expert_model_parallel_size": missing("divides experts over processes", 1),
    **dict.fromkeys(
        (
            *("sequence_parallel", "use_distributed_optimizer", "overlap_param_gather", "overlap_grad_reduce"),
            *("bias_activation_fusion", "apply_rope_fusion", "moe_grouped_gemm", "moe_token_dispatcher_type"),
            *("recompute_num_layers", "recompute_method"),
        ),
        inert(_ENGINE),
    ),
    "mixed_precision": choices(
        "`train.precision`",
        {
            "bf16_mixed": {"train.precision": "bf16"},
            "bf16": {"train.precision": "bf16"},
            "fp16": {"train.precision": "fp16"},
        },
        "is a precision that tunefleet does not have",
    ),
    "use_packed_sequences": equal("data.packing", as_bool),
    "recompute_granularity": choices(
        "`train.gradient_checkpointing`",
        {"full": {"train.gradient_checkpointing": True}, "selective": {"train.gradient_checkpointing": True}},
        "recomputes otherwise",
    ),
    "export_hf_on_finish": equal("checkpoint.export", as_bool),
    **dict.fromkeys(
        ("use_kt", "kt_config", "kt_cpu_activation", "kt_weight_path", "kt_non_expert_weight_path", "kt_optimize_rule"),
        missing(_KT),
    ),
    # other kinds of training
    **dict.fromkeys(
        ("pref_beta", "pref_loss", "pref_ftx", "ref_model", "dpo_label_smoothing"), other_training(_PREFERENCES)
    ),
    **dict.fromkeys(("reward_model", "reward_model_type", "ppo_epochs"), other_training("reinforcement learning")),
    **dict.fromkeys(
        (
            *(
                "image_max_pixels",
                "image_min_pixels",
                "video_max_pixels",
                "video_fps",
                "video_maxlen",
                "audio_sampling_rate",
            ),
            *("freeze_vision_tower", "freeze_multi_modal_projector", "freeze_language_model", "media_dir"),
        ),
        other_training(VISION),
    ),
    "export_dir": other_training("a merge of an adapter: `tunefleet export` is ours"),
}
