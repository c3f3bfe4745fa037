"""Generation: answers, in batches that are the same for any number of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import LogitsProcessorList, StoppingCriteriaList

from tunefleet.base.mode import evaluation_mode
from tunefleet.contracts import Evaluable, Group
from tunefleet.evaluation import interruption
from tunefleet.evaluation.decoding import GREEDY, Decoding, StopTexts, TokenChoice
from tunefleet.evaluation.halving import PartSize, in_parts
from tunefleet.evaluation.own_settings import own_settings


@dataclass(frozen=True)
class Limits:
    """`batch` prompts at once, `new_tokens` for an answer, `length` tokens for both together.

    An answer ends at any token of `stops`; without them, at the tokenizer's end of sequence.
    """

    batch: int
    new_tokens: int
    length: int
    stops: tuple[int, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a model answers, and the natural logarithm of the probability that it gave to this answer with its end."""

    text: str
    log_probability: float


def answers(engine: Evaluable, group: Group, tokenizer: Any, prompts: Sequence[str], limits: Limits) -> list[str]:
    """The texts of greedy answers."""
    return [answer.text for answer in generate(engine, group, tokenizer, prompts, limits)]


def generate(
    engine: Evaluable,
    group: Group,
    tokenizer: Any,
    prompts: Sequence[str],
    limits: Limits,
    decoding: Decoding = GREEDY,
    check: interruption.Check | None = None,
) -> list[Answer]:
    """One answer for each prompt, in their order, on every rank.

    Prompts of like length share a batch, and the batches do not depend on the number of ranks: padding,
    and with it every rounding, is the same on 1 and on 8. What is too much for the memory of a rank that computes
    alone is answered in halves of a batch. Raises what `check` raises before a batch.
    """
    by_length = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    batches = [by_length[i : i + limits.batch] for i in range(0, len(by_length), limits.batch)]
    rank_batches = batches[group.rank :: group.size]
    if engine.sharded and batches:  # all ranks must compute together: one without a batch left repeats the first
        rank_batches += [batches[0]] * (-(-len(batches) // group.size) - len(rank_batches))
    act = partial(_generate, engine, tokenizer, prompts, limits, decoding)
    size = PartSize(limits.batch, "evaluation.generate_batch")
    generated: dict[int, tuple[str, float]] = {}
    common = len(batches) // group.size
    for batch in interruption.batches(rank_batches, "generating answers, batches", check, common):
        for part in [act(batch)] if engine.sharded else in_parts(act, batch, size):
            generated |= part
    merged = {number: answer for part in group.gather(list(generated.items())) for number, answer in part}
    return [Answer(*merged[number]) for number in range(len(prompts))]


def _generate(
    engine: Evaluable,
    tokenizer: Any,
    prompts: Sequence[str],
    limits: Limits,
    decoding: Decoding,
    numbers: Sequence[int],
) -> dict[int, tuple[str, float]]:
    """The answers to the prompts of these numbers."""
    new_tokens = min(limits.new_tokens, limits.length // 2)
    if decoding.allowed:
        new_tokens = decoding.allowed.longest
    model: Any = engine.model
    inputs = _inputs(tokenizer, [prompts[number] for number in numbers], limits.length - new_tokens).to(model.device)
    stops, start = limits.stops or (tokenizer.eos_token_id,), inputs["input_ids"].shape[1]
    choice = TokenChoice(decoding, numbers, start, new_tokens, stops)
    criteria = [StopTexts(decoding.stop_texts, tokenizer, start)] if decoding.stop_texts else []
    with evaluation_mode(model), own_settings(model), torch.no_grad(), engine.precision():
        outputs = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            do_sample=False,
            num_beams=decoding.beams,
            use_cache=True,
            max_new_tokens=new_tokens,
            eos_token_id=list(stops),
            pad_token_id=tokenizer.pad_token_id,
            logits_processor=LogitsProcessorList([choice]),
            stopping_criteria=StoppingCriteriaList(criteria),
            synced_gpus=engine.sharded,
        )
    ends = _Ends(tokenizer, stops, decoding.stop_texts)
    rows = [ends.cut(ids) for ids in outputs[:, start:].tolist()]
    totals = [choice.log_probability((row, tuple(ids))) for row, (ids, _) in enumerate(rows)]
    return {number: (text, p) for number, (_, text), p in zip(numbers, rows, totals, strict=True)}


def _inputs(tokenizer: Any, prompts: Sequence[str], length: int) -> Any:
    """Their last `length` tokens, padded on the left."""
    sides = tokenizer.padding_side, tokenizer.truncation_side
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    settings = {"padding": True, "truncation": True, "max_length": length, "return_tensors": "pt"}
    inputs = tokenizer(list(prompts), add_special_tokens=False, **settings)
    tokenizer.padding_side, tokenizer.truncation_side = sides
    return inputs


@dataclass(frozen=True)
class _Ends:
    """Where an answer ends."""

    tokenizer: Any
    stops: Sequence[int]
    texts: Sequence[str]

    def cut(self, ids: list[int]) -> tuple[list[int], str]:
        """The tokens that were generated, with the one that ends them, and the text before it.

        Not every tokenizer calls its end of turn special, so decoding may keep it.
        """
        stop_positions = [position for position, token in enumerate(ids) if token in self.stops]
        text = self._decoded(ids[: stop_positions[0]] if stop_positions else ids)
        generated = ids[: stop_positions[0] + 1] if stop_positions else ids
        if any(stop in text for stop in self.texts):
            counts = range(1, len(generated) + 1)
            generated = generated[: next(n for n in counts if self._stopped(self._decoded(generated[:n])))]
            text = min((text.partition(stop)[0] for stop in self.texts), key=len)
        return generated, text.strip()

    def _decoded(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def _stopped(self, text: str) -> bool:
        return any(stop in text for stop in self.texts)
