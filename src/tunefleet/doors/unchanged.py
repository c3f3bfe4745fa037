"""Unchanged files: whether those that a run reads are what they were when it was submitted."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tunefleet.base import delivery
from tunefleet.base.errors import RunError
from tunefleet.config.data import SourceConfig
from tunefleet.plan import Plan, contents
from tunefleet.plan.contents import Role
from tunefleet.plan.paths.data_files import HubName

_NEXT = "Put back what was there, or start a new run on what is there now: name=ANOTHER."


def recorded(plan: Plan) -> Plan:
    """The plan with what its files hold. Raises `RunError` where it knew that already, and they hold something else."""
    current = contents.read(plan, _hub_files)
    contents.expect_same(plan, plan.contents, current, _NEXT)
    return replace(plan, contents=current)


def expect(plan: Plan, roles: Iterable[Role] = Role, next_move: str = _NEXT) -> None:
    """Raises `RunError` where files of these roles hold something else than when the run was submitted."""
    if plan.contents:  # a run of an older version has none
        contents.expect_same(plan, plan.contents, contents.read(plan, _hub_files, roles), next_move)


def expect_whole_export(plan: Plan) -> None:
    """Raises `RunError` where `model.path` is an export of ours that is not as it was written; every byte is read."""
    folder = Path(plan.sources.weights or "")
    written = delivery.record(folder) if plan.sources.weights else None
    if written is None:
        return
    changed = delivery.changes(folder) if written["complete"] else ["not all of it was written"]
    if changed:
        raise RunError(
            f"model.path: {folder}, which an export wrote, is not as it was written: {'; '.join(changed)}. Write it "
            f"again (tunefleet export RUN --overwrite), or remove {delivery.RECORD} from it to take it as it is."
        )


def expect_as_in(saved: Plan, plan: Plan) -> None:
    """Raises `RunError` where the run in the directory, `saved`, read other files than `plan` would."""
    contents.expect_same(plan, saved.contents, plan.contents, _NEXT)


def _hub_files(name: HubName, source: SourceConfig) -> list[Path]:
    return cached_hub_files(name, source.subset, source.split)


@functools.cache  # the points of a grid share their data
def cached_hub_files(name: HubName, subset: str | None, split: str | None) -> list[Path]:
    """The files of a data set of the hub on this machine."""
    from tunefleet.data.read import hub  # takes seconds: only where a data set of the hub is named

    return hub.files(name, SourceConfig(subset=subset, split=split))
