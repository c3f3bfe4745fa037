"""Varlen attention: documents of any lengths in one kernel of a GPU, FlashAttention's (Dao 2023, arXiv:2307.08691).

The package flash_attn where it is installed, else torch's own (`torch.nn.attention.varlen`). Not run on a GPU here:
`tests/model/test_varlen_attention.py` looks at what the kernels are given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from inspect import signature
from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from tunefleet.base.errors import ConfigError

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, int, float, float | None], Tensor]
"""(queries, keys, values, bounds, longest, dropout, scale) -> output, all [tokens, heads, width]."""


def varlen_attention(tokens: list[Tensor], bounds: Tensor, longest: int, dropout: float, scale: float | None) -> Tensor:
    """Causal attention within each document: [tokens, heads, width of a value] from queries, keys and values.

    `bounds` are int32 [documents + 1]; no document has more than `longest` tokens. Raises `ConfigError` where there is
    no kernel.
    """
    query, key, value = tokens
    width = value.shape[-1]
    value = pad(value, (0, query.shape[-1] - width))  # kernels want one width of all three
    return kernel()(query, key, value, bounds, longest, dropout, scale)[..., :width]


@cache
def kernel() -> Kernel:
    """The kernel that this machine has. Raises `ConfigError` where it has none."""
    for make in (_flash, _torch):
        if usable := make():
            return usable
    raise ConfigError(
        "model.attention: document needs a kernel on a GPU: the package flash_attn, or torch 2.13. "
        "Install one of them, or use model.attention=auto."
    )


def _flash() -> Kernel | None:
    attend = _imported("flash_attn", "flash_attn_varlen_func")

    def kernel_of_flash_attn(
        query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, dropout: float, scale: float | None
    ) -> Tensor:
        settings = {"dropout_p": dropout, "softmax_scale": scale, "causal": True}
        output: Tensor = attend(query, key, value, bounds, bounds, longest, longest, **settings)
        return output

    return kernel_of_flash_attn if attend else None


def _torch() -> Kernel | None:
    attend = _imported("torch.nn.attention.varlen", "varlen_attn")
    if attend is None or not {"window_size", "scale", "enable_gqa"} <= signature(attend).parameters.keys():
        return None

    def kernel_of_torch(
        query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, dropout: float, scale: float | None
    ) -> Tensor:
        if dropout:
            raise ConfigError(
                "model.attention: torch's kernel of documents has no dropout of attention. Install flash_attn, "
                "or use model.attention=auto, or model.dropout=0."
            )
        settings = {"scale": scale, "window_size": (-1, 0), "enable_gqa": query.shape[1] != key.shape[1]}
        output: Tensor = attend(query, key, value, bounds, bounds, longest, longest, **settings)
        return output

    return kernel_of_torch


def _imported(module: str, name: str) -> Any:
    """`name` of `module`; None where there is no such module, or it does not fit this torch."""
    try:
        return getattr(import_module(module), name, None)
    except (ImportError, OSError):
        return None
