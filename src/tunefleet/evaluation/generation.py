"""Greedy generation: answers, in batches that are the same for any number of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch

from tunefleet.base import progress
from tunefleet.base.mode import evaluation_mode
from tunefleet.contracts import Evaluable, Group


@dataclass(frozen=True)
class Limits:
    """`batch` prompts at once, `new_tokens` for an answer, `length` tokens for both together.

    An answer ends at any token of `stops`; without them, at the tokenizer's end of sequence.
    """

    batch: int
    new_tokens: int
    length: int
    stops: tuple[int, ...] = ()


def answers(engine: Evaluable, group: Group, tokenizer: Any, prompts: Sequence[str], limits: Limits) -> list[str]:
    """One answer for each prompt, in their order, on every rank.

    Prompts of like length share a batch, and the batches do not depend on the number of ranks: padding,
    and with it every rounding, is the same on 1 and on 8.
    """
    by_length = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    batches = [by_length[i : i + limits.batch] for i in range(0, len(by_length), limits.batch)]
    rank_batches = batches[group.rank :: group.size]
    if engine.sharded and batches:  # all ranks must compute together: one without a batch left repeats the first
        rank_batches += [batches[0]] * (-(-len(batches) // group.size) - len(rank_batches))
    generated: dict[int, str] = {}
    for batch in progress.over(rank_batches, "generating answers, batches"):
        texts = _generate(engine, group.size, tokenizer, [prompts[i] for i in batch], limits)
        generated.update(zip(batch, texts, strict=True))
    merged = {number: text for part in group.gather(list(generated.items())) for number, text in part}
    return [merged[number] for number in range(len(prompts))]


def _generate(engine: Evaluable, ranks: int, tokenizer: Any, prompts: Sequence[str], limits: Limits) -> list[str]:
    new_tokens = min(limits.new_tokens, limits.length // 2)
    model: Any = engine.model
    sides = tokenizer.padding_side, tokenizer.truncation_side
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    inputs = tokenizer(
        list(prompts),
        add_special_tokens=False,
        padding=True,
        truncation=True,
        max_length=limits.length - new_tokens,
        return_tensors="pt",
    ).to(model.device)
    tokenizer.padding_side, tokenizer.truncation_side = sides
    with evaluation_mode(model), torch.no_grad(), engine.precision():
        outputs = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            do_sample=False,
            use_cache=True,
            max_new_tokens=new_tokens,
            eos_token_id=list(limits.stops) or tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            synced_gpus=engine.sharded and ranks > 1,
        )
    new_ids = outputs[:, inputs["input_ids"].shape[1] :].tolist()
    texts = tokenizer.batch_decode([_until(limits.stops, ids) for ids in new_ids], skip_special_tokens=True)
    return [text.strip() for text in texts]


def _until(stops: Sequence[int], ids: list[int]) -> list[int]:
    """Before the first of `stops`: not every tokenizer calls its end of turn special, so decoding may keep it."""
    return list(takewhile(lambda token: token not in stops, ids))
