"""The private names and the internals of DeepSpeed that we use, as they were read in DeepSpeed 0.19.8.

`tests/libraries` fails where another version is installed, or one of them is gone: read them again there first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import deepspeed
import torch
from deepspeed.module_inject import set_autotp_mode
from deepspeed.module_inject.auto_tp import AutoTP
from deepspeed.module_inject.autotp_config import AutoTPConfig
from deepspeed.runtime import compiler
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointEngine
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
from deepspeed.runtime.pipe.schedule import OptimizerStep
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3
from deepspeed.utils import groups
from deepspeed.utils.tensor_fragment import fragment_address
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

READ_IN = "0.19.8"
SAVED_CLASSES = (LossScaler, DynamicLossScaler, ZeroStageEnum, fragment_address)
"""The classes that DeepSpeed's files may name: plain values, with no code of their own when they are read. fp16 on a
GPU saves a DynamicLossScaler, everything else a LossScaler."""

# Start


def skip_shm_extension(backend: str) -> None:
    """Leaves out an extension that `init_distributed` would build for gloo: 40 s of C++ before the first step.

    For NCCL there is none, and to look whether there is would start compilers on every rank.
    """
    if backend == "gloo":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def import_muon() -> None:
    """DeepSpeed's own, which every ZeRO stage asks for: uncompiled, else torch's compiler is imported for a second."""
    compile_, compiler.compile = compiler.compile, lambda: lambda function: function
    try:
        import deepspeed.runtime.zero.muon.original_muon  # noqa: F401  # nothing of it is used: optim/muon.py is ours
    finally:
        compiler.compile = compile_


# Weights that ZeRO-3 shards


def zero_3_sharder(config: dict[str, Any], dtype: torch.dtype) -> Callable[[nn.Parameter], None]:
    """The function that leaves a rank its shard of one weight; DeepSpeed hangs it on weights that it has sharded."""
    seed: Any = nn.Linear(1, 1, bias=False)
    deepspeed.zero.Init(module=seed, config_dict_or_path=config, dtype=dtype)
    convert = seed.weight.convert_to_zero_parameters
    return lambda weight: convert(param_list=[weight])


@contextlib.contextmanager
def unmoved(module: nn.Module) -> Iterator[None]:
    """Within it a new engine does not move `module` to its GPU at once: stage 3 moves every weight when it shards it
    (`Init._convert_to_zero_parameters`), and no GPU need hold the whole model.
    """
    vars(module)["to"] = lambda device: module
    try:
        yield
    finally:
        del vars(module)["to"]


def own_shard(weight: nn.Parameter) -> Tensor | None:
    """This rank's shard of a weight, filled up with zeros to the common size; None where ZeRO-3 has not sharded it."""
    return getattr(weight, "ds_tensor", None)


def whole_size(weight: nn.Parameter) -> int:
    """How many elements a sharded weight has on all ranks together, without the zeros at its end."""
    return int(cast(Any, weight).ds_numel)


def gathered_weights(engine: Any, without_frozen: bool) -> dict[str, Tensor] | None:
    """The whole weights on rank 0, None elsewhere; of any dtype, despite its name. Collective."""
    weights: dict[str, Tensor] | None = engine._zero3_consolidated_16bit_state_dict(without_frozen)
    return weights


# Layers that tensor-parallel ranks shard


def shard_layers(model: Any, config: dict[str, Any], degree: int, group: distributed.ProcessGroup | None) -> None:
    """AutoTP without an engine, by `config` (`plan/deepspeed/autotp.py`). Parameters stay the same objects."""
    set_autotp_mode(training=True)
    autotp = AutoTP(
        module=model,
        all_reduce_linears=(),
        prefix="",
        state_dict=None,
        linear_layer_setting=(nn.Linear, nn.Embedding),
        orig_layer_impl=None,
        partition_config=AutoTPConfig.from_dict(config),
        model_config=model.config,
        training_mode=True,
    )
    autotp.mp_size, autotp.mp_group = degree, group
    autotp.update_linear_policies()
    autotp._replace_module(model)
    autotp.register_replicated_grad_hooks(model)


def is_tensor_sharded(weight: nn.Parameter) -> bool:
    """Whether tensor-parallel ranks hold shards of `weight`: AutoTP marks these."""
    return bool(getattr(weight, "tensor_model_parallel", False))


def release_groups() -> None:
    """Forgets the process groups of the last engine: the next one of this process may be laid out otherwise."""
    groups._release_process_group_references()


# The pipeline


def is_repeated(weight: nn.Parameter) -> bool:
    """Whether `weight` is the second copy of a tied weight, which two stages hold."""
    return bool(getattr(weight, "ds_pipe_replicated", False))


def defer_step(engine: Any) -> None:
    """Leaves out the last instruction of the schedule: losses and norms are looked at before weights are touched."""
    engine._INSTRUCTION_MAP = {**engine._INSTRUCTION_MAP, OptimizerStep: _do_nothing}


def _do_nothing(engine: Any) -> None:
    """In the place of `_exec_optimizer_step`."""


def step(engine: Any) -> None:
    """What `defer_step` left out."""
    engine._exec_optimizer_step()


# The optimizer


def client_optimizer(engine: Any) -> Optimizer:
    """The optimizer that the engine was given, whatever it has wrapped around it."""
    optimizer: Optimizer = engine.basic_optimizer
    return optimizer


def autocast_scaler(engine: Any) -> torch.amp.GradScaler | None:
    """The loss scale of fp16 without ZeRO; None elsewhere."""
    scaler: torch.amp.GradScaler | None = engine.torch_autocast_z0_gradscaler
    return scaler


def loss_scale(engine: Any) -> float:
    """What fp16 multiplies the loss by now."""
    scaler = autocast_scaler(engine)
    return float(engine.optimizer.loss_scale if scaler is None else scaler.get_scale())


def bear_least_loss_scale(engine: Any) -> None:
    """Where ZeRO's fp16 can lower its scale no more, an overflow skips the step as before; else DeepSpeed would raise a
    bare Exception. To be said before each step: a checkpoint brings a scaler of its own.
    """
    scaler = getattr(engine.optimizer, "loss_scaler", None)
    if isinstance(scaler, DynamicLossScaler):
        scaler.raise_error_at_min_scale = False


def loss_scaler_state(engine: Any) -> dict[str, Any] | None:
    """What fp16's search for its loss scale has come to; None elsewhere."""
    scaler = getattr(engine.optimizer, "loss_scaler", None)
    return dict(vars(scaler)) if isinstance(scaler, DynamicLossScaler) else gradient_scaler_state(engine)


def restore_loss_scaler(engine: Any, state: dict[str, Any] | None) -> None:
    """The search goes on from what `loss_scaler_state` gave before."""
    if state is None:
        return
    if scaler := autocast_scaler(engine):
        scaler.load_state_dict(state)
    else:
        vars(engine.optimizer.loss_scaler).update(state)


def pending_norm(engine: Any) -> float:
    """The gradient norm before clipping, as ZeRO has it when it calls the optimizer that it wraps."""
    return float(engine.optimizer._global_grad_norm)


def forget_gradients(engine: Any) -> None:
    """After a step that ZeRO 1 or 2 has skipped: with an offloaded optimizer it keeps what it has reduced, so that one
    NaN would be added to the gradients of all later steps.
    """
    if getattr(engine.optimizer, "cpu_offload", False):
        reduced = engine.optimizer.averaged_gradients
        reduced.update(dict.fromkeys(reduced))


def skip_lone_all_reduce(engine: Any) -> None:
    """Without ZeRO DeepSpeed copies gradients to flat buckets and back to sum them up, over one replica too."""
    engine.enable_backward_allreduce = engine.pipeline_enable_backward_allreduce = False


# Checkpoints


@contextlib.contextmanager
def writer(engine: Any, checkpoint_engine: CheckpointEngine) -> Iterator[None]:
    """Within it `checkpoint_engine` writes the engine's files, and the script that unpickles them is left out."""
    original, engine.checkpoint_engine = engine.checkpoint_engine, checkpoint_engine
    engine._copy_recovery_script = lambda save_path: None
    try:
        yield
    finally:
        engine.checkpoint_engine = original
        del engine._copy_recovery_script


@contextlib.contextmanager
def partitioned(engine: Any) -> Iterator[None]:
    """Within it each rank of ZeRO-3 has its shard alone, of small weights too, which are gathered again afterwards."""
    optimizer = engine.optimizer
    if hasattr(optimizer, "checkpoint_event_prologue"):
        optimizer.checkpoint_event_prologue()
    yield
    if hasattr(optimizer, "checkpoint_event_epilogue"):
        optimizer.checkpoint_event_epilogue()


def partition_place(engine: Any, weight: nn.Parameter) -> tuple[Tensor, int, int, int] | None:
    """(flat master of its group, where it starts there, first element of the weight, number of elements) at stages 1
    and 2; None where this rank has no part of it.
    """
    mapping = cast(Any, weight)._hp_mapping
    if mapping is None:
        return None
    flat = client_optimizer(engine).param_groups[mapping.param_group_index]["params"][0]
    part = mapping.lp_fragment_address
    return flat, mapping.hp_fragment_address.start, part.start, part.numel


def shard_place(engine: Any, weight: nn.Parameter) -> tuple[Tensor, int, int, int]:
    """(flat master of its sub-group, where its shard starts there, elements of every rank's shard, this rank) at
    stage 3.
    """
    optimizer = engine.optimizer
    group, start, size = optimizer.grad_position[optimizer.get_param_id(weight)]
    return optimizer.fp32_partitioned_groups_flat[group], start, size, optimizer._get_param_partition_rank(weight)


def gradient_scaler_state(engine: Any) -> dict[str, float] | None:
    """What torch's scaler of fp16 without ZeRO has come to; DeepSpeed saves its own, and not this one."""
    scaler = autocast_scaler(engine)
    return scaler.state_dict() if scaler is not None else None


def set_loss_scale(engine: Any, scale: float) -> None:
    """fp16 goes on with this loss scale."""
    scaler = autocast_scaler(engine)
    if scaler is not None:
        scaler.load_state_dict({**scaler.state_dict(), "scale": scale})
    elif hasattr(engine.optimizer, "loss_scaler"):
        engine.optimizer.loss_scaler.cur_scale = scale


PRIVATE: Iterable[tuple[Any, str]] = (
    (AutoTP, "_replace_module"),
    (AutoTP, "update_linear_policies"),
    (AutoTP, "register_replicated_grad_hooks"),
    (groups, "_release_process_group_references"),
    (deepspeed.DeepSpeedEngine, "_zero3_consolidated_16bit_state_dict"),
    (deepspeed.DeepSpeedEngine, "_copy_recovery_script"),
    (deepspeed.PipelineEngine, "_INSTRUCTION_MAP"),
    (deepspeed.PipelineEngine, "_exec_optimizer_step"),
    (DeepSpeedZeroOptimizer_Stage3, "_get_param_partition_rank"),
    (compiler, "compile"),
)
"""Owner and name of everything above that can be looked up without an engine."""
