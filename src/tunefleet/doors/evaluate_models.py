"""`tunefleet evaluate`: a run's checkpoint, or a model in files, measured on its own rows or on others."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefleet.base import text
from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.data import DataConfig, SourceConfig
from tunefleet.config.evaluation import AUTO_THRESHOLD, AnswerSet, Decoding
from tunefleet.config.load import dump, load
from tunefleet.doors import completion, exported, unchanged
from tunefleet.doors.exported import LAST
from tunefleet.doors.named_model import named, say_ignored
from tunefleet.doors.rank import prepare_environment
from tunefleet.launch.register import Run
from tunefleet.libraries.heavy_imports import heavy_imports
from tunefleet.plan import Machine, Plan, make
from tunefleet.plan.contents import Role
from tunefleet.plan.paths import data_files, model_files
from tunefleet.plan.rules import evaluation_rules

if TYPE_CHECKING:
    from tunefleet.runs.evaluate import Measured, Opened, Rows

_ROWS = "Put that back: on other rows the numbers are not comparable, and some may be rows that it was trained on."
_GROUP = "evaluation"


@dataclass(frozen=True)
class Options:
    """What was typed: rows (`on`), a limit for each split, settings of `evaluation`, where predictions go."""

    on: str = ""
    checkpoint: str = LAST
    limit: int | None = None
    as_json: bool = False
    to: Path | None = None
    overrides: tuple[str, ...] = ()
    pass_at: tuple[int, ...] = ()
    """Of pass@k, which runs what the model answers: allowed with `runs_code` alone."""
    answers: int | None = None
    """Of pass@k: answers to each question; twice the largest k."""
    runs_code: bool = False
    shared: bool = False
    """Whether other settings than those of `evaluation` are for models alone, and runs leave them out."""
    source: SourceConfig | None = None
    """How the rows of `on` are read, where that is not as the model's own are."""


def evaluate(target: str, outputs: Path, options: Options) -> None:
    """Measures and prints; `target` is a run, a folder with a model, a choice of `model`, or OWNER/NAME of the hub.

    Raises `ConfigError` and `RunError`, before anything is computed where that can be told.
    """
    if options.limit is not None and options.limit < 1:
        raise ConfigError(f"--limit: {options.limit} is not allowed. Allowed: a whole number at least 1.")
    if options.pass_at:
        _expect_code_allowed(options)
    target_model = prepared(target, outputs, options)
    if options.pass_at:
        return _print_pass_rates(target_model, options)
    from tunefleet.runs import predictions  # torch

    path = options.to or target_model.predictions
    if options.to:
        predictions.expect_free(path)
    _print(target_model.plan, options, path, target_model.open().measure())


def _expect_code_allowed(options: Options) -> None:
    if not options.runs_code:
        raise ConfigError(
            "--pass-at: runs programs that the model writes on this machine, as you, with limits and without a network "
            "but able to read your files. Allow it with --run-generated-code."
        )
    if min(options.pass_at) < 1 or _answers(options) < max(options.pass_at):
        raise ConfigError(f"--answers: {_answers(options)} answers give no pass@{max(options.pass_at)}. Take more.")


def _answers(options: Options) -> int:
    return 2 * max(options.pass_at) if options.answers is None else options.answers


def _print_pass_rates(model: TargetModel, options: Options) -> None:
    from tunefleet.evaluation.sandbox import isolation
    from tunefleet.runs import code_answers

    if model.plan.config.evaluation.decoding is not Decoding.SAMPLING and _answers(options) > 1:
        raise ConfigError("--pass-at: the same answer every time. Set evaluation.decoding=sampling.")
    if not isolation():
        print("tunefleet: unshare is not allowed here: answers are run with a network", file=sys.stderr)
    record = code_answers.pass_rates(model.open(), options.pass_at, _answers(options))
    if options.as_json:
        print(json.dumps({"splits": _by_split(record), "answers": _answers(options)}))
    else:
        print(text.listed({key.removeprefix("evaluation/"): f"{value:.1%}" for key, value in record.items()}))


@dataclass(frozen=True)
class TargetModel:
    """A model that can be measured: what it is called, its plan, how it is opened, where its predictions go."""

    label: str
    plan: Plan
    open: Callable[[], Opened]
    predictions: Path


def prepared(target: str, outputs: Path, options: Options) -> TargetModel:
    """What `target` names, with everything set for the libraries that are imported next."""
    target_model = _target(target, outputs, options)
    say_ignored(target_model.plan.sources.weights)
    return target_model


def _target(target: str, outputs: Path, options: Options) -> TargetModel:
    if not os.path.lexists(target) and target in _choices("model"):
        return _of_model(target, target, outputs, options)
    model = named(target, outputs)
    return of_run(model.run, options) if model.run else _of_model(target, str(model.folder), outputs, options)


def of_run(run: Run, options: Options) -> TargetModel:
    """A checkpoint of a run. Raises `RunError` where files that it reads have changed."""
    plan = exported.ready(run)
    exported.expect_model(plan, options.checkpoint)
    plan = adjusted(plan, options)
    if not is_elsewhere(options.on, plan):
        unchanged.expect(plan, (Role.DATA, Role.TEMPLATE), _ROWS)
    with heavy_imports():
        from tunefleet.runs.evaluate import open_run

    rows = _rows(plan, options)
    return TargetModel(run.name, plan, lambda: open_run(plan, options.checkpoint, rows), plan.paths.predictions)


def _of_model(label: str, target: str, outputs: Path, options: Options) -> TargetModel:
    plan = adjusted(model_plan(target, options), options)
    _expect_no_leak(plan, options)
    prepare_environment(plan)
    with heavy_imports():
        from tunefleet.runs.evaluate import open_model

    rows = _rows(plan, options)
    name = re.sub(r"[^\w.-]+", "-", Path(target).name)
    path = outputs / f"predictions-{name}-{_name(options.on)}.jsonl"
    return TargetModel(label, plan, lambda: open_model(plan, rows), path)


def _expect_no_leak(plan: Plan, options: Options) -> None:
    """Raises `ConfigError` where labels or a threshold would be read from the very rows that are measured."""
    config = plan.config.evaluation
    if options.on in _choices("data"):
        return
    if config.answers is AnswerSet.LABELS and not config.labels:
        raise ConfigError("evaluation.answers=labels: a model in files has no training data. List evaluation.labels.")
    if config.threshold == AUTO_THRESHOLD:
        raise ConfigError("evaluation.threshold=auto: a model in files has no validation rows. Give a number.")


def model_plan(target: str, options: Options) -> Plan:
    """The plan of a run that would train the model `target` on the rows. Raises `ConfigError`."""
    if not options.on:
        raise ConfigError(f"{target}: is a model without rows of its own. Name some: --on FILE, or --on demo.")
    from tunefleet.doors import compose  # Hydra

    folder = Path(target).expanduser()
    is_choice = target in _choices("model") and not folder.is_dir()
    model = [f"model={target}"] if is_choice else ["model=hf", f"model.path={folder if folder.is_dir() else target}"]
    data = [f"data={options.on}"] if options.on in _choices("data") else ["data=jsonl", f"data.path={options.on}"]
    fixed = [
        "parallel=single",
        "tracking=files",
        "plan.force=true",
        "train.max_steps=1",
        "evaluation.generate_rows=all",
    ]
    config = compose.from_overrides([*model, *data, *fixed, *options.overrides])
    if not any(override.startswith("train.sequence_length=") for override in options.overrides):
        config = _shortened(config)
    return make(config, Machine.this())


def _shortened(config: RunConfig) -> RunConfig:
    """With sequences of no more tokens than the model has positions."""
    try:
        longest = model_files.sources(config.model, config.data.tokenizer).architecture.dimensions.max_positions
    except ValueError:
        return config
    length = min(config.train.sequence_length, longest or config.train.sequence_length)
    return replace(config, train=replace(config.train, sequence_length=length))


def adjusted(plan: Plan, options: Options) -> Plan:
    """`plan` with the settings of `evaluation` that were typed. Raises `ConfigError`."""
    from tunefleet.doors import overrides

    complaints: list[str] = []
    values = dump(plan.config)
    if options.limit is not None:
        values[_GROUP] |= {"max_rows": options.limit, "generate_rows": options.limit}
    elif is_elsewhere(options.on, plan):
        values[_GROUP] |= {"max_rows": None, "generate_rows": "all"}
    for override in overrides.parse_all(options.overrides, complaints):
        group, _, name = override.get_key_element().partition(".")
        if group == _GROUP and name:
            values[_GROUP][name] = override.value()
        elif plan.paths.plan.exists() and not options.shared:
            complaints.append(f"{override.input_line}: only settings of evaluation can be changed for a trained run.")
    config = load(RunConfig, values) if not complaints else plan.config
    if complaints := [*complaints, *evaluation_rules.complaints(config)]:
        raise ConfigError(*complaints)
    return replace(plan, config=config)


def is_elsewhere(on: str, plan: Plan) -> bool:
    """Whether `on` names other rows than a split of the plan."""
    return bool(on) and (on in _choices("data") or os.path.lexists(on) or not re.fullmatch(r"[\w.-]+", on))


def _rows(plan: Plan, options: Options) -> Rows:
    """The rows that `--on` names. Raises `ConfigError` where there is no such file."""
    from tunefleet.runs.evaluate import ALL_SPLITS, Rows, source_of

    on = options.on
    if not on:
        return ALL_SPLITS
    if options.source:
        return Rows(_name(on), options.source)
    if not is_elsewhere(on, plan):
        return Rows(on)
    if on in _choices("data"):
        return Rows(_name(on), _held_out(on))
    if data_files.is_local(on):
        data_files.files_of(source_of(plan, on))
    return Rows(_name(on), source_of(plan, str(Path(on).expanduser().resolve()) if data_files.is_local(on) else on))


def _held_out(choice: str) -> Any:
    """The test rows of a choice of `data`; else its validation rows, else all of them."""
    from tunefleet.doors import compose

    data: DataConfig = data_files.absolute(compose.from_overrides([f"data={choice}"]).data)
    return data_files.test(data) or data_files.validation(data) or data


def _name(on: str) -> str:
    """The name of rows from elsewhere: of a file without its ending."""
    return re.sub(r"[^\w.-]+", "_", Path(on).name.split(".")[0]).strip("_.") or "rows"


def _choices(group: str) -> Sequence[str]:
    return completion.choices(completion.search_path([]), group)


def _print(plan: Plan, options: Options, path: Path, measured: Measured) -> None:
    """Writes the predictions to `path`, and prints the rest."""
    from tunefleet.runs import predictions, run_summary

    facts, record, samples = measured
    written = os.path.relpath(path) if samples else ""
    if samples:
        predictions.write(path, samples, plan.config.evaluation.metrics)
    if options.as_json:
        print(json.dumps({"facts": facts, "splits": _by_split(record), "predictions": written or None}))
        return
    print(text.listed(facts | run_summary.results(record) | ({"predictions": written} if written else {})))
    print("\n".join(run_summary.sample_lines(plan, samples)))


def _by_split(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{split: {loss, ...}}; null where a number is not finite."""
    splits: dict[str, dict[str, Any]] = {}
    for key, value in record.items():
        _, split, name = key.split("/")
        splits.setdefault(split, {})[name] = value if math.isfinite(value) else None
    return splits
