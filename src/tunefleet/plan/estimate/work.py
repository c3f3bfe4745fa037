"""Work of one process at once: sequences, dtype, what it saves for the backward pass."""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.model import Init
from tunefleet.config.optimizer import OptimizerConfig, OptimizerName
from tunefleet.config.train import Precision
from tunefleet.plan.processes.batch import Batch

STATE_BYTES = {"adamw": 8, "adam": 8, "adamw_8bit": 2, "lion": 4, "adagrad": 4, "muon": 4, "adafactor": 0, "sgd": 0}
"""fp32 states of an optimizer, bytes a trained parameter. Muon keeps 4 for matrices (its AdamW for the rest keeps 8);
Adafactor's rows and columns are so few that they count as none."""
_MOMENTUM = 4
FUSED = (OptimizerName.ADAMW, OptimizerName.ADAM, OptimizerName.ADAMW_8BIT)
"""The optimizers whose update is one kernel (`optim/build_optimizer.py`)."""


def state_bytes(optimizer: OptimizerConfig, master_weights: bool = True) -> int:
    """Bytes of states for each trained parameter; without fp32 master weights they are in bf16 too.

    Raises `ConfigError` for an optimizer without an entry above.
    """
    name = optimizer.name.value
    if name not in STATE_BYTES:
        raise ConfigError(
            f"optimizer.name: the memory of {name} is not known (STATE_BYTES in plan/estimate/work.py). "
            f"Use one of {', '.join(STATE_BYTES)}."
        )
    states = STATE_BYTES[name] + (_MOMENTUM if name == "sgd" and optimizer.momentum else 0)
    return states if master_weights or name == "adamw_8bit" else states // 2


@dataclass(frozen=True)
class Work:
    """A micro-batch of `rows` x `length` tokens, `accumulation` of them in a step.

    `labelled` is the part of the tokens that have a label: 1 is the most that may be. `trained` is the number of
    trainable parameters, None for all. `state_bytes` are the optimizer's states, bytes a trained parameter. `tile`
    is how many tokens have logits at once, None for all. `frozen_bits` are those of quantised weights of linear layers,
    `from_files` is whether weights lie in files, `snapshot` whether each save is copied into memory,
    `masked` whether packed rows have a mask of length x length, `master_weights` whether there are fp32 ones, `fused`
    whether the update of all weights is one kernel, without temporaries.
    """

    rows: int
    length: int
    accumulation: int = 1
    packed: bool = False
    masked: bool = True
    precision: Precision = Precision.BF16
    checkpointing: bool = False
    state_bytes: int = 8
    labelled: float = 1.0
    trained: int | None = None
    tile: int | None = None
    frozen_bits: int | None = None
    from_files: bool = False
    snapshot: bool = False
    master_weights: bool = True
    fused: bool = True

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch."""
        return self.rows * self.length


def work(config: RunConfig, split: Batch, trained: int | None = None, masked: bool = True) -> Work:
    """The work of a run. `trained` is how many parameters are trainable, where not all are."""
    train = config.train
    return Work(
        rows=split.micro,
        length=train.sequence_length,
        accumulation=split.accumulation,
        packed=config.data.packing,
        masked=masked,
        precision=train.precision,
        checkpointing=train.gradient_checkpointing,
        state_bytes=state_bytes(config.optimizer, train.master_weights),
        trained=trained,
        tile=train.loss_tile,
        frozen_bits=config.adapter.frozen_bits,
        from_files=config.model.init is Init.PRETRAINED and not config.adapter.dora,  # it measures the weights
        snapshot=config.checkpoint.asynchronous,
        master_weights=train.master_weights,
        fused=config.optimizer.name in FUSED,
    )
