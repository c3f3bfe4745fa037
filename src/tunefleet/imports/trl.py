"""TRL's options of supervised fine-tuning: SFTConfig, ModelConfig and ScriptArguments, as YAML or a command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefleet.imports import model_names, row_sets, strategy_names
from tunefleet.imports.batch_settings import put_trainer_batch
from tunefleet.imports.draft import Draft
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
    OTHER_LOSS,
    TRAINER_OPTIONS,
    VISION,
    gather_trainer,
    put_adapter_defaults,
    trainer_defaults,
)

_JOBS = "is Hugging Face Jobs' launcher"
_LOADING = "is how the model is loaded, and not what is trained"
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
