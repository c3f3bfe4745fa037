"""Tokenizer: a fast one, loaded from a folder of this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from transformers import AddedToken, AutoTokenizer, GPT2Tokenizer, PreTrainedTokenizerFast

from tunefleet.base.errors import ConfigError
from tunefleet.libraries import tokenizer_panics
from tunefleet.model.configuration import reason
from tunefleet.plan.families.registry import family_of

NO_TOKENS: Mapping[str, str] = MappingProxyType({})


def load(
    folder: str, model_type: str, special_tokens: Mapping[str, str] = NO_TOKENS, new_tokens: Sequence[str] = ()
) -> Any:
    """The fast tokenizer in `folder`; `model_type` settles folders of only vocab.json and merges.txt.

    `new_tokens` are added to its vocabulary, and `special_tokens` take the place of its own. Raises `ConfigError` where
    the files are no fast tokenizer, or a special token is not in the vocabulary.
    """
    try:
        with tokenizer_panics.refused():
            tokenizer = _bare(Path(folder), model_type) or AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            tokenizer("a")  # settings of other types are no error before it is used
    except ConfigError:
        raise
    except Exception as error:  # the Rust library raises plain Exception for broken files
        raise ConfigError(f"model.tokenizer: {folder} cannot be loaded: {reason(error)}") from None
    if not isinstance(tokenizer, PreTrainedTokenizerFast) and not tokenizer.is_fast:
        raise ConfigError(f"model.tokenizer: {folder} has no fast tokenizer (tokenizer.json).")
    _set_tokens(tokenizer, special_tokens, new_tokens)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _set_tokens(tokenizer: Any, special_tokens: Mapping[str, str], new_tokens: Sequence[str]) -> None:
    if new_tokens:
        tokenizer.add_tokens([AddedToken(token, lstrip=False, rstrip=False, normalized=False) for token in new_tokens])
    vocabulary = tokenizer.get_vocab() if special_tokens else {}
    if unknown := [f"{name}={token}" for name, token in special_tokens.items() if token not in vocabulary]:
        raise ConfigError(
            *(
                f"model.special_tokens.{text} is not in the tokenizer's vocabulary. Add it: model.new_tokens=[...]."
                for text in unknown
            )
        )
    for name, token in special_tokens.items():
        setattr(tokenizer, name, token)


def _bare(folder: Path, model_type: str) -> Any | None:
    """A GPT-2 style byte-level BPE without a configuration, with the family's special tokens."""
    if (folder / "tokenizer.json").exists() or (folder / "tokenizer_config.json").exists():
        return None
    files = folder / "vocab.json", folder / "merges.txt"
    if not all(file.exists() for file in files):
        return None
    return GPT2Tokenizer(vocab=str(files[0]), merges=str(files[1]), **family_of(model_type).bpe_tokens)
