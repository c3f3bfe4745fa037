"""ZeRO engine: an optimizer step under DeepSpeed ZeRO, stages 0 to 3, with a token-weighted loss."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import deepspeed
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tunefleet.base.mode import evaluation_mode
from tunefleet.config.train import Precision
from tunefleet.contracts import LR_RATIO, CheckpointFile, MicroBatch, Refusal, StepResult, UpdateRule, any_finite
from tunefleet.engine import frozen, replicas, reshard, shards, tensor_parallel
from tunefleet.engine.cuda_extensions import expect_cuda_compiler
from tunefleet.engine.dtypes import torch_dtype
from tunefleet.engine.grad_clipping import clip_global_norm
from tunefleet.engine.group import DataParallelGroup, ProcessGroup
from tunefleet.engine.master_weights import MasterWeights
from tunefleet.engine.nvme_offload import expect_nvme_offload, expect_saveable
from tunefleet.engine.sequence_shard import sequence_shard
from tunefleet.engine.shard_parameters import move_buffers, move_parameters, shard_parameters
from tunefleet.engine.shard_writer import ShardWriter
from tunefleet.engine.step_parts import part
from tunefleet.engine.update_gate import UpdateGate
from tunefleet.libraries import deepspeed_private
from tunefleet.plan.families import lora_targets
from tunefleet.plan.plan import Plan


class ZeroEngine:
    """A learner (micro-batch -> sum of token losses) that DeepSpeed trains.

    The loss of a step is the sum of token losses divided by the loss tokens of all micro-batches and
    ranks: these are counted first, then every micro-batch is scaled, so that any split of the same
    global batch gives the same gradient. (A mean of means weighs short answers more.)
    """

    def __init__(
        self,
        plan: Plan,
        group: ProcessGroup,
        learner: nn.Module,
        optimizer: Optimizer,
        learning_rate: Callable[[int], float],
    ) -> None:
        self._plan = plan
        self._group = group
        self._copies = DataParallelGroup(group, plan.layout)
        self._learning_rate = learning_rate
        self._step = 0
        expect_cuda_compiler(plan.config.parallel)
        expect_nvme_offload(plan.config.parallel)
        self._frozen = frozen.any_frozen(learner)
        self._trained = _names(learner, optimizer)
        masters = self._prepare(learner)
        grid = tensor_parallel.grid(plan.layout)
        with deepspeed_private.unmoved(learner) if self._shards_later else nullcontext():
            self._engine, *_ = deepspeed.initialize(model=learner, optimizer=optimizer, config=plan.engine, mpu=grid)
        masters.set()
        if plan.config.parallel.zero_stage == 0 and plan.layout.replicas == 1:
            deepspeed_private.skip_lone_all_reduce(self._engine)
        self._gate = UpdateGate(deepspeed_private.client_optimizer(self._engine))

    def _prepare(self, learner: nn.Module) -> MasterWeights:
        """Reads the weights, and shards them at stage 3; returns what master weights must start from."""
        stage, masters = self._plan.config.parallel.zero_stage, MasterWeights()
        dtype = torch_dtype(self._plan.config.train.precision if stage else Precision.FP32)
        move_buffers(learner, self._group.device)
        if not self._plan.reads_one_by_one:
            return masters
        if stage == 3:
            shard_parameters(learner, self._plan.engine, self._group.rank, dtype, masters)
        else:
            move_parameters(learner, self._group.device, dtype, masters)
        return masters

    @property
    def _shards_later(self) -> bool:
        """Whether DeepSpeed shards the weights itself, for ZeRO++ and NVMe: each is moved to the GPU for it."""
        return self._plan.config.parallel.zero_stage == 3 and not self._plan.reads_one_by_one

    @property
    def model(self) -> nn.Module:
        """The Hugging Face model inside the learner."""
        return cast(nn.Module, self._engine.module.model)

    @property
    def sharded(self) -> bool:
        """Whether copies of the model hold shards of the weights, so that all must compute together."""
        return self._plan.config.parallel.zero_stage == 3 and self._group.size > 1

    @property
    def reshardable(self) -> bool:
        """Whether it can restore what another number of processes, or another stage of ZeRO, saved."""
        return self._plan.reshardable

    def train_step(self, micro_batches: Sequence[MicroBatch], rule: UpdateRule = any_finite) -> StepResult:
        """One optimizer step, in training mode whatever came before: files give models in evaluation mode.

        Its update is left out, on all ranks, where loss or gradient is not finite, or `rule` refuses it.
        """
        started = time.perf_counter()
        self._engine.train()
        micro_batches = [self._sequence_shard(batch) for batch in micro_batches]
        tokens, loss_tokens = self._count(micro_batches)
        lr = self._set_learning_rate()
        losses = self._accumulate(micro_batches, loss_tokens)
        loss = self._total(losses) / loss_tokens
        with part("optimizer"):
            norm, skipped, refusal = self._update(loss, rule)
        self._step += 1
        seconds = time.perf_counter() - started
        return StepResult(loss, norm, lr, tokens, loss_tokens, skipped, seconds, refusal, tuple(losses))

    def loss(self, micro_batch: MicroBatch) -> tuple[float, int]:
        """(sum of token losses, loss tokens) of this rank's sequences, without gradients or dropout."""
        micro_batch = self._sequence_shard(micro_batch)
        with evaluation_mode(self._engine.module), torch.no_grad():
            total = self._engine(micro_batch.to(self._group.device))
        return float(total.item()), micro_batch.loss_tokens

    def precision(self) -> torch.autocast:
        """The context in which the bare model computes as it does in training."""
        autocast = self._plan.autocast
        dtype = torch_dtype(self._plan.config.train.precision) if autocast else None
        return torch.autocast(self._group.device.type, dtype=dtype, enabled=autocast)

    def shards(self, tag: str) -> Mapping[str, CheckpointFile]:
        """This rank's files of a checkpoint, as `tag`/name: not written, and not to be after the next step.

        Every rank must call it. Raises `RunError` where they could not be restored.
        """
        expect_saveable(self._plan.config.parallel)
        folder = Path("checkpoint")
        writer = ShardWriter(folder)
        state = deepspeed_private.gradient_scaler_state(self._engine)
        scaler = {} if state is None else {"gradient_scaler": state}
        with deepspeed_private.writer(self._engine, writer):
            if not self._frozen:
                self._engine.save_checkpoint(str(folder), tag=tag, save_latest=False, client_state=scaler)
                return writer.shards
            with frozen.without_frozen(self._engine.module):
                self._engine.save_checkpoint(
                    str(folder), tag=tag, save_latest=False, exclude_frozen_parameters=True, client_state=scaler
                )
        base = self._base()
        return {**writer.shards, **({frozen.FILE: frozen.record(base)} if self._group.rank == 0 else {})}

    def restore(self, folder: Path, tag: str, step: int) -> None:
        """Reads this rank's shards from folder/tag and resumes after `step`; every rank must call it."""
        expect_saveable(self._plan.config.parallel)
        if self._frozen:
            frozen.expect(folder, self._base())
        self._forget_moments(step)
        with shards.code_free():
            path, client_state = self._engine.load_checkpoint(
                str(folder), tag=tag, load_lr_scheduler_states=False, load_module_strict=not self._frozen
            )
        assert path is not None, f"DeepSpeed found nothing in {folder}/{tag}, which the manifest vouches for"
        if (saved := client_state.get("gradient_scaler")) and (
            scaler := deepspeed_private.autocast_scaler(self._engine)
        ):
            scaler.load_state_dict(saved)
        self._step = step

    def restore_resized(self, folder: Path, tag: str, step: int) -> None:
        """The same, for what another number of ranks saved, or another stage of ZeRO."""
        if self._frozen:
            frozen.expect(folder, self._base())
        self._forget_moments(step)
        reshard.load(self._engine, self._plan.config.parallel.zero_stage, self._trained, folder / tag)
        self._step = step

    def _forget_moments(self, step: int) -> None:
        """A checkpoint from before the first step has no moments, and loading it would leave those of later steps."""
        for state in deepspeed_private.client_optimizer(self._engine).state.values() if step == 0 else ():
            for value in state.values():
                if torch.is_tensor(value):
                    value.zero_()

    def expect_equal_replicas(self) -> None:
        """Raises `ReplicaDrift` where weights that several ranks hold alike differ in a bit. Collective."""
        replicas.expect_equal(self._replicas(), self._group)

    def _replicas(self) -> dict[str, Tensor]:
        """This rank's copies of weights by name; shards that no other rank holds are harmless among them.

        Of stage 3 only what it keeps whole on every rank.
        """
        return self._named(self.model.named_parameters())

    def _named(self, weights: Iterable[tuple[str, nn.Parameter]]) -> dict[str, Tensor]:
        """Whole weights by name, tensor-parallel shards with their number besides."""
        tensor = self._plan.layout.tensor
        names = {}
        for name, weight in weights:
            if deepspeed_private.own_shard(weight) is None or weight.numel() == deepspeed_private.whole_size(weight):
                is_sharded = tensor > 1 and deepspeed_private.is_tensor_sharded(weight)
                names[f"{name}, shard {self._group.rank % tensor}" if is_sharded else name] = weight.detach()
        return names

    def weights(self) -> dict[str, Tensor] | None:
        """The weights that an export needs on rank 0, None elsewhere; every rank must call it."""
        if self._plan.config.parallel.zero_stage == 3:
            adapter_only = lora_targets.exports_adapter_only(self._plan.config.adapter)
            state = deepspeed_private.gathered_weights(self._engine, adapter_only)
        else:
            state = self._engine.module.state_dict()
        if state is not None:
            state = tensor_parallel.gather(state, self._plan, self._group)
        if state is None or self._group.rank != 0:
            return None
        return {name.removeprefix("model."): weight.detach().cpu() for name, weight in state.items()}

    def _base(self) -> int:
        """The number of all frozen weights; every rank must call it."""
        part = frozen.fingerprint(self._engine.module, self._group.rank, self._group.size)
        return frozen.combine(self._group.gather(part))

    def close(self) -> None:
        """Frees DeepSpeed; every rank must call it, at the end of a run that went well."""
        self._group.barrier()
        self._engine.destroy()
        if self._plan.layout.replicas < self._plan.layout.world_size:
            tensor_parallel.release()
        del self._engine
        gc.collect()

    def _count(self, micro_batches: Sequence[MicroBatch]) -> tuple[int, int]:
        counts = [0.0, 0.0]
        for batch in micro_batches:
            counts[0] += batch.tokens.numel()
            counts[1] += batch.loss_tokens
        tokens, loss_tokens = self._copies.total(counts)
        assert loss_tokens > 0, "the data room keeps only sequences with loss tokens"
        return int(tokens), int(loss_tokens)

    def _set_learning_rate(self) -> float:
        lr = self._learning_rate(self._step)
        for group in deepspeed_private.client_optimizer(self._engine).param_groups:
            group["lr"] = lr * group.get(LR_RATIO, 1.0)
        return lr

    def _accumulate(self, micro_batches: Sequence[MicroBatch], loss_tokens: int) -> list[float]:
        """Gradients of all micro-batches; their sums of token losses. DeepSpeed averages over ranks and steps."""
        averaged_over = self._plan.layout.replicas * self._plan.batch.accumulation
        losses = []
        for number, batch in enumerate(micro_batches, 1):
            with part("forward"):
                loss = self._engine(batch.to(self._group.device))
            with part("backward"):
                self._engine.backward(loss * (averaged_over / loss_tokens))
            losses.append(loss.detach())
            if number < len(micro_batches):
                self._engine.step()  # only counts: the boundary is the last one
        return torch.stack(losses).double().tolist()

    def _total(self, losses: Sequence[float]) -> float:
        """The sum of all ranks' token losses."""
        return self._copies.total([sum(losses)])[0]

    def _update(self, loss: float, rule: UpdateRule) -> tuple[float, bool, Refusal | None]:
        """(gradient norm before clipping, whether nothing was updated, why the update was refused)."""
        scaler_searches, skipped_before = self._searches_loss_scale(), self._engine.skipped_steps
        scaler = deepspeed_private.loss_scaler_state(self._engine)
        deepspeed_private.bear_least_loss_scale(self._engine)
        has_zero = self._plan.config.parallel.zero_stage > 0
        norm = math.inf if has_zero else self._clip()

        def judge() -> Refusal | None:
            nonlocal norm
            norm = deepspeed_private.pending_norm(self._engine) if has_zero else norm
            return _non_finite(loss, norm) or rule(loss, norm)

        with self._gate.judged_by(judge):
            self._apply()
        overflow = self._engine.skipped_steps > skipped_before or not self._gate.was_asked
        if overflow:
            deepspeed_private.forget_gradients(self._engine)
        refusal = _non_finite(loss, norm) if overflow else self._gate.refusal
        if refusal and not overflow:
            self._engine.skipped_steps += 1  # resharding asks DeepSpeed how often the optimizer has stepped
        if scaler_searches and math.isfinite(loss) and not math.isfinite(norm):
            return norm, True, None
        if refusal:
            deepspeed_private.restore_loss_scaler(self._engine, scaler)  # it was not the scale's fault
        return norm, overflow or refusal is not None, refusal

    def _searches_loss_scale(self) -> bool:
        """Whether an infinite gradient tells that fp16's loss scale is too large yet; at 1 it scales nothing."""
        return self._plan.config.train.precision is Precision.FP16 and deepspeed_private.loss_scale(self._engine) > 1

    def _clip(self) -> float:
        """Clips the gradients of stage 0, which DeepSpeed would update with unseen; returns their norm before.

        Not finite where it is on any rank.
        """
        scaler = deepspeed_private.autocast_scaler(self._engine)
        if scaler is not None:
            scaler.unscale_(self._engine.optimizer)
        max_norm = self._plan.config.train.clip
        norm = clip_global_norm(self._engine.module.parameters(), max_norm, self._plan.layout, self._group)
        return math.inf if self._group.agree(int(not math.isfinite(norm))) and math.isfinite(norm) else norm

    def _apply(self) -> None:
        """Updates the weights, and makes the gradients zero."""
        self._engine.step()

    def _sequence_shard(self, batch: MicroBatch) -> MicroBatch:
        degree = self._plan.layout.sequence
        return sequence_shard(batch, self._group.rank % degree, degree)


def _non_finite(loss: float, norm: float) -> Refusal | None:
    """What of them is not finite."""
    if not math.isfinite(loss):
        return Refusal(f"the loss became {loss}")
    return None if math.isfinite(norm) else Refusal(f"the gradient norm became {norm}")


def _names(learner: nn.Module, optimizer: Optimizer) -> list[str]:
    """The names of the optimizer's weights, in its order."""
    names = {id(weight): name for name, weight in learner.named_parameters()}
    return [names[id(weight)] for group in optimizer.param_groups for weight in group["params"]]
