"""How a trained model is written: the files of a folder that plain transformers loads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from tunefleet.base import delivery, files

_NOT_THE_TOKENIZERS = ("local_files_only", "is_local", "trust_remote_code", "cache_dir", "name_or_path", "token")
"""How a tokenizer was loaded, which transformers writes into its settings."""
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")


def export(
    folder: Path,
    model: PreTrainedModel,
    weights: dict[str, Tensor],
    tokenizer: Any,
    chat_template: str | dict[str, str],
    stops: Sequence[int] = (),
) -> None:
    """Writes `write`'s files to `folder`; a new folder appears whole or not at all."""
    with delivery.staging(folder) as staged:
        write(staged, model, weights, tokenizer, chat_template, stops)
        delivery.deliver(staged, folder, {})


def write(
    folder: Path,
    model: PreTrainedModel,
    weights: dict[str, Tensor],
    tokenizer: Any,
    chat_template: str | dict[str, str],
    stops: Sequence[int] = (),
) -> None:
    """Writes safetensors, config, tokenizer and chat template into `folder`.

    Its generation ends at the tokens `stops`; without them, where the model's own settings say.
    """
    config, generation = model.config, model.generation_config
    config.use_cache, used = True, config.use_cache
    own_head = has_own_head(model, weights)
    model.generation_config = _generation(model, tokenizer, stops)
    try:
        model.save_pretrained(folder, state_dict=dict(weights))  # it empties the mapping
    finally:
        config.use_cache, model.generation_config = used, generation
    if (folder / "config.json").exists():  # not with an adapter alone
        _correct(folder / "config.json", **_ids(tokenizer), **({"tie_word_embeddings": False} if own_head else {}))
    write_generation(folder, model, tokenizer, stops)
    write_tokenizer(folder, tokenizer, chat_template)


def write_without_weights(
    folder: Path, model: PreTrainedModel, tokenizer: Any, chat_template: str | dict[str, str], stops: Sequence[int]
) -> None:
    """What `write` would write beside the weights: for a look at it before there are any."""
    model.config.save_pretrained(folder)
    _correct(folder / "config.json", **_ids(tokenizer))
    write_generation(folder, model, tokenizer, stops)
    write_tokenizer(folder, tokenizer, chat_template)


def write_tokenizer(folder: Path, tokenizer: Any, chat_template: str | dict[str, str]) -> None:
    """The tokenizer as it is, not as it was called or loaded last, with the template of the training."""
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    own, tokenizer.chat_template = tokenizer.chat_template, chat_template
    try:
        tokenizer.save_pretrained(folder)
    finally:
        tokenizer.chat_template = own
    path = folder / "tokenizer_config.json"
    settings = files.read_json(path)
    files.write_json(path, {key: value for key, value in settings.items() if key not in _NOT_THE_TOKENIZERS})


def write_generation(folder: Path, model: PreTrainedModel, tokenizer: Any, stops: Sequence[int]) -> None:
    """The settings of generation, also beside an adapter alone."""
    settings = _generation(model, tokenizer, stops)
    if settings is not None:
        settings.save_pretrained(folder)


def _generation(model: PreTrainedModel, tokenizer: Any, stops: Sequence[int]) -> Any:
    """The model's settings of generation, with the ids of the tokenizer: those of the architecture may be another's.

    Values for sampling go where nothing samples (early Vicuna, Llama 2): transformers ignores them when it generates,
    and refuses to save them.
    """
    settings = copy.deepcopy(model.generation_config)
    if settings is not None and not settings.do_sample:
        for name in _SAMPLING:
            if getattr(settings, name, None) is not None:
                setattr(settings, name, None)
    if settings is not None and stops:
        settings.bos_token_id = tokenizer.bos_token_id
        settings.eos_token_id = list(stops) if len(stops) > 1 else stops[0]
        settings.pad_token_id = tokenizer.pad_token_id
    return settings


def has_own_head(model: PreTrainedModel, weights: dict[str, Tensor]) -> bool:
    """Whether the head among `weights` is not the embedding, whatever config.json says of it."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or embedding is None:
        return False
    names = {id(module): name for name, module in model.named_modules()}
    given = [weights.get(f"{names.get(id(module))}.weight") for module in (head, embedding)]
    if given[0] is None or given[1] is None or given[0].data_ptr() == given[1].data_ptr():
        return False
    return given[0].shape != given[1].shape or not bool((given[0] == given[1]).all())


def _ids(tokenizer: Any) -> dict[str, int | None]:
    """The special tokens of the tokenizer that was trained with. Padding with another special token is padding to
    nobody but the tokenizer: an embedding that is told of it would not learn that token.
    """
    pad = tokenizer.pad_token_id
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    return {"bos_token_id": known[0], "eos_token_id": known[1], "pad_token_id": None if pad in known else pad}


def _correct(path: Path, **values: Any) -> None:
    files.write_json(path, {**files.read_json(path), **values})
