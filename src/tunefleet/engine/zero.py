"""ZeRO engine: an optimizer step under DeepSpeed ZeRO, stages 0 to 3, with a token-weighted loss."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import deepspeed
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tunefleet.base.checksums import Checksum
from tunefleet.base.errors import NonFiniteLoss
from tunefleet.base.mode import evaluation_mode
from tunefleet.config.train import Precision
from tunefleet.contracts import MicroBatch, StepResult
from tunefleet.engine import frozen, reshard, shards, tensor_parallel
from tunefleet.engine.dtypes import torch_dtype
from tunefleet.engine.grad_clipping import clip_global_norm
from tunefleet.engine.group import DataParallelGroup, ProcessGroup
from tunefleet.engine.master_weights import MasterWeights
from tunefleet.engine.nvme_offload import expect_nvme_offload, expect_saveable
from tunefleet.engine.sequence_shard import sequence_shard
from tunefleet.engine.shard_parameters import move_parameters, shard_parameters
from tunefleet.engine.shard_writer import ShardWriter
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
        expect_nvme_offload(plan.config.parallel)
        self._frozen = frozen.any_frozen(learner)
        masters = self._prepare(learner)
        grid = tensor_parallel.grid(plan.layout)
        self._engine, *_ = deepspeed.initialize(model=learner, optimizer=optimizer, config=plan.engine, mpu=grid)
        masters.set()

    def _prepare(self, learner: nn.Module) -> MasterWeights:
        """Reads the weights, and shards them at stage 3; returns what master weights must start from."""
        stage, masters = self._plan.config.parallel.zero_stage, MasterWeights()
        dtype = torch_dtype(self._plan.config.train.precision if stage else Precision.FP32)
        if not self._plan.reads_one_by_one:
            return masters
        if stage == 3:
            shard_parameters(learner, self._plan.engine, self._group.rank, dtype, masters)
        else:
            move_parameters(learner, self._group.device, dtype, masters)
        return masters

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
        """Whether any number of processes can restore what these save; DeepSpeed reshards no frozen weights."""
        return self._plan.reshardable and (self._plan.config.parallel.zero_stage == 0 or not self._frozen)

    def train_step(self, micro_batches: Sequence[MicroBatch]) -> StepResult:
        """One optimizer step, in training mode whatever came before: files give models in evaluation mode.

        Raises `NonFiniteLoss`, before the weights are touched where it can.
        """
        started = time.perf_counter()
        self._engine.train()
        micro_batches = [self._sequence_shard(batch) for batch in micro_batches]
        tokens, loss_tokens = self._count(micro_batches)
        lr = self._set_learning_rate()
        loss = self._accumulate(micro_batches, loss_tokens)
        self._expect_finite("loss", loss)
        norm, skipped = self._update() if self._plan.config.parallel.zero_stage else self._clip_and_update()
        self._step += 1
        seconds = time.perf_counter() - started
        return StepResult(loss, norm, lr, tokens, loss_tokens, skipped, seconds)

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

    def save(self, folder: Path, tag: str) -> dict[str, Checksum]:
        """Writes this rank's shards below folder/tag, synced; returns their checksums by name in `folder`.

        Every rank must call it. Raises `RunError` where it cannot.
        """
        expect_saveable(self._plan.config.parallel)
        writer = ShardWriter(folder)
        with deepspeed_private.writer(self._engine, writer):
            if not self._frozen:
                self._engine.save_checkpoint(str(folder), tag=tag, save_latest=False)
                return writer.checksums
            with frozen.without_frozen(self._engine.module):
                self._engine.save_checkpoint(str(folder), tag=tag, save_latest=False, exclude_frozen_parameters=True)
        base = self._base()
        record = {frozen.FILE: frozen.write(folder, base)} if self._group.rank == 0 else {}
        return writer.checksums | record

    def restore(self, folder: Path, tag: str, step: int) -> None:
        """Reads this rank's shards from folder/tag and resumes after `step`; every rank must call it."""
        expect_saveable(self._plan.config.parallel)
        if self._frozen:
            frozen.expect(folder, self._base())
        with shards.code_free():
            path, _ = self._engine.load_checkpoint(
                str(folder), tag=tag, load_lr_scheduler_states=False, load_module_strict=not self._frozen
            )
        assert path is not None, f"DeepSpeed found nothing in {folder}/{tag}, which the manifest vouches for"
        self._step = step

    def restore_resized(self, folder: Path, tag: str, step: int) -> None:
        """The same, for what another number of ranks saved."""
        if self._plan.config.parallel.zero_stage == 0:
            self.restore(folder, tag, step)
        else:
            reshard.load(self._engine, self._group, folder, tag, step)
            self._step = step

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
            group["lr"] = lr
        return lr

    def _accumulate(self, micro_batches: Sequence[MicroBatch], loss_tokens: int) -> float:
        """Gradients of all micro-batches; returns the mean loss. DeepSpeed averages over ranks and steps."""
        averaged_over = self._plan.layout.replicas * self._plan.batch.accumulation
        total = torch.zeros((), dtype=torch.float64, device=self._group.device)
        for number, batch in enumerate(micro_batches, 1):
            loss = self._engine(batch.to(self._group.device))
            self._engine.backward(loss * (averaged_over / loss_tokens))
            total += loss.detach()
            if number < len(micro_batches):
                self._engine.step()  # only counts: the boundary is the last one
        return self._copies.total([float(total.item())])[0] / loss_tokens

    def _update(self) -> tuple[float, bool]:
        """(gradient norm before clipping, whether the step was skipped); ZeRO clips and steps at once."""
        skipped_before = self._engine.skipped_steps
        self._apply()
        skipped = bool(self._engine.skipped_steps > skipped_before)
        norm = math.inf if skipped else float(self._engine.get_global_grad_norm())
        self._expect_finite("gradient norm", norm)
        return norm, skipped

    def _clip_and_update(self) -> tuple[float, bool]:
        """The same without ZeRO: DeepSpeed would keep the norm to itself, and step on a NaN."""
        scaler = deepspeed_private.autocast_scaler(self._engine)
        if scaler is not None:
            scaler.unscale_(self._engine.optimizer)
        norm = self._clip()
        self._expect_finite("gradient norm", norm)
        self._apply()
        return norm, not math.isfinite(norm)

    def _clip(self) -> float:
        """Clips the gradients of stage 0; returns their norm before."""
        max_norm = self._plan.config.train.clip
        return clip_global_norm(self._engine.module.parameters(), max_norm, self._plan.layout, self._group)

    def _apply(self) -> None:
        """Updates the weights, and makes the gradients zero."""
        self._engine.step()

    def _expect_finite(self, quantity: str, value: float) -> None:
        """fp16 may meet infinities, while it looks for its loss scale, and skips those steps."""
        if not math.isfinite(value) and self._plan.config.train.precision is not Precision.FP16:
            raise NonFiniteLoss(
                f"the {quantity} became {value} at step {self._step + 1}. The last checkpoint is from before it. "
                "Look at the rows of that step, lower optimizer.lr, or lengthen schedule.warmup."
            )

    def _sequence_shard(self, batch: MicroBatch) -> MicroBatch:
        degree = self._plan.layout.sequence
        return sequence_shard(batch, self._group.rank % degree, degree)
