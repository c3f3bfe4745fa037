"""Which model does a run begin with that starts from the weights that another run has trained?"""

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
_SAME = ("name", "path", "architecture", "num_layers")
_SECTIONS = ("data", "model", "adapter", "parallel", "optimizer", "schedule", "train")
_LENGTH = ("max_steps", "epochs", "micro_batch", "global_batch", "threads", "on_oom", "start_from")
_LOOKED_AT = 200  # plans of other runs


def applied(config: RunConfig) -> tuple[RunConfig, tuple[str, ...]]:
    """`config` with the model that `train.start_from` names, and what is said of it. Raises `ConfigError`."""
    named = config.train.start_from
    if named is None:
        return config, ()
    before = _plan(named, Path(config.output_dir).expanduser())
    step = _expect_finished(before)
    _expect_whole(before)
    _expect_same_model(before, config.model)
    model = replace(config.model, path=str(before.paths.export), init=Init.PRETRAINED, architecture={}, num_layers=None)
    train = replace(config.train, start_from=before.run_dir)
    note = (
        f"starts from the weights that {before.name} had after {step} steps. The optimizer, the schedule and the order "
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
    there = sorted(path.parent.name for path in outputs.glob("*/plan.json"))
    hint = did_you_mean(named, there) if there else ""
    raise ConfigError(f"{_KEY}: {named} is no run: neither a run's directory nor a name in {outputs}.{hint}")


def _expect_finished(before: Plan) -> int:
    """The steps of a finished run."""
    now = status.read(before.paths.status)
    if now is None or now.state is not State.FINISHED:
        state = f"is {now.state.value} at step {now.step} of {now.total_steps}" if now else "has not started"
        raise ConfigError(
            f"{_KEY}: {before.name} {state}, so its schedule is not over. Finish it with `tunefleet resume "
            f"{before.name}`, or take the weights of its newest checkpoint: `tunefleet export {before.name} --to "
            "FOLDER`, then model.path=FOLDER."
        )
    return now.step


def _expect_whole(before: Plan) -> None:
    if (before.paths.export / "adapter_config.json").exists():
        raise ConfigError(
            f"{_KEY}: {before.paths.export} is an adapter alone. Write a whole model with `tunefleet export "
            f"{before.name} --merged --to FOLDER`, then model.path=FOLDER."
        )
    if not (before.paths.export / "config.json").exists():
        raise ConfigError(f"{_KEY}: {before.name} has no export. Write it with `tunefleet export {before.name}`.")
    written = delivery.record(before.paths.export)
    changed = delivery.quick_changes(before.paths.export)
    if changed or (written and not written["complete"]):
        what = f"{', '.join(changed)} changed" if changed else "not all of it was written"
        raise ConfigError(
            f"{_KEY}: {before.paths.export} is not what {before.name} left there: {what}. Write it again with "
            f"`tunefleet export {before.name} --overwrite`, or take it as it is with model.path={before.paths.export}."
        )


def _expect_same_model(before: Plan, model: ModelConfig) -> None:
    """Its own model is a setting too: another one would be dropped in silence."""
    then, now = dump(_first(before).config.model), dump(model)
    other = [f"model.{key}={then[key]}" for key in _SAME if then[key] != now[key] and key != "architecture"]
    if other or then["architecture"] != now["architecture"]:
        shown = ", ".join(other) or "another model.architecture"
        raise ConfigError(
            f"{_KEY}: {before.name} was trained with {shown}. Give the model that it was given, as in: "
            f"model={then['name']}."
        )


def _first(plan: Plan) -> Plan:
    """The run at the beginning of a chain of runs that started from each other, as far as it is still there."""
    earlier = plan.config.train.start_from
    if earlier and (Path(earlier) / "plan.json").is_file():
        return _first(Plan.read(Path(earlier)))
    return plan


def shorter(plan: Plan) -> Plan | None:
    """A finished run beside a new one that differs from it in the number of steps alone."""
    if plan.config.train.start_from:
        return None
    wanted = _without_length(dump(plan.config))
    for path in sorted(plan.paths.root.parent.glob(f"{_family(plan)}*/plan.json"))[:_LOOKED_AT]:
        try:
            saved = files.read_json(path)
        except (OSError, ValueError):
            continue
        if path.parent != plan.paths.root and _without_length(saved.get("config", {})) == wanted:
            now = status.read(path.with_name("status.json"))
            if now and now.state is State.FINISHED:
                return Plan.read(path.parent)
    return None


def _family(plan: Plan) -> str:
    """What the names of like runs begin with: all of a name but the hash of the settings."""
    return "" if plan.config.name else glob.escape(plan.name.removesuffix(plan.identity[:8]))


def _without_length(config: Mapping[str, Any]) -> dict[str, Any]:
    sections = {name: dict(config.get(name, {})) for name in _SECTIONS}
    sections["train"] = {key: value for key, value in sections["train"].items() if key not in _LENGTH}
    return sections
