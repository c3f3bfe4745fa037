"""Vocabulary: whether a model and its tokenizer go together: rows of the embedding, ids of special tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tunefleet.base.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def check_vocabulary(vocab_rows: int, tokenizer: Any) -> None:
    """Raises `ConfigError` where the tokenizer has an id beyond the model's embedding of `vocab_rows` tokens.

    Not the number of tokens but the largest id counts: a vocabulary may have holes.
    """
    token, largest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if largest >= vocab_rows:
        raise ConfigError(
            f"model.tokenizer: its token {token!r} has the id {largest}, and the model only {vocab_rows} embeddings "
            f"(0 to {vocab_rows - 1}). Give the model's own tokenizer with model.tokenizer=FOLDER."
        )


def lengthen(model: PreTrainedModel, tokenizer: Any) -> None:
    """Gives the embedding and the output projection of `model` a row for every token of `tokenizer`.

    New rows are the mean of those that are there, in double precision: the same on every machine, and likely at first.
    Raises `ConfigError` where the tokenizer's ids have a hole.
    """
    embedding: Any = model.get_input_embeddings()
    vocabulary = tokenizer.get_vocab()
    rows, needed = embedding.weight.shape[0], max(vocabulary.values()) + 1
    if needed <= rows:
        return
    if needed > rows + len(vocabulary):  # ids with a hole that no tokenizer has: memory would be taken for each
        raise ConfigError(
            f"model.tokenizer: it has an id of {needed - 1:,} and {len(vocabulary):,} tokens, and the model {rows:,} "
            "embeddings. Its tokenizer.json is damaged, or another model's."
        )
    model.resize_token_embeddings(needed, mean_resizing=False)
    modules: tuple[Any, ...] = (model.get_input_embeddings(), model.get_output_embeddings())
    for module in modules:
        for weight in (module.weight, getattr(module, "bias", None)) if module is not None else ():
            if weight is not None:
                weight.data[rows:] = weight.data[:rows].double().mean(0).to(weight.dtype)


def special_ids(tokenizer: Any) -> dict[str, int | None]:
    """The ids of the tokenizer by a config.json's names; a padding token that is another one too is none.

    A model's `pad_token_id` is the row of the embedding that stays zero and is never trained.
    """
    ids: dict[str, int | None] = {name: getattr(tokenizer, name) for name in _IDS}
    if ids["pad_token_id"] in (ids["bos_token_id"], ids["eos_token_id"]):
        ids["pad_token_id"] = None
    return ids


def other_ids(architecture: Mapping[str, Any], tokenizer: Any) -> dict[str, tuple[Any, Any]]:
    """Special ids that `architecture` names otherwise than the tokenizer: (the architecture's, the tokenizer's)."""
    ids = special_ids(tokenizer)
    return {
        name: (architecture[name], ids[name])
        for name in _IDS
        if architecture.get(name) is not None and not _agrees(architecture[name], ids[name])
    }


def adopt_special_ids(model: PreTrainedModel, tokenizer: Any, is_models_own: bool) -> None:
    """Gives both configurations of `model` the tokenizer's special ids: with these it trains, and will be used.

    With the model's own tokenizer further ends of sequence of its files stay, and its padding row too, as transformers
    has them.
    """
    for name, value in special_ids(tokenizer).items():
        for config in (model.config, model.generation_config):
            if not (is_models_own and (value is None or _agrees(getattr(config, name, None), value))):
                setattr(config, name, value)
    embedding: Any = model.get_input_embeddings()
    if not is_models_own and getattr(embedding, "padding_idx", None) is not None:
        embedding.padding_idx = model.config.pad_token_id


def _agrees(model_ids: Any, value: int | None) -> bool:
    """A model may have several ends of sequence."""
    return value in model_ids if isinstance(model_ids, (list, tuple)) else bool(model_ids == value)
