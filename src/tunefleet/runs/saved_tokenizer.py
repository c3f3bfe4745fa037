"""Saved tokenizer: the copy in a run directory of the files that the run is trained with."""

from __future__ import annotations

import shutil
from typing import Any

from tunefleet.base import files, swap
from tunefleet.model.tokenizer import load as load_tokenizer
from tunefleet.plan import contents
from tunefleet.plan.plan import Plan


def save(plan: Plan) -> None:
    """Copies the files into the run directory, once; one rank does it."""
    final = plan.paths.tokenizer
    if final.is_dir():
        return
    temporary = files.temporary_beside(final)
    for name, path in contents.tokenizer_files(plan):
        (temporary / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, temporary / name)
    swap.sync(temporary)
    files.publish(temporary, final)


def load(plan: Plan) -> Any:
    """The run's own tokenizer; for a run that has not started, that of the plan. Raises `ConfigError`."""
    saved = plan.paths.tokenizer
    return _load(plan, str(saved)) if saved.is_dir() else planned(plan)


def planned(plan: Plan) -> Any:
    """The tokenizer that a run of `plan` would start with. Raises `ConfigError`."""
    return _load(plan, plan.sources.tokenizer)


def _load(plan: Plan, folder: str) -> Any:
    model = plan.config.model
    return load_tokenizer(folder, plan.sources.architecture.model_type, model.special_tokens, model.new_tokens)
