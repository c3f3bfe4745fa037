"""Is an export written again only where it is missing, older than the newest checkpoint, or of the other kind?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.base import delivery, files
from tunefleet.base.errors import RunError
from tunefleet.plan import Plan
from tunefleet.runs import checkpoint_export
from tunefleet.runs.checkpoint_export import exported


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A run with an export of step 5."""
    run_plan = tiny_plan(tmp_path)
    with delivery.staging(run_plan.paths.export) as staged:
        (staged / "model.safetensors").write_bytes(b"weights")
        delivery.deliver(staged, run_plan.paths.export, {"step": 5, "merged": run_plan.config.adapter.merge})
    return run_plan


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that were exported."""
    names: list[str] = []
    monkeypatch.setattr(
        checkpoint_export, "export", lambda plan, *_, **__: names.append(plan.name) or plan.paths.export
    )
    return names


def save(plan: Plan, step: int, saved: float) -> None:
    """A checkpoint, as far as its manifest."""
    folder = plan.paths.checkpoints / f"step-{step:08d}"
    folder.mkdir(parents=True)
    manifest = {"state": {"step": step}, "identity": plan.identity, "ranks": 1, "files": {"a": [1, 1]}, "saved": saved}
    files.write_json(folder / "manifest.json", manifest)
    files.write_json(plan.paths.checkpoints / "latest.json", {"checkpoint": folder.name})


def test_an_export_of_the_newest_checkpoint_is_taken_as_it_is(plan: Plan, written: list[str]) -> None:
    save(plan, 5, saved=1.0)
    assert exported(plan) == plan.paths.export
    assert written == []


@pytest.mark.parametrize(("step", "saved"), [(6, 1.0), (5, 9e12)])
def test_an_older_one_is_written_again(plan: Plan, written: list[str], step: int, saved: float) -> None:
    """Also one of the same step that was saved since, as after a resume from an earlier one."""
    save(plan, step, saved)
    exported(plan)
    assert written == [plan.name]


def test_one_of_the_other_kind_is_written_again(plan: Plan, written: list[str]) -> None:
    adapter = replace(plan.config.adapter, merge=not plan.config.adapter.merge)
    exported(replace(plan, config=replace(plan.config, adapter=adapter)))
    assert written == [plan.name]


def test_one_that_was_changed_is_refused(plan: Plan, written: list[str]) -> None:
    (plan.paths.export / "model.safetensors").write_bytes(b"another")
    with pytest.raises(RunError, match=f"`tunefleet export {plan.name} --overwrite` writes it again"):
        exported(plan)
    assert written == []


def test_without_a_checkpoint_there_is_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no checkpoint there\. Train first, or set checkpoint\.at_end=true"):
        checkpoint_export.export(tiny_plan(tmp_path))
