"""Alpaca's lengths: conversations for benchmarks that need no text, as many tokens long as Alpaca's are.

From the file and the tokenizer where they are named, else drawn from the quantiles below.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Lengths = Sequence[tuple[int, int]]
# Tokens of Alpaca's prompts (alpaca template) and answers under the OPT tokenizer, at 0, 10, ... 100 %.
PROMPT_QUANTILES = (30, 36, 38, 39, 41, 42, 44, 48, 55, 65, 300)
ANSWER_QUANTILES = (2, 8, 15, 24, 35, 46, 59, 77, 97, 133, 450)


def lengths(data: Path | None = None, tokenizer: Path | None = None, count: int = 4000) -> Lengths:
    """(prompt, answer) tokens of `count` conversations."""
    if data and tokenizer:
        return _measured(data, tokenizer, count)
    drawn = np.random.default_rng(0)
    places = np.linspace(0, 1, 11)
    prompts = np.interp(drawn.random(count), places, PROMPT_QUANTILES).astype(int)
    answers = np.interp(drawn.random(count), places, ANSWER_QUANTILES).astype(int)
    return list(zip(prompts.tolist(), answers.tolist(), strict=True))


def random_rows(of: Lengths, sequence: int) -> list[tuple[Any, Any]]:
    """(tokens, loss mask) of conversations of random tokens, cut to `sequence`."""
    drawn = np.random.default_rng(0)
    sizes = [(min(prompt + answer, sequence), prompt) for prompt, answer in of]
    return [
        (drawn.integers(4, 50265, size=size).astype(np.int32), np.arange(size) >= min(prompt, size - 1))
        for size, prompt in sizes
    ]


def dataset(rows: Sequence[tuple[Any, Any]], sequence: int, packed: bool) -> Any:
    """Rows of (tokens, loss mask) as prepared data."""
    from tunefleet.data.store.dataset import Card, Dataset
    from tunefleet.data.store.packing import pack

    sizes = [len(tokens) for tokens, _ in rows]
    order = pack(sizes, sequence) if packed else [[number] for number in range(len(rows))]
    tokens, masks = (np.concatenate(arrays) for arrays in zip(*rows, strict=True))
    card = Card("train", len(rows), len(order), len(tokens), int(masks.sum()), 0, 0, max(sizes), sequence)
    bounds = np.cumsum([0] + [len(numbers) for numbers in order])
    return Dataset(card, tokens, masks, np.cumsum([0, *sizes]), np.concatenate(order), bounds, [])


def _measured(data: Path, folder: Path, count: int) -> Lengths:
    from tunefleet.config.data import DataConfig, SourceConfig, TrainOn
    from tunefleet.data.encode.loss_mask import encode
    from tunefleet.data.formats.collect import collect
    from tunefleet.data.prepare import chat_template
    from tunefleet.data.read.bad_rows import BadRows
    from tunefleet.data.read.sources import Source
    from tunefleet.model.tokenizer import load

    tokenizer = load(str(folder), "opt")
    rows = collect(Source("train", SourceConfig(path=str(data), max_rows=count)), BadRows(Path(os.devnull), cap=count))
    template = chat_template(DataConfig(template="alpaca"), tokenizer)
    encoded = encode(rows, template, tokenizer, TrainOn.RESPONSE, 1 << 20)
    return [(int((~e.loss_mask).sum()), int(e.loss_mask.sum())) for e in encoded]
