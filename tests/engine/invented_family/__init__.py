"""A family that is invented: its one file, and what transformers would have of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from tunefleet.plan.families import known, registry

CONFIG: dict[str, Any] = {
    "model_type": "glassfish",
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 64,
    "depth": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}


class GlassfishConfig(LlamaConfig):
    """Its config.json says `depth`."""

    model_type = "glassfish"
    attribute_map: ClassVar[dict[str, str]] = {"num_hidden_layers": "depth"}
    depth: int = 2


class FeedForward(nn.Module):
    """Two matrices, and GELU between them."""

    def __init__(self, config: GlassfishConfig) -> None:
        super().__init__()
        self.lift = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.drop = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., width] to [..., width]."""
        output: Tensor = self.drop(nn.functional.gelu(self.lift(hidden)))
        return output


class GlassfishForCausalLM(LlamaForCausalLM):
    """A Llama with another feed-forward."""

    config_class = GlassfishConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        for layer in self.model.layers:
            layer.mlp = FeedForward(config)


@contextmanager
def family_file() -> Iterator[None]:
    """Within, the folder of family files has `glassfish.py`. transformers learns of it for good."""
    AutoConfig.register("glassfish", GlassfishConfig, exist_ok=True)
    AutoModelForCausalLM.register(GlassfishConfig, GlassfishForCausalLM, exist_ok=True)
    folders, before = list(known.__path__), dict(registry.FAMILIES)
    known.__path__ = [*folders, str(Path(__file__).parent)]
    registry.FAMILIES.update(registry.discover())
    try:
        yield
    finally:
        known.__path__ = folders
        registry.FAMILIES.clear()
        registry.FAMILIES.update(before)
