"""config.json of a model: its files' or its published one, as `model.architecture` changes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.config.model import Init, ModelConfig
from tunefleet.plan.families import size_limits
from tunefleet.plan.families.architecture import Architecture

_CHANGEABLE = (
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "rope_local_base_freq",
    "rotary_emb_base",
    "max_position_embeddings",  # loading refuses it, where positions are weights
    "sliding_window",
    "use_sliding_window",
    "max_window_layers",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "layerdrop",
)
"""Besides dropouts, what may change although weights come from files: no weight's shape depends on it."""
_DROPOUT = re.compile(r"(^|_)(dropout|pdrop)(_|$)|drop_rate$")


def is_dropout(key: str) -> bool:
    """Whether `key` of a config.json is the probability of a dropout in a causal language model, in any family."""
    return bool(_DROPOUT.search(key)) and not re.search("classif|summary", key)


def read_architecture(model: ModelConfig, folder: Path | None, complaints: list[str]) -> Architecture:
    """The architecture of `model`, whose files are in `folder`; adds to `complaints` what cannot be.

    The base is the folder's config.json, else `model.published`; `model.architecture` changes it. From scratch an
    `architecture` with a model_type is all there is to say, and has no base.
    """
    base, changes, scratch = _base(model, folder, complaints), model.architecture, model.init is Init.RANDOM
    if scratch and "model_type" in changes:
        base = {}
    if not base and "model_type" not in changes:
        if not complaints and (scratch or folder):
            complaints.append(
                f"model.architecture: nothing says what {model.name} looks like. Choose a model=..., "
                "or point model.path at a folder with a config.json."
            )
        return Architecture({})
    if not scratch:
        complaints += _contradictions(base, changes, folder)
    changed = Architecture(_with_dropout(_merged(base, changes, complaints), model.dropout))
    if impossible := size_limits.complaints(changed.config):
        source = f"{folder / 'config.json'}" if folder and base else "model.architecture"
        complaints += [f"{source}: {message}." for message in impossible]
        return Architecture({})
    try:
        return changed.with_layers(model.num_layers) if scratch and model.num_layers else changed
    except ValueError as error:
        complaints.append(f"model.num_layers: {error}. Leave model.num_layers out.")
        return changed


def _base(model: ModelConfig, folder: Path | None, complaints: list[str]) -> dict[str, Any]:
    file = folder / "config.json" if folder else None
    if file and file.exists() and (model.init is Init.PRETRAINED or not model.published):
        if model.init is Init.RANDOM and "model_type" in model.architecture:
            return {}
        return _read(file, complaints)
    return dict(model.published)


def _read(path: Path, complaints: list[str]) -> dict[str, Any]:
    try:
        values = files.read_json(path)
        if isinstance(values, dict) and "model_type" in values:
            return values
        complaints.append(f"{path}: has no model_type, so it does not describe a model.")
    except (OSError, ValueError) as error:  # neither JSON nor UTF-8
        complaints.append(f"{path}: cannot be read: {error}.")
    return {}


def _contradictions(base: Mapping[str, Any], changes: Mapping[str, Any], folder: Path | None) -> list[str]:
    """Changes that the weights of `folder` do not go with."""
    named = folder / "config.json" if folder else "the published config.json"
    return [
        f"model.architecture.{key}: {value!r} does not go with the weights, and {named} has "
        f"{repr(base[key]) if key in base else 'no such key'}. Leave it out, or start from scratch with "
        "model.init=random. Dropouts, rotary embeddings and windows can be changed."
        for key, value in changes.items()
        if base.get(key) != value and not (is_dropout(key) or key in _CHANGEABLE)
    ]


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any], complaints: list[str]) -> dict[str, Any]:
    """`base` with `changes`; a group within it is changed key by key, unless the change says of which kind it is."""
    merged = dict(base)
    for key, value in changes.items():
        old = base.get(key)
        replaced = (
            not isinstance(value, Mapping) or not isinstance(old, Mapping) or {"type", "rope_type"} & value.keys()
        )
        merged[key] = value if replaced else {**old, **value}  # type: ignore[dict-item]
    if isinstance(base.get("rope_parameters"), Mapping) and {"rope_theta", "rope_scaling"} & changes.keys():
        return _in_rope_parameters(merged, changes, complaints)
    return merged


def _in_rope_parameters(merged: dict[str, Any], changes: Mapping[str, Any], complaints: list[str]) -> dict[str, Any]:
    """transformers 5 writes both into `rope_parameters`, and obeys what it says there."""
    rope = dict(merged["rope_parameters"])
    if any(isinstance(value, Mapping) for value in rope.values()):
        complaints.append(
            "model.architecture: this model's kinds of layers have rotary embeddings of their own. Set "
            f"model.architecture.rope_parameters, whose kinds are {', '.join(rope)}."
        )
        return merged
    if "rope_scaling" in changes:
        fixed = {key: rope[key] for key in ("rope_theta", "partial_rotary_factor") if key in rope}
        rope = {**fixed, **(changes["rope_scaling"] or {"rope_type": "default"})}
    if "rope_theta" in changes:
        rope["rope_theta"] = changes["rope_theta"]
    without_rope = {key: value for key, value in merged.items() if key not in ("rope_theta", "rope_scaling")}
    return {**without_rope, "rope_parameters": rope}


def _with_dropout(config: dict[str, Any], dropout: float | None) -> dict[str, Any]:
    """Every dropout that is written down; `model/configuration.py` sets those that a family has by default."""
    if dropout is None:
        return config
    return {key: dropout if is_dropout(key) else value for key, value in config.items()}
