"""Does a run that starts from another one's weights begin with every bit of them?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.plans import tiny_plan
from tests.shared import tiny_tokenizer
from tunefleet.base import status
from tunefleet.base.status import State, Status
from tunefleet.model import build
from tunefleet.plan import Plan
from tunefleet.runs import saved_tokenizer


def trained(folder: Path) -> Plan:
    """A finished run whose weights are no seed's."""
    plan = tiny_plan(folder)
    plan = replace(plan, name="first", run_dir=str(folder / "first"))
    plan.save()
    model = build.build(plan.sources, seed=0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.25)
    model.save_pretrained(plan.paths.export)
    tiny_tokenizer().save_pretrained(plan.paths.export)
    status.write(plan.paths.status, Status(State.FINISHED, step=40, total_steps=40))
    return plan


def test_it_begins_with_the_trained_weights_and_tokenizer(tmp_path: Path) -> None:
    first_run = trained(tmp_path)
    saved = load_file(first_run.paths.export / "model.safetensors")
    plan = tiny_plan(tmp_path, start_from="first", max_steps=80)
    begun = build.build(plan.sources, seed=0).state_dict()
    assert all(torch.equal(begun[name], weight) for name, weight in saved.items())
    assert saved_tokenizer.load(plan)("a b").input_ids == tiny_tokenizer()("a b").input_ids
    anew = build.build(tiny_plan(tmp_path, max_steps=80).sources, seed=0).state_dict()  # control
    assert not all(torch.equal(anew[name], weight) for name, weight in saved.items())
