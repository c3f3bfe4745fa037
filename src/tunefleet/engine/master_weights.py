"""fp32 master weights: they start at the weights as they were read, not at their 16-bit copies."""

from __future__ import annotations

import torch
from deepspeed.utils import safe_set_full_fp32_param, safe_set_local_fp32_param
from torch import Tensor, nn

from tunefleet.libraries import deepspeed_private


class MasterWeights:
    """Values that 16 bits round. DeepSpeed makes its master weights of the rounded ones; these replace them."""

    def __init__(self) -> None:
        self._exact: list[tuple[nn.Parameter, Tensor]] = []

    def keep(self, weight: nn.Parameter, values: Tensor) -> None:
        """`values` are those of the whole weight, or of this rank's shard where ZeRO-3 has sharded it."""
        rounded = torch.promote_types(values.dtype, weight.dtype) != weight.dtype
        if weight.requires_grad and rounded:
            self._exact.append((weight, values.cpu()))  # a pipeline has its stage on the GPU already

    def set(self) -> None:
        """Gives DeepSpeed's master weights the values that were kept, and forgets them."""
        for weight, values in self._exact:
            if deepspeed_private.own_shard(weight) is not None:
                safe_set_local_fp32_param(weight, values.to(weight.device, torch.float32))
            else:
                safe_set_full_fp32_param(weight, values.to(weight.device, torch.float32))
        self._exact.clear()
