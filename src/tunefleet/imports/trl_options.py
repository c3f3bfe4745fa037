"""TRL's options of supervised fine-tuning, each with its counterpart: SFTConfig, ModelConfig, ScriptArguments."""

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
from tunefleet.imports.trainer_options import KERNELS, OTHER_LOSS, TRAINER_OPTIONS, VISION

_JOBS = "is Hugging Face Jobs' launcher"
_LOADING = "is how the model is loaded, and not what is trained"
_DTYPES: Mapping[str, Mapping[str, Any]] = {
    "bfloat16": {"train.precision": "bf16"},
    "float16": {"train.precision": "fp16"},
    "float32": {},
    "auto": {},
}
_PREFERENCES = "training on preferences or by reinforcement"

OPTIONS: Options = {
    **TRAINER_OPTIONS,
    # model
    "model_name_or_path": joint("`model=hf model.path`"),
    "model_revision": missing("names a version of the model, which model.path cannot: fetch it into a folder", "main"),
    "dtype": choices("`train.precision`", _DTYPES, "is a precision that tunefleet does not have"),
    "torch_dtype": choices("`train.precision`", _DTYPES, "is a precision that tunefleet does not have"),
    "attn_implementation": choices("", {"sdpa": {}, "eager": {}}, Outcome(Kind.INERT, {}, KERNELS)),
    "use_peft": switch("`adapter=lora`", {"adapter": "lora"}, {"adapter": "none"}),
    "lora_r": equal("adapter.rank", as_int),
    "lora_alpha": equal("adapter.alpha", as_float),
    "lora_dropout": equal("adapter.dropout", as_float),
    "lora_target_modules": joint("`adapter.targets`"),
    "lora_target_parameters": missing("puts an adapter on expert tensors"),
    "lora_modules_to_save": missing("trains whole layers beside the adapter"),
    "lora_task_type": implied("is causal language modelling"),
    "use_rslora": equal("adapter.rslora", as_bool),
    "use_dora": equal("adapter.dora", as_bool),
    "load_in_4bit": joint("`adapter=qlora`"),
    "load_in_8bit": joint("`adapter=lora_8bit`"),
    "bnb_4bit_quant_type": choices("", {"nf4": {}}, "is another type of 4 bits than NF4"),
    "use_bnb_nested_quant": joint("", "qlora always quantises the constants too"),
    "bnb_4bit_quant_storage": implied(_LOADING),
    "bnb_4bit_compute_dtype": implied("4-bit weights are computed with in bf16"),
    "model_init_kwargs": joint("", "`dtype` and `attn_implementation` inside of it"),
    # data
    "dataset_name": joint("`data.path=hub:NAME`"),
    "dataset_config": equal("data.subset", as_text),
    "dataset_train_split": equal("data.split", as_text),
    "dataset_test_split": joint("`data.validation_split`"),
    "dataset_streaming": inert("reads while training; here rows are prepared first, in bounded memory"),
    "dataset_text_field": joint("`data.columns.text`"),
    "dataset_kwargs": joint(""),
    "dataset_num_proc": implied("rows are prepared in threads"),
    "datasets": joint("`data.mix`"),
    "streaming": inert("reads while training; here rows are prepared first, in bounded memory"),
    "test_split_size": equal("data.validation_share", as_float),
    "chat_template_path": equal("data.template", as_text),
    "eos_token": joint("`model.special_tokens.eos_token`"),
    "pad_token": implied("padding is never in the loss"),
    "max_length": joint("`train.sequence_length`"),
    "max_seq_length": joint("`train.sequence_length`"),
    "truncation_mode": choices("", {"keep_start": {}}, "cuts the beginning of long rows"),
    "packing": equal("data.packing", as_bool),
    "packing_strategy": choices(
        "`data.packing`",
        {
            "bfd": {},
            "bfd_split": {"data.long_rows": "split"},
            "wrapped": Outcome(
                Kind.APPROXIMATE, {"data.long_rows": "split"}, "joins all rows and cuts them; here rows stay whole"
            ),
        },
        "is a way to pack that tunefleet does not know",
    ),
    "eval_packing": implied("validation rows are not packed"),
    "padding_free": inert("leaves padding out: data.packing=true does so here"),
    "pad_to_multiple_of": implied("is how rows are padded"),
    "assistant_only_loss": switch("`data.train_on=response`", {"data.train_on": "response"}),
    "completion_only_loss": switch("`data.train_on`", {"data.train_on": "response"}, {"data.train_on": "all"}),
    "loss_type": choices("", {"nll": {}, "chunked_nll": {}}, OTHER_LOSS),
    "activation_offloading": inert("keeps activations in host memory"),
    "shuffle_dataset": implied("the order is drawn always"),
    "gradient_accumulation_plugin": implied(_LOADING),
    # launchers
    "num_processes": joint("`launch.processes`"),
    "config": joint("", "a file of the same options, read first"),
    "config_file": joint("`parallel`", "accelerate's file, by its name"),
    "accelerate_config": joint("`parallel`", "accelerate's file, by its name"),
    **dict.fromkeys(("flavor", "timeout", "secrets", "env", "namespace", "token", "detach"), inert(_JOBS)),
    # other kinds of training
    **dict.fromkeys(
        (
            "beta",
            "desirable_weight",
            "undesirable_weight",
            "reward_funcs",
            "reward_model_path",
            "num_generations",
            "ref_model",
        ),
        other_training(_PREFERENCES),
    ),
    "max_prompt_length": other_training(_PREFERENCES),
    "freeze_vision_tower": other_training(VISION),
}
