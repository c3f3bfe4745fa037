"""Are offloading and ZeRO++ told to DeepSpeed in its words, and refused where they cannot work?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plan.deepspeed.test_config import section_fields
from tests.plans import tiny_plan
from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.load import dump, load
from tunefleet.plan import Machine, Plan, make

CONF = Path(__file__).parents[3] / "conf" / "parallel"
NO_CHECKPOINTS = {"every": None, "at_end": False}


def card(name: str, **changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load((CONF / f"{name}.yaml").read_text()), **changes}


def plan(folder: Path, parallel: dict[str, Any], gpus: int = 0, **groups: Any) -> Plan:
    """The plan of four processes, on GPUs where `gpus`."""
    base = tiny_plan(folder)
    values = dump(base.config)
    for group, changes in {"parallel": parallel, **groups}.items():
        values[group] = {**(dump(RunConfig())["parallel"] if group == "parallel" else values[group]), **changes}
    return make(load(RunConfig, values), Machine(gpus=gpus, cores=1, world_size=4, processes_here=2))


def complaint(folder: Path, parallel: dict[str, Any], gpus: int = 0, **groups: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        plan(folder, parallel, gpus, **groups)
    assert len(caught.value.complaints) == 1
    return str(caught.value)


def test_what_deepspeed_is_told_of_offloading(tmp_path: Path) -> None:
    engine = plan(tmp_path, card("zero3_offload"), gpus=4).engine
    place = {"device": "cpu", "pin_memory": True}
    assert engine["zero_optimization"] == {
        "stage": 3,
        "reduce_bucket_size": 2**24,
        "offload_optimizer": place,
        "offload_param": place,
    }
    assert engine["zero_force_ds_cpu_optimizer"] is False
    on_cpu = plan(tmp_path, card("zero2_offload")).engine["zero_optimization"]
    assert on_cpu == {"stage": 2, "offload_optimizer": {"device": "cpu", "pin_memory": False}}


def test_what_deepspeed_is_told_of_a_drive(tmp_path: Path) -> None:
    parallel = card("zero3_nvme", nvme_path="/scratch", nvme_buffer_size=1000)
    engine = plan(tmp_path, parallel, gpus=4, checkpoint=NO_CHECKPOINTS).engine
    place = {"device": "nvme", "pin_memory": True, "nvme_path": "/scratch", "buffer_count": 8}
    assert engine["zero_optimization"]["offload_optimizer"] == place
    assert engine["zero_optimization"]["offload_param"] == {**place, "buffer_size": 1000}
    assert engine["aio"]["block_size"] == 2**20


def test_what_deepspeed_is_told_of_zero_plus_plus(tmp_path: Path) -> None:
    assert plan(tmp_path, card("zeropp"), gpus=4).engine["zero_optimization"] == {
        "stage": 3,
        "zero_hpz_partition_size": 2,  # processes of one machine
        "zero_quantized_weights": True,
        "zero_quantized_gradients": True,
        "reduce_bucket_size": 2**24,
    }


def test_deepspeed_knows_every_key(tmp_path: Path) -> None:
    parallel = {**card("zero3_nvme", nvme_path="/scratch"), **card("zeropp")}
    keys = plan(tmp_path, parallel, gpus=4, checkpoint=NO_CHECKPOINTS).engine["zero_optimization"]
    assert set(keys) <= section_fields("runtime/zero/config.py", "DeepSpeedZeroConfig")
    for section, cls in {"offload_param": "Param", "offload_optimizer": "Optimizer"}.items():
        known = section_fields("runtime/zero/offload_config.py", f"DeepSpeedZeroOffload{cls}Config")
        assert set(keys[section]) <= known


@pytest.mark.parametrize(
    ("parallel", "gpus", "words"),
    [
        ({"name": "x", "offload_optimizer": "cpu"}, 0, "offload_optimizer: cpu needs ZeRO stage 1 or more"),
        ({"name": "x", "zero_stage": 2, "offload_parameters": "cpu"}, 0, "offload_parameters: cpu needs ZeRO stage 3"),
        ({"name": "x", "zero_stage": 2, "hierarchical": 2}, 4, "Use parallel=zeropp"),
        ({"name": "x", "zero_stage": 1, "quantized_weights": True}, 4, "quantized_weights: true needs ZeRO stage 3"),
        (card("zero3_nvme"), 4, r"nvme_path: not set. Give a folder"),
        (card("zero3_nvme", nvme_path="scratch"), 4, "Allowed: a path that begins with /"),
        (card("zero3_nvme", nvme_path="/s"), 0, "Use parallel.offload_parameters=cpu"),
        (card("zeropp"), 0, "Use parallel.quantized_weights=false parallel.quantized_gradients=false"),
        (card("zeropp", hierarchical=3), 4, "3 does not divide 4 data-parallel processes"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, parallel: dict[str, Any], gpus: int, words: str) -> None:
    assert words in complaint(tmp_path, parallel, gpus, checkpoint=NO_CHECKPOINTS)


def test_optimizer_states_on_a_drive_and_checkpoints_exclude_each_other(tmp_path: Path) -> None:
    parallel = card("zero3_nvme", nvme_path="/scratch")
    assert "Use parallel.offload_optimizer=cpu" in complaint(tmp_path, parallel, 4)
    assert "checkpoint.every=null" in complaint(tmp_path, parallel, 4, checkpoint={**NO_CHECKPOINTS, "every": 5})
    assert plan(tmp_path, {**parallel, "offload_optimizer": "cpu"}, 4)


def test_where_the_swap_lies_does_not_change_the_run(tmp_path: Path) -> None:
    one, other = (
        plan(tmp_path, card("zero3_nvme", nvme_path=path), 4, checkpoint=NO_CHECKPOINTS) for path in ("/a", "/b")
    )
    assert one.identity == other.identity


def test_what_saves_nothing_is_said(tmp_path: Path) -> None:
    assert any("saves no memory here" in note for note in plan(tmp_path, card("zero2_offload")).notes)
    assert not any("saves no memory" in note for note in plan(tmp_path, card("zero2_offload"), 4).notes)
    assert "saves no traffic" in "".join(plan(tmp_path, card("zeropp", hierarchical=4), 4).notes)
