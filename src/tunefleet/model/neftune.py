"""NEFTune: uniform noise on the embeddings of a training batch (Jain et al., 2023, arXiv:2310.05914)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel


def add_embedding_noise(model: PreTrainedModel, alpha: float) -> None:
    """While `model` trains, each embedding gets noise from [-m, m], m = alpha / sqrt(tokens of a row x features).

    It is drawn anew for each micro-batch from torch's generator, whose state checkpoints keep. An evaluation has none.
    """

    def noisy(module: Any, inputs: tuple[Any, ...], embedded: Tensor) -> Tensor:
        if not module.training:
            return embedded
        bound = alpha / math.sqrt(embedded.shape[1] * embedded.shape[2])
        return embedded + torch.empty_like(embedded).uniform_(-bound, bound)

    model.get_input_embeddings().register_forward_hook(noisy)
