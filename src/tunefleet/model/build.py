"""Building a model: from the files of a folder, or from scratch."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.initialization import no_init_weights

from tunefleet.base.errors import ConfigError
from tunefleet.libraries import transformers_private
from tunefleet.model import weight_files
from tunefleet.model.configuration import configuration, reason
from tunefleet.model.vocabulary import adopt_special_ids, check_vocabulary, lengthen, special_ids
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths.model_files import Sources


def attention(config: Any) -> str:
    """The implementation for the model of `config`: SDPA, or eager where its family has no SDPA.

    Both are exact with the learner's 4-D float mask. A config.json that asks for another one is not obeyed:
    flash attention takes no such mask.
    """
    family = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return "sdpa" if transformers_private.supports_sdpa(family) else "eager"


def build(
    sources: Sources,
    seed: int,
    gradient_checkpointing: bool = False,
    keep_file_dtype: bool = False,
    frozen_bits: int | None = None,
    tokenizer: Any = None,
) -> PreTrainedModel:
    """The model in fp32 on the CPU. From scratch, the weights depend on `seed` alone.

    It takes the special tokens of `tokenizer` for its own, where one is given.

    With `keep_file_dtype`, weights of files keep the dtype that they have there, and stay in the file until they
    are read (safetensors are mapped into memory); with `frozen_bits` they are quantised, on the GPU.

    Raises `ConfigError` where the files do not hold every weight, or the family has no gradient checkpointing.
    """
    config = configuration(sources)
    if sources.weights:
        weight_files.expect_fitting(Path(sources.weights), config)
        formats = {"use_safetensors": None if sources.allow_pickle else True}
        quantisation = _quantised(frozen_bits) if frozen_bits else {}
        model = _pretrained(sources.weights, config, keep_file_dtype, {**formats, **quantisation})
    else:
        weight_files.expect_possible(config, "model.architecture")
        model = _from_scratch(config, seed, tokenizer)
    if tokenizer is not None:
        if sources.new_tokens:
            lengthen(model, tokenizer)
        check_vocabulary(model.get_input_embeddings().weight.shape[0], tokenizer)
        adopt_special_ids(model, tokenizer, is_models_own=sources.weights == sources.tokenizer)
    model.config.use_cache = False
    if gradient_checkpointing:
        if not model.supports_gradient_checkpointing:
            raise ConfigError(
                f"train.gradient_checkpointing: transformers has none for the family {model.config.model_type}. "
                "Use train.gradient_checkpointing=false."
            )
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def read_export(folder: Path, dtype: torch.dtype | str, base: Path | None = None) -> PreTrainedModel:
    """The exported model in `folder`, in `dtype`; where it is an adapter alone, on the model in `base`.

    Raises `ConfigError` where its files are not whole, or not of one model.
    """
    config = configuration(Sources(str(base or folder), "", Architecture({})))
    weight_files.expect_fitting(base or folder, config)
    if base:
        weight_files.expect_fitting_adapter(folder)
    with weight_files.reading(base or folder):
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder,
            attn_implementation=attention(config),
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    return model


def _from_scratch(config: PreTrainedConfig, seed: int, tokenizer: Any) -> PreTrainedModel:
    if tokenizer is not None:
        for name, value in special_ids(tokenizer).items():  # before there are weights: padding has a row of zeros
            setattr(config, name, value)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention(config), trust_remote_code=False)
    return model.to(torch.float32)


def _quantised(bits: int) -> dict[str, Any]:
    """The settings of `from_pretrained` for weights of 4 bits (NF4, Dettmers et al., 2023) or 8 (LLM.int8, Dettmers et
    al., 2022), on this process's GPU.
    """
    four_bits = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    settings = (
        BitsAndBytesConfig(load_in_8bit=True)
        if bits == 8
        else BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16, **four_bits)
    )
    return {"quantization_config": settings, "device_map": {"": torch.cuda.current_device()}, "dtype": torch.bfloat16}


def _pretrained(
    folder: str, config: PreTrainedConfig, keep_file_dtype: bool, settings: dict[str, Any]
) -> PreTrainedModel:
    with weight_files.reading(Path(folder)):
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                attn_implementation=attention(config),
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                **{"dtype": "auto" if keep_file_dtype else torch.float32, **settings},
            )
        except (OSError, ValueError, UnpicklingError) as error:
            raise ConfigError(f"model.path: {folder} cannot be loaded: {reason(error)}") from None
    missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if missing:
        raise ConfigError(
            f"model.path: {folder} lacks {len(missing)} weights of its architecture, such as {missing[0]}. "
            "They would be random. Get the whole model, or set model.init=random."
        )
    if keep_file_dtype:
        _exact_constants(model)
    return model


def _exact_constants(model: PreTrainedModel) -> None:
    """Gives constants that are in no file (Gemma's scale, XGLM's sinusoids) the values that they have in fp32."""
    with no_init_weights(), init_empty_weights(include_buffers=False):
        kind = attention(model.config)
        reference = AutoModelForCausalLM.from_config(
            model.config, attn_implementation=kind, dtype=torch.float32, trust_remote_code=False
        )
    loaded = model.state_dict()
    for name, constant in reference.named_buffers():
        if constant.is_floating_point():
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, loaded[name].float() if name in loaded else constant)
