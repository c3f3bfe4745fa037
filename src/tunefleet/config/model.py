"""Group `model`: architecture, weights, tokenizer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tunefleet.config.fields import ranged


class Init(Enum):
    """Where the first weights come from."""

    PRETRAINED = "pretrained"
    RANDOM = "random"


class Attention(Enum):
    """How the conversations of a sequence are kept apart."""

    AUTO = "auto"
    DOCUMENT = "document"
    MASK = "mask"


@dataclass(frozen=True)
class ModelConfig:
    """A causal language model."""

    name: str = "hf"
    """Name of this model in run names and plots."""
    path: str | None = None
    """Hub repository or folder of weights and tokenizer; it must be on this machine."""
    published: dict[str, Any] = field(default_factory=dict)
    """The published config.json, for what is done without the files of `path`: planning, `init=random`."""
    architecture: dict[str, Any] = field(default_factory=dict)
    """Changes to the config.json of `path`, or to `published`, such as `{rope_theta: 500000}`; with `init=random` and a
    `model_type` it is the whole architecture. With weights of files what would contradict them is refused."""
    init: Init = Init.PRETRAINED
    """`pretrained` loads the weights of `path`, `random` starts from scratch with `train.seed`."""
    num_layers: int | None = ranged(None, at_least=1)
    """Another number of transformer layers; only with `init=random`."""
    dropout: float | None = ranged(None, at_least=0, below=1)
    """Probability for every dropout of the model, whatever its family calls them; null keeps the published ones."""
    attention: Attention = Attention.AUTO
    """`document` lets every conversation attend by itself, so that cost does not grow with the length of packed
    sequences; `mask` computes whole sequences under a mask; `auto` takes `document` where the
    family allows it, on a CPU. On a GPU `document` needs flash_attn or torch 2.13, and is not measured."""
    freeze: tuple[str, ...] = ()
    """Frozen weights: shell patterns on their names, such as `model.decoder.layers.0.*`."""
    train_only: tuple[str, ...] = ()
    """Trainable weights, where all others are frozen: shell patterns on their names, such as `lm_head.*`."""
    special_tokens: dict[str, str] = field(default_factory=dict)
    """Other special tokens than the tokenizer's own, by `bos_token`, `eos_token`, `unk_token` or `pad_token`."""
    new_tokens: tuple[str, ...] = ()
    """Tokens added to the vocabulary; where the embedding has no row to spare it gets more, the mean of its others."""
    tokenizer: str | None = None
    """Folder or hub repository of the tokenizer; null takes `path`, then the data's own."""
    allow_pickle: bool = False
    """Whether weights may be read from a pickle (`pytorch_model.bin`) where `path` has no safetensors: tensors alone,
    no code in it is run."""
