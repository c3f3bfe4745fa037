"""Weight files of a model or an adapter: compared with the configuration beside them, before memory is taken for it.

transformers and peft allocate what config.json and adapter_config.json say, and look into the files afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import init_empty_weights
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, PreTrainedConfig

from tunefleet.base import files
from tunefleet.base.errors import ConfigError
from tunefleet.plan.families import size_limits
from tunefleet.plan.families.architecture import Architecture

_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_PACKED = 16  # numbers of a weight at most that a number of a file holds: files of quantised weights


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Within it, a file of `folder` that is no whole safetensors file is a `ConfigError` that names it."""
    try:
        yield
    except SafetensorError as error:
        name, message = _damaged(folder) or (folder, str(error))
        raise ConfigError(f"{name}: cannot be read: {message}. Get the file again.") from None


def expect_possible(config: PreTrainedConfig, source: str) -> None:
    """Raises `ConfigError` where a size in `config`, which `source` names, is beyond all models."""
    if impossible := size_limits.complaints(config.to_dict()):
        raise ConfigError(*(f"{source}: {message}." for message in impossible))


def expect_fitting(folder: Path, config: PreTrainedConfig) -> None:
    """Raises `ConfigError` where `config` describes a far larger model than the safetensors in `folder` hold."""
    expect_possible(config, str(folder / "config.json"))
    stored = sum(math.prod(shape) for shape in _shapes(sorted(folder.glob("*.safetensors"))).values())
    if stored and (described := _parameters(config)) > stored * _PACKED:
        raise ConfigError(
            f"{folder}: config.json describes a model of {described:,} parameters, and the files hold {stored:,}. "
            "They are not of one model: get both again."
        )


def expect_fitting_adapter(folder: Path) -> None:
    """Raises `ConfigError` where the adapter in `folder` is larger by its configuration than by its weights."""
    config_file, weights = (folder / name for name in _ADAPTER)
    try:
        config = files.read_json(config_file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{config_file}: cannot be read: {error}.") from None
    if not isinstance(config, Mapping):
        raise ConfigError(f"{config_file}: holds no settings of an adapter.")
    with reading(folder):
        shapes = _shapes([weights], strict=True)
    largest_rank = max((max(shape) for name, shape in shapes.items() if "lora_" in name and shape), default=0)
    patterns = config.get("rank_pattern")
    ranks = [config.get("r"), *(patterns.values() if isinstance(patterns, Mapping) else ())]
    wrong = [rank for rank in ranks if rank is not None and not (isinstance(rank, int) and 0 < rank <= largest_rank)]
    complaints = [f"has no matrices in {weights.name} for a rank of {str(rank)[:40]}" for rank in wrong]
    if complaints := [*complaints, *size_limits.complaints(config)]:
        raise ConfigError(*(f"{config_file}: {complaint}. Get both files again." for complaint in complaints))


def _parameters(config: PreTrainedConfig) -> int:
    """How many parameters the model of `config` has, counted without memory for them."""
    try:
        return Architecture(config.to_dict()).parameters.total
    except (ValueError, TypeError, KeyError):  # a family that is not counted
        with init_empty_weights():
            empty: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        return int(sum(weight.numel() for weight in empty.parameters()))


def _shapes(paths: Sequence[Path], strict: bool = False) -> dict[str, list[int]]:
    """Of all tensors, from the headers alone; a file that cannot be read is left out unless `strict`."""
    shapes: dict[str, list[int]] = {}
    for path in paths:
        try:
            with safe_open(path, framework="numpy") as content:
                shapes |= {name: content.get_slice(name).get_shape() for name in content.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            if strict:
                raise
    return shapes


def _damaged(folder: Path) -> tuple[Path, str] | None:
    """The first file of `folder` that cannot be read, and why."""
    for path in sorted(folder.glob("*.safetensors")):
        try:
            _shapes([path], strict=True)
        except (SafetensorError, OSError) as error:
            return path, str(error)
    return None
