"""Does a run that starts from another one's weights say so, know them, and refuse what would be dropped?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.plans import OPT, tiny_plan
from tunefleet.base import checksums, delivery, files, status
from tunefleet.base.errors import ConfigError
from tunefleet.base.status import State, Status
from tunefleet.config.model import Init
from tunefleet.plan import Plan, start_from


def named(plan: Plan, name: str) -> Plan:
    directory = Path(plan.run_dir).with_name(name)
    return replace(plan, name=name, run_dir=str(directory), config=replace(plan.config, name=name))


def finished(folder: Path, name: str = "first", **settings: Any) -> Plan:
    """A run with an export, as after all of its steps; the weights are nobody's."""
    plan = named(tiny_plan(folder, **settings), name)
    plan.save()
    status.write(plan.paths.status, Status(State.FINISHED, step=40, total_steps=40))
    files.write_json(plan.paths.export / "config.json", OPT)
    (plan.paths.export / "model.safetensors").write_bytes(b"weights")
    (plan.paths.export / "tokenizer.json").write_text("{}")
    return plan


def further(folder: Path, named: str = "first", **settings: Any) -> Plan:
    return tiny_plan(folder, start_from=named, max_steps=80, **settings)


def complaint(folder: Path, named: str = "first", **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        further(folder, named, **settings)
    [only] = caught.value.complaints
    return only


@pytest.mark.parametrize("how", ["name", "directory"])
def test_the_weights_are_those_of_the_export(tmp_path: Path, how: str) -> None:
    before = finished(tmp_path)
    plan = further(tmp_path, "first" if how == "name" else str(before.paths.root))
    assert plan.sources.weights == plan.sources.tokenizer == str(before.paths.export)
    assert plan.config.model.init is Init.PRETRAINED
    assert plan.config.train.start_from == before.run_dir
    assert "from " + str(before.paths.export) in plan.summary()["model"]
    assert any("starts from the weights that first had after 40 steps. The optimizer" in note for note in plan.notes)


def test_an_export_that_was_changed_or_is_not_complete_is_refused(tmp_path: Path) -> None:
    """Control: as it was delivered, it is taken."""
    export = finished(tmp_path).paths.export
    names = ("config.json", "model.safetensors", "tokenizer.json")
    record = {"files": {name: checksums.checksum(export / name) for name in names}, "complete": True}
    files.write_json(export / delivery.RECORD, record)
    assert further(tmp_path)
    files.write_json(export / delivery.RECORD, {**record, "complete": False})
    assert "is not what first left there: not all of it was written." in complaint(tmp_path)
    files.write_json(export / delivery.RECORD, record)
    (export / "tokenizer.json").write_text("{ }")
    (export / "model.safetensors").unlink()
    assert "first left there: model.safetensors, tokenizer.json changed. Write it again with" in complaint(tmp_path)


def test_it_is_a_run_of_its_own(tmp_path: Path) -> None:
    before = finished(tmp_path)
    other = finished(tmp_path, "second")
    identities = {before.identity, further(tmp_path).identity, further(tmp_path, str(other.paths.root)).identity}
    identities.add(tiny_plan(tmp_path, max_steps=80).identity)
    assert len(identities) == 4
    assert further(tmp_path).identity == further(tmp_path, before.run_dir).identity


def test_a_chain_keeps_the_model_that_was_typed(tmp_path: Path) -> None:
    finished(tmp_path)
    finished(tmp_path, "second", start_from="first", max_steps=80)
    plan = tiny_plan(tmp_path, start_from="second", max_steps=120)
    assert plan.sources.weights == str(tmp_path / "second" / "export")


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (None, "first has not started"),
        (Status(State.INTERRUPTED, step=7, total_steps=40), "first is interrupted at step 7 of 40"),
        (Status(State.RUNNING, step=7, total_steps=40), "first is running at step 7 of 40"),
    ],
)
def test_a_run_that_is_not_finished_is_named_with_what_to_do(tmp_path: Path, now: Status | None, said: str) -> None:
    before = finished(tmp_path)
    before.paths.status.unlink()
    if now:
        status.write(before.paths.status, now)
    message = complaint(tmp_path)
    assert message.startswith(f"train.start_from: {said}, so its schedule is not over.")
    assert "`tunefleet resume first`" in message


@pytest.mark.parametrize("state", [State.PAUSED, State.PRUNED])
def test_a_run_that_its_sweep_ended_may_be_begun_from(tmp_path: Path, state: State) -> None:
    before = finished(tmp_path)
    status.write(before.paths.status, Status(state, step=7, total_steps=40))
    plan = tiny_plan(tmp_path, start_from="first", max_steps=80)
    assert plan.sources.weights == str(tmp_path / "first" / "export")
    assert any("weights that first had after 7 steps" in note for note in plan.notes)


def test_another_model_would_be_dropped_in_silence(tmp_path: Path) -> None:
    finished(tmp_path)
    other = {"name": "other", "init": "random", "architecture": OPT}
    assert "first was trained with model.name=opt" in complaint(tmp_path, model=other)
    wider = {"name": "opt", "init": "random", "architecture": {**OPT, "ffn_dim": 128}}
    assert "another model.architecture" in complaint(tmp_path, model=wider)


def test_what_is_no_run_and_what_has_no_weights_is_named(tmp_path: Path) -> None:
    assert "none is no run" in complaint(tmp_path, "none")
    before = finished(tmp_path)
    assert "Did you mean 'first'?" in complaint(tmp_path, "frist")
    (before.paths.export / "config.json").unlink()
    assert "Write it with `tunefleet export first`" in complaint(tmp_path)
    (before.paths.export / "adapter_config.json").write_text("{}")
    assert "is an adapter alone" in complaint(tmp_path)


# Who raises the number of steps


def test_a_finished_run_of_fewer_steps_is_found(tmp_path: Path) -> None:
    first = finished(tmp_path, name="first", max_steps=40)
    finished(tmp_path, name="other", max_steps=40, seed=5)
    longer = named(tiny_plan(tmp_path, max_steps=80), "longer")
    found = start_from.shorter(longer)
    assert found
    assert found.name == "first"
    assert start_from.shorter(named(tiny_plan(tmp_path, max_steps=80, sequence_length=16), "longer")) is None
    assert start_from.shorter(further(tmp_path)) is None
    status.write(first.paths.status, Status(State.INTERRUPTED, step=7))
    assert start_from.shorter(longer) is None


def test_runs_without_names_are_found_by_theirs(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, max_steps=40)
    plan.save()
    status.write(plan.paths.status, Status(State.FINISHED, step=40))
    found = start_from.shorter(tiny_plan(tmp_path, max_steps=80))
    assert found
    assert found.name == plan.name
