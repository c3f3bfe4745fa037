"""What cannot work, and what is worth knowing: every rule that needs more than one setting."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tunefleet.base.paths import NOT_RUNS
from tunefleet.config import RunConfig
from tunefleet.config.cleaning import Duplicates
from tunefleet.config.data import OnBadRow
from tunefleet.config.model import Init
from tunefleet.config.train import Precision
from tunefleet.plan.deepspeed import offload
from tunefleet.plan.estimate import pipeline_stages
from tunefleet.plan.families import packing, parameters, sequence
from tunefleet.plan.paths.model_files import Sources
from tunefleet.plan.processes.batch import Batch
from tunefleet.plan.processes.layout import Layout
from tunefleet.plan.rules import data_rules, optimizers, tensor_rules

_FOR_FINE_TUNING = 1e-4  # below it
_BREAKS = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")  # what ends a line, in a batch script too
_LONGEST_NAME = 200  # file systems take 255 bytes; copies of a run add to its name


def values(config: RunConfig) -> list[str]:
    """Complaints about settings alone."""
    complaints = data_rules.values(config.data) + tensor_rules.values(config) + pipeline_stages.complaints(config)
    if any(not 0 <= beta < 1 for beta in config.optimizer.betas):
        complaints.append(
            f"optimizer.betas: {list(config.optimizer.betas)} is not allowed. "
            "Allowed: two numbers, each at least 0 and below 1."
        )
    if config.tracking.log_every.is_never:
        complaints.append("tracking.log_every: 0 would record the last step alone. Use tracking.log_every=1, or 5%.")
    if config.name is not None:
        complaints += _name(config.name)
    if _BREAKS.search(config.output_dir):
        complaints.append(
            f"output_dir: {config.output_dir!r} is not allowed. Allowed: a folder whose name is one line."
        )
    return complaints


def _name(name: str) -> list[str]:
    """A run's name is a folder below `output_dir`, and a word of `tunefleet`'s commands."""
    if name.strip() in ("", ".", "..") or set(name) & set("/\\") or _BREAKS.search(name):
        return [f"name: {name!r} is not allowed. Allowed: a name that can be a folder."]
    if name.startswith("-"):
        return [f"name: {name!r} would be read as an option by every command. Begin it with something else than -."]
    if name.lower() in NOT_RUNS or name.startswith("sweep-"):
        return [f"name: {name!r} is the name of a folder or a sweep of tunefleet's own. Choose another one."]
    if len(name.encode()) > _LONGEST_NAME:
        return [f"name: {len(name.encode())} bytes are too long for a folder. Allowed: up to {_LONGEST_NAME}."]
    return []


def device(config: RunConfig, degrees: Layout) -> list[str]:
    """Complaints about settings that do not go with the machine."""
    half, stage = config.train.precision is Precision.FP16, config.parallel.zero_stage
    complaints = [*offload.complaints(config, degrees), *optimizers.complaints(config, degrees)]
    if degrees.device == "cpu" and half and stage:
        complaints.append(
            f"train.precision: DeepSpeed has no fp16 for {config.parallel.name} on a CPU. "
            "Use train.precision=bf16, or parallel=ddp."
        )
    if not config.train.master_weights and (config.train.precision is not Precision.BF16 or not stage):
        complaints.append(
            "train.master_weights: false needs train.precision=bf16 and ZeRO stage 1 or more. "
            "Use parallel=zero1 train.precision=bf16, or leave it out."
        )
    return complaints


def architecture(config: RunConfig, found: Mapping[str, Any], processes: int | None = None) -> list[str]:
    """Complaints about settings that do not go with the model. `processes` are those that are there already."""
    complaints = [
        *tensor_rules.architecture(config, found, processes),
        *sequence.complaints(config, found, processes),
        *pipeline_stages.misfits(config, found),
    ]
    reason = packing.refusal(found, config.train.sequence_length) if config.data.packing else None
    if reason:
        complaints.append(
            f"data.packing: {config.model.name} cannot be packed: it is of the family {found.get('model_type')}, and "
            f"{reason}. Use data.packing=false."
        )
    longest = _longest(found)
    if longest and config.train.sequence_length > longest:
        complaints.append(
            f"train.sequence_length: {config.train.sequence_length} is more than the {longest} positions of "
            f"{config.model.name}. Use train.sequence_length={longest} or less."
        )
    return complaints


def _longest(found: Mapping[str, Any]) -> int | None:
    try:
        return parameters.dimensions(found).max_positions
    except ValueError:
        return None


def from_scratch(config: RunConfig) -> list[str]:
    """What a model from scratch is told: defaults are for fine-tuning, and a recipe of its own sets others."""
    if config.model.init is not Init.RANDOM or config.optimizer.name.value in ("sgd", "adagrad"):
        return []
    if config.optimizer.lr >= _FOR_FINE_TUNING:
        return []
    low, small = (" and bf16", ", and train.precision=fp32 for a small one") if _is_bf16(config) else ("", "")
    return [
        f"optimizer.lr={config.optimizer.lr:g}{low} {'are' if low else 'is'} for fine-tuning, and this model starts "
        f"from scratch: optimizer.lr=3e-4 to 3e-3 is usual there{small}."
    ]


def _is_bf16(config: RunConfig) -> bool:
    return config.train.precision is Precision.BF16


def _unused(config: RunConfig) -> list[str]:
    """Settings that were changed and that another one leaves without effect."""
    return [f"{group}.{name} is not used{why}." for group, name, why in _without_effect(config)]


def _without_effect(config: RunConfig) -> Iterator[tuple[str, str, str]]:
    data, default = config.data, RunConfig()
    if data.clean.duplicates is not Duplicates.NEAR and data.clean.similarity != default.data.clean.similarity:
        yield "data.clean", "similarity", " without data.clean.duplicates=near"
    if data.on_bad_row is not OnBadRow.SKIP and data.max_bad_rows != default.data.max_bad_rows:
        yield "data", "max_bad_rows", " without data.on_bad_row=skip"
    if not data.mix and data.mix_seed != default.data.mix_seed:
        yield "data", "mix_seed", " without data.mix"


def notes(config: RunConfig, degrees: Layout, found: Sources, split: Batch) -> tuple[str, ...]:
    """What a person should hear although nothing is wrong."""
    said = pipeline_stages.notes(config.parallel, degrees, split)
    if config.train.max_steps and config.train.epochs != 1.0:
        said.append(f"train.epochs={config.train.epochs:g} is not used: train.max_steps is set.")
    if config.parallel.zero_stage and degrees.replicas == 1:
        said.append(f"{config.parallel.name} shares nothing out: there is one copy of the model.")
    if degrees.processes_here % degrees.tensor:
        said.append("tensor peers are on different machines, and every layer waits for the network between them.")
    said += [*from_scratch(config), *_unused(config)]
    if config.model.init is Init.RANDOM and config.model.path and config.model.tokenizer is None:
        said.append(f"the tokenizer is {found.tokenizer}.")
    return (*said, *offload.notes(config.parallel, degrees))
