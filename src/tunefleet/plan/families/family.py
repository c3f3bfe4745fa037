"""Family of models: every fact that the planner, LoRA, tensor parallelism, packing and stages read of one.

A family is the `model_type` of a config.json. It is added in one file of `known/`; what its file leaves out is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Config = Mapping[str, Any]
"""The content of a config.json."""
LayerSizes = tuple[int, int]
"""(inputs, outputs) of a linear layer."""


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a causal language model, tied weights counted once."""

    embedding: int  # token and position embeddings, and the projections around them
    layers: int  # all transformer blocks together
    head: int  # output projection; 0 where tied to the embedding
    outside: int  # norms outside the blocks, and the bias of the head

    @property
    def total(self) -> int:
        """All parameters of the model."""
        return self.embedding + self.layers + self.head + self.outside


@dataclass(frozen=True)
class Dimensions:
    """Sizes of a causal language model, in words that all families share."""

    layers: int  # transformer blocks
    hidden: int  # width of the residual stream
    heads: int  # query heads
    kv_heads: int  # key and value heads
    head_dim: int  # width of one head
    ffn: int  # inner width of the feed-forward
    vocab: int  # rows of the token embedding
    max_positions: int  # tokens of context; 0 where nothing limits them


def grouped_heads(config: Config) -> int | None:
    """Key and value heads, as most families write them."""
    return config.get("num_key_value_heads")


@dataclass(frozen=True)
class ConfigKeys:
    """A family's names for its sizes in config.json, and what stands for those that may be left out."""

    layers: str = "num_hidden_layers"
    hidden: str = "hidden_size"
    heads: str = "num_attention_heads"
    ffn: str = "intermediate_size"
    max_positions: str = "max_position_embeddings"
    tied: bool = False  # tie_word_embeddings where it is left out
    kv_heads_required: bool = False  # elsewhere a key head for each query head
    kv_heads: Callable[[Config], int | None] = grouped_heads
    head_dim: int = 0  # where head_dim may be left out and is not hidden over heads
    ffn_ratio: int = 0  # feed-forward width over hidden width where it may be left out


@dataclass(frozen=True)
class Experts:
    """A mixture of experts: its names for their number and for how many of them compute a token, and the defaults."""

    total_key: str
    total: int
    active_key: str
    active: int


@dataclass(frozen=True)
class TensorParallelPlan:
    """Projections of a block by their names: ranks hold a shard of the outputs of `columns`, of the inputs of `rows`.

    Ranks add up what `rows` return. `head_norms` work on single heads: every rank holds them whole and sees the
    gradients of its own heads, which are added up. Embeddings, other norms and the output projection are whole.
    A setting of `refused_with` that is on refuses the plan, for the reason given.
    """

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    head_norms: tuple[str, ...] = ()
    refused_with: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Packing:
    """A family whose packed loss is the unpacked one; `windowed` ones may attend within a sliding window.

    A setting of `refused_with` that is on refuses it, for the reason given.
    """

    windowed: bool = False
    refused_with: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StageModules:
    """Names within a family's base model of what only the first or only the last stage of a pipeline needs."""

    positions: str | None = None
    before_blocks: tuple[str, ...] = ()
    after_blocks: tuple[str, ...] = ("norm",)


class Norm(Enum):
    """How a norm is computed, which says what it keeps for the backward pass."""

    LAYER = "one kernel"
    LAYER_WRITTEN_OUT = "LayerNorm in single operations"
    RMS = "RMSNorm in single operations"
    RMS_FP32 = "RMSNorm in single operations, normalised values in fp32"


@dataclass(frozen=True)
class BlockActivations:
    """What a block keeps for the backward pass (`plan/estimate/activations.py`)."""

    norm: Norm = Norm.LAYER
    norms: int = 2  # over the residual stream
    head_norms: bool = False  # of queries and keys
    one_qkv_product: bool = False  # queries, keys and values are one product
    values_are_views: bool = False  # of that product, which stays whole
    scores: bool = False  # there is no SDPA: scores are kept
    capped_scores: bool = False  # a soft cap on scores
    gated: bool = False  # a feed-forward of gate, up and down
    one_gate_up_product: bool = False  # gate and up are one product
    activation: str | None = None  # of a feed-forward without gate, where config.json names none


Count = Callable[[Config, Dimensions, bool], ParameterCount]
"""The parameters of a config.json with these dimensions, tied or not."""
Linears = Callable[[Dimensions], Mapping[str, LayerSizes]]
"""The linear layers of one block, by their names in it."""


def no_linears(config: Config, size: Dimensions) -> Mapping[str, LayerSizes]:
    """There are no linear layers outside of the blocks."""
    return {}


@dataclass(frozen=True)
class Family:
    """Every fact of one model_type. A text in the place of a plan is the reason why there is none."""

    model_type: str
    keys: ConfigKeys = ConfigKeys()
    experts: Experts | None = None
    count: Count | None = None
    blocks: str = "model.layers"  # the list of blocks, by its name in transformers
    linears: Linears | None = None
    linears_outside: Callable[[Config, Dimensions], Mapping[str, LayerSizes]] = no_linears  # of blocks; not the head
    activations: BlockActivations | None = None
    tensor: TensorParallelPlan | str = "it is not measured whether sharding its layers is exact"
    packing: Packing | str = "it is not measured whether its packed loss is the unpacked one"
    attention: str | None = None  # why another cannot stand for it (by document, of split sequences), although it packs
    pipeline: StageModules | None = None
    tiny: Config = field(default_factory=dict)  # settings of its tiny models (`tiny.py`)
    bpe_tokens: Mapping[str, str] = field(default_factory=dict)
    """Special tokens of a tokenizer of vocab.json and merges.txt alone."""
