"""Configuration of transformers for a plan's architecture: every setting obeyed, or refused."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Iterator
from pickle import UnpicklingError
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, GenerationConfig, PreTrainedConfig

from tunefleet.base.errors import ConfigError
from tunefleet.plan.families.config_json import is_dropout
from tunefleet.plan.paths.model_files import Sources

_ABOUT_FILES = ("torch_dtype", "dtype", "transformers_version", "_name_or_path")  # of a config.json, not of a model
_ALWAYS_KNOWN = {*_ABOUT_FILES, "architectures", "model_type", "head_dim"}  # head_dim is read without being declared


def configuration(sources: Sources) -> PreTrainedConfig:
    """The configuration of a model. Raises `ConfigError` for changes that the family has no setting for."""
    try:
        config = _read(sources)
    except Exception as error:  # of many kinds: a missing key, a value out of range, an unknown family
        subject = f"model.path: {sources.weights}" if sources.weights else "model.architecture"
        raise ConfigError(f"{subject} cannot be loaded: {reason(error)}") from None
    if complaints := [_unknown(config, key) for key in sources.changed if not _knows(config, key)]:
        raise ConfigError(*complaints)
    if sources.dropout is not None:
        _set_dropouts(config, sources.dropout)
    return config


def reason(error: Exception) -> str:
    """Why transformers cannot load files, without the advice to run what is in them."""
    if isinstance(error, UnpicklingError):
        return "its weights are a pickle that holds more than weights, none of which was run. Get safetensors."
    if "trust_remote_code" in str(error):
        return "it brings Python code of its own, which is never run here. Use a family that transformers itself has."
    return " ".join(str(error).split("Should contain one of")[0].split())  # it goes on to list every family that it has


def _read(sources: Sources) -> PreTrainedConfig:
    config: PreTrainedConfig
    if sources.weights and not sources.architecture.config:
        config = AutoConfig.from_pretrained(sources.weights, local_files_only=True, trust_remote_code=False)
        return config
    values = copy.deepcopy(sources.architecture.to_json())  # transformers writes into nested mappings
    if not sources.weights:
        values = {key: value for key, value in values.items() if key not in _ABOUT_FILES}
    if values["model_type"] == "mistral" and "layer_types" in values:  # as transformers reads its files
        values["model_type"] = "ministral"
    config = AutoConfig.for_model(**values)
    return config


def _knows(config: PreTrainedConfig, key: str) -> bool:
    """Whether the family of `config` has a setting `key`: transformers keeps any other key too, and looks at none."""
    kind = type(config)
    declared = set(_declared(config))
    if key in declared or key in kind.attribute_map or key in _ALWAYS_KNOWN:
        return True
    if key == "rope_scaling":
        return "rope_parameters" in declared
    is_old_name = key not in vars(config)  # by a reader of older names, such as rope_theta
    return (is_old_name and key not in GenerationConfig().to_dict()) or hasattr(kind, key)


def _declared(config: PreTrainedConfig) -> Iterator[str]:
    for kind in type(config).__mro__:
        yield from vars(kind).get("__annotations__", {})


def _unknown(config: PreTrainedConfig, key: str) -> str:
    names = sorted({name for name in _declared(config) if not name.startswith("_")})
    similar = difflib.get_close_matches(key, names, n=1) or [
        name for name in names if is_dropout(key) and is_dropout(name)
    ]
    hint = f" Did you mean {' or '.join(similar)}?" if similar else " Leave it out."
    return f"model.architecture.{key}: the family {config.model_type} has no such setting.{hint}"


def _set_dropouts(config: PreTrainedConfig, dropout: float) -> None:
    """Every dropout of the family, also those that its config.json leaves out. Raises `ConfigError` without any."""
    changed = False
    for part in _parts(config):
        for name in [name for name in {*_declared(part), *vars(part)} if is_dropout(name)]:
            _set(part, name, dropout)
            changed = True
    if dropout and not changed:
        raise ConfigError(f"model.dropout: the family {config.model_type} has no dropout. Leave model.dropout out.")


def _set(config: PreTrainedConfig, name: str, dropout: float) -> None:
    try:
        setattr(config, name, dropout)
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise ConfigError(
            f"model.dropout: transformers takes no {dropout} for {name} of the family {config.model_type}. "
            "Set the others by their names: model.architecture={...}."
        ) from error


def _parts(config: PreTrainedConfig) -> Iterable[PreTrainedConfig]:
    inner: list[Any] = [getattr(config, name, None) for name in config.sub_configs]
    return [config, *(part for part in inner if isinstance(part, PreTrainedConfig))]
