"""Architecture of a model: its config.json, parsed once, with its family's facts, sizes and counts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tunefleet.plan.families.family import (
    BlockActivations,
    Config,
    Dimensions,
    Family,
    LayerSizes,
    ParameterCount,
)
from tunefleet.plan.families.registry import countable, family_of


@dataclass(frozen=True)
class Architecture:
    """One model's architecture. `config` is the content of its config.json; all the rest follows from it.

    `dimensions`, `parameters`, `linears` and `activations` raise ValueError where the family's file does not give
    them, and name a key of `config` that is missing or senseless.
    """

    config: Config

    @staticmethod
    def from_json(config: Mapping[str, Any]) -> Architecture:
        """The architecture that `to_json` wrote down."""
        return Architecture(dict(config))

    def to_json(self) -> dict[str, Any]:
        """How plan.json holds it: as a config.json."""
        return dict(self.config)

    def with_layers(self, layers: int) -> Architecture:
        """The same with another number of blocks; raises ValueError for fewer than one.

        A list of layer kinds is left out, since it fits the old depth only; transformers derives it again.
        """
        if layers < 1:
            raise ValueError(f"a model needs at least 1 layer, not {layers}")
        changed = {key: copy.deepcopy(value) for key, value in self.config.items() if key != "layer_types"}
        return Architecture(changed | {self._counted().keys.layers: layers})

    @property
    def model_type(self) -> str:
        """The name of the family, as config.json has it."""
        return str(self.config.get("model_type"))

    @property
    def vocab_rows(self) -> int | None:
        """Rows of the token embedding, where config.json says how many."""
        rows: int | None = self.config.get("vocab_size")
        return rows

    @cached_property
    def family(self) -> Family:
        """The family's facts."""
        return family_of(self.model_type)

    @cached_property
    def dimensions(self) -> Dimensions:
        """The sizes, all counts of rows, heads or tokens."""
        keys = self._counted().keys
        hidden, heads = self._size(keys.hidden), self._size(keys.heads)
        return Dimensions(
            layers=self._size(keys.layers),
            hidden=hidden,
            heads=heads,
            kv_heads=self._kv_heads(heads),
            head_dim=self._head_dim(hidden, heads),
            ffn=self._size(keys.ffn, hidden * keys.ffn_ratio or None),
            vocab=self._size("vocab_size"),
            max_positions=self._size(keys.max_positions) if keys.max_positions else 0,
        )

    @cached_property
    def parameters(self) -> ParameterCount:
        """How many parameters there are."""
        family = self._counted()
        assert family.count is not None
        return family.count(self.config, self.dimensions, self.config.get("tie_word_embeddings", family.keys.tied))

    @cached_property
    def linears(self) -> dict[str, LayerSizes]:
        """Every linear layer but the output head, by its full name in transformers."""
        size, family = self.dimensions, self.family
        if family.linears is None:
            raise ValueError(f"the linear layers of model_type {self.model_type} are not listed")
        block = family.linears(size).items()
        inside = {f"{family.blocks}.{number}.{name}": sizes for number in range(size.layers) for name, sizes in block}
        return {**inside, **family.linears_outside(self.config, size)}

    @property
    def activations(self) -> BlockActivations:
        """What a block keeps for the backward pass."""
        if self.family.activations is None:
            raise ValueError(f"the activations of model_type {self.model_type} are not described")
        return self.family.activations

    @property
    def experts(self) -> int:
        """The experts of a block; 1 where it is no mixture."""
        experts = self.family.experts
        return int(self.config.get(experts.total_key, experts.total)) if experts else 1

    @property
    def active_experts(self) -> int:
        """How many experts compute a token."""
        experts = self.family.experts
        return int(self.config.get(experts.active_key, experts.active)) if experts else 1

    def _counted(self) -> Family:
        if self.family.count is None:
            name = self.config.get("model_type")
            raise ValueError(f"model_type {name} cannot be counted; known are {', '.join(countable())}")
        return self.family

    def _size(self, key: str, default: int | None = None) -> int:
        return self._positive(key, self.config.get(key), default)

    def _positive(self, key: str, value: Any, default: int | None) -> int:
        value = default if value is None else value
        if value is None:
            raise ValueError(f"the {self.model_type} architecture lacks the key {key}")
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{key} must be a positive whole number, not {value!r}")
        return value

    def _kv_heads(self, heads: int) -> int:
        keys = self.family.keys
        default = None if keys.kv_heads_required else heads
        return self._positive("num_key_value_heads", keys.kv_heads(self.config), default)

    def _head_dim(self, hidden: int, heads: int) -> int:
        usual = self.family.keys.head_dim
        if self.config.get("head_dim") is None and not usual and hidden % heads:
            raise ValueError(f"a hidden size of {hidden} does not divide into {heads} attention heads")
        return self._size("head_dim", usual or hidden // heads)
