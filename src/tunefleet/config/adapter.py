"""Group `adapter`: LoRA, trainable matrices of a low rank beside frozen weights."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunefleet.config.fields import ranged


class AdapterName(Enum):
    """What is trainable: every weight, or matrices of a low rank beside them."""

    NONE = "none"
    LORA = "lora"
    QLORA = "qlora"
    LORA_8BIT = "lora_8bit"


@dataclass(frozen=True)
class AdapterConfig:
    """LoRA (Hu et al., 2021): W + scale * B A, where W is frozen, A is [rank, in] and B is [out, rank]."""

    name: AdapterName = AdapterName.NONE
    """`none` trains the model's own weights, `lora` an adapter, `qlora` one beside 4-bit weights, `lora_8bit`."""
    rank: int = ranged(16, at_least=1)
    """Rows of A and columns of B."""
    alpha: float = ranged(32.0, above=0)
    """The scale is alpha / rank, or alpha / sqrt(rank) with `rslora`."""
    dropout: float = ranged(0.0, at_least=0, below=1)
    """Probability of dropping an input of A, while training."""
    targets: tuple[str, ...] = ("all-linear",)
    """Linear layers by the end of their names, such as `q_proj`; `all-linear` is every one but the output head."""
    rslora: bool = False
    """Rank-stabilised scale (Kalajdzievski, 2023): for ranks of 32 and more."""
    dora: bool = False
    """Learn the length of every output's weights apart from their direction (Liu et al., 2024)."""
    lr_ratio_b: float = ranged(1.0, above=0)
    """Learning rate of B relative to A's, which is `optimizer.lr` (LoRA+, Hayou et al., 2024): 16 is usual."""
    merge: bool = True
    """Whether an export is the whole model with the adapter added to its weights, or the adapter alone."""

    @property
    def frozen_bits(self) -> int | None:
        """Bits of the quantised weights beside the adapter; None where they are as the model has them."""
        return {AdapterName.QLORA: 4, AdapterName.LORA_8BIT: 8}.get(self.name)
