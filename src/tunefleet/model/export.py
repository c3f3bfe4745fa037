"""Export of a trained model: the files of a folder that plain transformers loads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from tunefleet.base import delivery, files
from tunefleet.libraries import transformers_private

_NOT_THE_TOKENIZERS = ("local_files_only", "is_local", "trust_remote_code", "cache_dir", "name_or_path", "token")
"""How a tokenizer was loaded, which transformers writes into its settings."""
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")


def export(
    folder: Path,
    model: PreTrainedModel,
    weights: dict[str, Tensor],
    tokenizer: Any,
    chat_template: str | dict[str, str],
    stop_ids: Sequence[int] = (),
) -> None:
    """Writes `write`'s files to `folder`; a new folder appears whole or not at all."""
    with delivery.staging(folder) as staged:
        write(staged, model, weights, tokenizer, chat_template, stop_ids)
        delivery.deliver(staged, folder, {})


def write(
    folder: Path,
    model: PreTrainedModel,
    weights: dict[str, Tensor],
    tokenizer: Any,
    chat_template: str | dict[str, str],
    stop_ids: Sequence[int] = (),
    shard_bytes: int | None = None,
) -> None:
    """Writes safetensors, config, tokenizer and chat template into `folder`; files have at most `shard_bytes`.

    Its generation ends at the tokens `stop_ids`; without them, where the model's own settings say.
    """
    config, generation = model.config, model.generation_config
    config.use_cache, use_cache = True, config.use_cache
    own_head = has_own_head(model, weights)
    model.generation_config = _generation(model, tokenizer, stop_ids)
    try:
        sharding = {"max_shard_size": shard_bytes} if shard_bytes else {}
        with transformers_private.saving_plain():
            model.save_pretrained(folder, state_dict=dict(weights), **sharding)  # it empties the mapping
    finally:
        config.use_cache, model.generation_config = use_cache, generation
    if (folder / "config.json").exists():  # not with an adapter alone
        dtype = str(next(weight.dtype for weight in weights.values() if weight.is_floating_point()))
        facts = {"dtype": dtype.removeprefix("torch."), **({"tie_word_embeddings": False} if own_head else {})}
        _correct(folder / "config.json", **_ids(tokenizer), **facts)
    write_generation(folder, model, tokenizer, stop_ids)
    write_tokenizer(folder, tokenizer, chat_template)


def write_without_weights(
    folder: Path, model: PreTrainedModel, tokenizer: Any, chat_template: str | dict[str, str], stop_ids: Sequence[int]
) -> None:
    """What `write` would write beside the weights: for a look at it before there are any."""
    model.config.save_pretrained(folder)
    _correct(folder / "config.json", **_ids(tokenizer))
    write_generation(folder, model, tokenizer, stop_ids)
    write_tokenizer(folder, tokenizer, chat_template)


def write_tokenizer(folder: Path, tokenizer: Any, chat_template: str | dict[str, str]) -> None:
    """The tokenizer as it is, not as it was called or loaded last, with the template of the training."""
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    previous, tokenizer.chat_template = tokenizer.chat_template, chat_template
    try:
        tokenizer.save_pretrained(folder)
    finally:
        tokenizer.chat_template = previous
    path = folder / "tokenizer_config.json"
    settings = files.read_json(path)
    files.write_json(path, {key: value for key, value in settings.items() if key not in _NOT_THE_TOKENIZERS})


def write_generation(folder: Path, model: PreTrainedModel, tokenizer: Any, stop_ids: Sequence[int]) -> None:
    """The settings of generation, also beside an adapter alone."""
    settings = _generation(model, tokenizer, stop_ids)
    if settings is not None:
        settings.save_pretrained(folder)


def _generation(model: PreTrainedModel, tokenizer: Any, stop_ids: Sequence[int]) -> Any:
    """The model's settings of generation, with the ids of the tokenizer: those of the architecture may be another's.

    Values for sampling go where nothing samples (early Vicuna, Llama 2): transformers ignores them when it generates,
    and refuses to save them.
    """
    settings = copy.deepcopy(model.generation_config)
    if settings is not None and not settings.do_sample:
        for name in _SAMPLING:
            if getattr(settings, name, None) is not None:
                setattr(settings, name, None)
    if settings is not None and stop_ids:
        settings.bos_token_id = tokenizer.bos_token_id
        settings.eos_token_id = list(stop_ids) if len(stop_ids) > 1 else stop_ids[0]
        settings.pad_token_id = tokenizer.pad_token_id
    return settings


def has_own_head(model: PreTrainedModel, weights: dict[str, Tensor]) -> bool:
    """Whether the head among `weights` is not the embedding, whatever config.json says of it."""
    modules = model.get_output_embeddings(), model.get_input_embeddings()
    if None in modules:
        return False
    names = {id(module): name for name, module in model.named_modules()}
    head, embedding = (weights.get(f"{names.get(id(module))}.weight") for module in modules)
    if head is None or embedding is None or head.data_ptr() == embedding.data_ptr():
        return False
    return head.shape != embedding.shape or not bool((head == embedding).all())


def _ids(tokenizer: Any) -> dict[str, int | None]:
    """The special tokens of the tokenizer that was trained with. Padding with another special token is padding to
    the tokenizer alone: an embedding that had it as its padding would not train that token.
    """
    pad = tokenizer.pad_token_id
    end_ids = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    return {"bos_token_id": end_ids[0], "eos_token_id": end_ids[1], "pad_token_id": None if pad in end_ids else pad}


def _correct(path: Path, **values: Any) -> None:
    files.write_json(path, {**files.read_json(path), **values})
