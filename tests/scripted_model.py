"""How does a test know what a model will answer? A tiny exported Llama whose next token is a table of the last one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tests.shared import tiny_model, tiny_tokenizer

TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""The prompt ends with the question's last character, which decides the answer."""
TOOL_TEMPLATE = "{% for tool in tools or [] %}{{ tool['function']['name'] }} {% endfor %}" + TEMPLATE
END = 2


def write(folder: Path, answers: Mapping[str, str], loops: Mapping[str, str] = {}, template: str = TEMPLATE) -> Path:
    """Exports a model that answers a question which ends with a key of `answers` by its value, whose tokens differ.

    One that ends with a key of `loops` is answered by that text again and again.
    """
    from tunefleet.model.export import export

    tokenizer, table = tiny_tokenizer(), dict[int, int]()
    for pairs, endless in ((answers, False), (loops, True)):
        for key, answer in pairs.items():
            chain = [*_ids(tokenizer, key), *_ids(tokenizer, answer)]
            ends = [*chain[1:], chain[1] if endless else END]
            for token, following in zip(chain, ends, strict=True):
                assert table.setdefault(token, following) == following, f"{answer!r} shares a token with another answer"
    model = _model(table)
    export(folder, model, dict(model.state_dict()), tokenizer, template, [END])
    return folder


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _model(table: Mapping[int, int]) -> Any:
    size = 320
    model = tiny_model(
        "llama",
        vocab_size=size,
        hidden_size=size,
        intermediate_size=8,
        num_hidden_layers=1,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
    )
    with torch.no_grad():
        for layer in model.model.layers:  # the residual stream alone is left: the token itself
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.lm_head.weight.zero_()
        for token in range(size):
            model.lm_head.weight[table.get(token, END), token] = 1
    return model
