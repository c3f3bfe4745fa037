"""Starting weights: the run whose trained weights a new run begins with; it is finished, or its sweep ended it."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunefleet.base import delivery, files, status
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.base.status import State
from tunefleet.config import RunConfig
from tunefleet.config.load import dump
from tunefleet.config.model import Init, ModelConfig
from tunefleet.config.suggest import did_you_mean
from tunefleet.plan.plan import Plan

_KEY = "train.start_from"
_MODEL_KEYS = ("name", "path", "architecture", "num_layers")
_SECTIONS = ("data", "model", "adapter", "parallel", "optimizer", "schedule", "train")
_LENGTH = ("max_steps", "epochs", "micro_batch", "global_batch", "threads", "on_oom", "start_from")
_LOOKED_AT = 200  # plans of other runs


def applied(config: RunConfig) -> tuple[RunConfig, tuple[str, ...]]:
    """`config` with the model that `train.start_from` names, and a note on it. Raises `ConfigError`."""
    named = config.train.start_from
    if named is None:
        return config, ()
    prior = _plan(named, Path(config.output_dir).expanduser())
    step = _expect_over(prior)
    _expect_whole(prior)
    _expect_same_model(prior, config.model)
    model = replace(config.model, path=str(prior.paths.export), init=Init.PRETRAINED, architecture={}, num_layers=None)
    train = replace(config.train, start_from=prior.run_dir)
    note = (
        f"starts from the weights that {prior.name} had after {step} steps. The optimizer, the schedule and the order "
        "of rows begin anew; another train.seed= gives another order."
    )
    return replace(config, model=model, train=train), (note,)


def _plan(named: str, outputs: Path) -> Plan:
    """The saved plan of the run: a directory, or a name in `outputs`."""
    for folder in (Path(named).expanduser(), outputs / named):
        if (folder / "plan.json").is_file():
            try:
                return Plan.read(folder)
            except RunError as error:
                raise ConfigError(f"{_KEY}: {error}") from None
    names = sorted(path.parent.name for path in outputs.glob("*/plan.json"))
    hint = did_you_mean(named, names) if names else ""
    raise ConfigError(f"{_KEY}: {named} is no run: neither a run's directory nor a name in {outputs}.{hint}")


def _expect_over(prior: Plan) -> int:
    """The steps of a run that is finished, or that its sweep ended: a trial may begin warm from another one."""
    run = status.read(prior.paths.status)
    if run is None or run.state not in (State.FINISHED, State.PAUSED, State.PRUNED):
        state = f"is {run.state.value} at step {run.step} of {run.total_steps}" if run else "has not started"
        raise ConfigError(
            f"{_KEY}: {prior.name} {state}, so its schedule is not over. Finish it with `tunefleet resume "
            f"{prior.name}`, or take the weights of its newest checkpoint: `tunefleet export {prior.name} --to "
            "FOLDER`, then model.path=FOLDER."
        )
    return run.step


def _expect_whole(prior: Plan) -> None:
    if (prior.paths.export / "adapter_config.json").exists():
        raise ConfigError(
            f"{_KEY}: {prior.paths.export} is an adapter alone. Write a whole model with `tunefleet export "
            f"{prior.name} --merged --to FOLDER`, then model.path=FOLDER."
        )
    if not (prior.paths.export / "config.json").exists():
        raise ConfigError(f"{_KEY}: {prior.name} has no export. Write it with `tunefleet export {prior.name}`.")
    written = delivery.record(prior.paths.export)
    changed = delivery.quick_changes(prior.paths.export)
    if changed or (written and not written["complete"]):
        reason = f"{', '.join(changed)} changed" if changed else "not all of it was written"
        raise ConfigError(
            f"{_KEY}: {prior.paths.export} is not what {prior.name} left there: {reason}. Write it again with "
            f"`tunefleet export {prior.name} --overwrite`, or take it as it is: remove {delivery.RECORD} from it, and "
            f"set model.path={prior.paths.export}."
        )


def _expect_same_model(prior: Plan, model: ModelConfig) -> None:
    """Its own model is a setting too: another one would be dropped in silence."""
    trained, asked_for = dump(_first(prior).config.model), dump(model)
    differences = [
        f"model.{key}={trained[key]}" for key in _MODEL_KEYS if trained[key] != asked_for[key] and key != "architecture"
    ]
    if differences or trained["architecture"] != asked_for["architecture"]:
        shown = ", ".join(differences) or "another model.architecture"
        raise ConfigError(
            f"{_KEY}: {prior.name} was trained with {shown}. Give the model that it was given, as in: "
            f"model={trained['name']}."
        )


def _first(plan: Plan) -> Plan:
    """The run at the beginning of a chain of runs that started from each other, as far as it is still there."""
    folder = plan.config.train.start_from
    if folder and (Path(folder) / "plan.json").is_file():
        return _first(Plan.read(Path(folder)))
    return plan


def shorter(plan: Plan) -> Plan | None:
    """A finished run beside a new one that differs from it in the number of steps alone."""
    if plan.config.train.start_from:
        return None
    settings = _without_length(dump(plan.config))
    for path in sorted(plan.paths.root.parent.glob(f"{_family(plan)}*/plan.json"))[:_LOOKED_AT]:
        try:
            saved = files.read_json(path)
        except (OSError, ValueError):
            continue
        if path.parent != plan.paths.root and _without_length(saved.get("config", {})) == settings:
            run = status.read(path.with_name("status.json"))
            if run and run.state is State.FINISHED:
                return Plan.read(path.parent)
    return None


def _family(plan: Plan) -> str:
    """What the names of like runs begin with: all of a name but the hash of the settings."""
    return "" if plan.config.name else glob.escape(plan.name.removesuffix(plan.identity[:8]))


def _without_length(config: Mapping[str, Any]) -> dict[str, Any]:
    sections = {name: dict(config.get(name, {})) for name in _SECTIONS}
    sections["train"] = {key: value for key, value in sections["train"].items() if key not in _LENGTH}
    return sections
