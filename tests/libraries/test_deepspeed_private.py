"""Does DeepSpeed still have what `libraries/deepspeed_private.py` reads in it? `tests/engine` says what it does."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import deepspeed
import pytest
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler
from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer
from deepspeed.utils.tensor_fragment import tensor_fragment
from torch import nn

from tunefleet.libraries import deepspeed_private


def test_the_version_is_the_one_that_was_read() -> None:
    """Where this fails, read every line of the adapter beside the new source, then raise READ_IN."""
    assert version("deepspeed") == deepspeed_private.READ_IN


@pytest.mark.parametrize(
    ("owner", "name"), deepspeed_private.PRIVATE, ids=lambda value: getattr(value, "__name__", value)
)
def test_every_private_name_is_there(owner: Any, name: str) -> None:
    assert hasattr(owner, name)


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        (deepspeed.DeepSpeedEngine, "self.basic_optimizer ="),
        (deepspeed.DeepSpeedEngine, "self.torch_autocast_z0_gradscaler ="),
        (deepspeed.DeepSpeedEngine, "self.optimizer.checkpoint_event_prologue()"),
        (DeepSpeedZeroOptimizer_Stage3, "self.grad_position["),
        (DeepSpeedZeroOptimizer_Stage3, "self.fp32_partitioned_groups_flat ="),
        (DeepSpeedZeroOptimizer, "self.loss_scaler = CreateLossScaler("),
        (DeepSpeedZeroOptimizer_Stage3, "self.loss_scaler = CreateLossScaler("),
        (DynamicLossScaler, "and self.raise_error_at_min_scale:"),
        (tensor_fragment, "hp_fragment_address: fragment_address"),
        (tensor_fragment, "param_group_index: int"),
        (deepspeed.DeepSpeedEngine, "self.checkpoint_engine = create_checkpoint_engine("),
        (deepspeed.DeepSpeedEngine, "self._copy_recovery_script(save_path)"),
        (deepspeed.zero.Init, "param.convert_to_zero_parameters ="),
        (deepspeed.zero.Init, "param.ds_numel ="),
        (
            deepspeed.zero.Init,
            "param.data = param.data.to(self.local_device)\n            self._zero_init_param(param)",
        ),
        (deepspeed.DeepSpeedEngine, "self.module.to(self.device)"),
        (deepspeed.zero.Init, "param.ds_tensor ="),
        (deepspeed.pipe.PipelineModule, "p.ds_pipe_replicated = True"),
        (deepspeed.PipelineEngine, "self._INSTRUCTION_MAP[type(cmd)]"),
        (deepspeed.PipelineEngine, "schedule.OptimizerStep: _exec_optimizer_step"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_what_is_set_on_engines_and_weights_is_set_there(owner: Any, text: str) -> None:
    assert text in inspect.getsource(owner)


def test_a_weight_that_nothing_was_done_to_is_whole() -> None:
    weight = nn.Linear(2, 2).weight
    assert deepspeed_private.own_shard(weight) is None
    assert not deepspeed_private.is_tensor_sharded(weight)
    assert not deepspeed_private.is_repeated(weight)


def test_a_step_is_deferred_in_one_engine_alone() -> None:
    """The schedule's map belongs to the class."""
    engine = object.__new__(deepspeed.PipelineEngine)
    before = deepspeed.PipelineEngine._INSTRUCTION_MAP
    nn.Module.__init__(engine)
    deepspeed_private.defer_step(engine)
    changed = [kind for kind, act in engine._INSTRUCTION_MAP.items() if act is not before[kind]]
    assert [kind.__name__ for kind in changed] == ["OptimizerStep"]
    assert engine._INSTRUCTION_MAP[changed[0]](engine) is None
    assert deepspeed.PipelineEngine._INSTRUCTION_MAP is before
