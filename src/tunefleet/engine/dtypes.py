"""Dtypes of torch for `train.precision`."""

from __future__ import annotations

from typing import cast

import torch

from tunefleet.config.train import Precision


def torch_dtype(precision: Precision) -> torch.dtype:
    """The dtype that `precision` names."""
    return cast(torch.dtype, getattr(torch, precision.dtype))
