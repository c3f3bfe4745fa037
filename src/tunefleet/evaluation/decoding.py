"""Decoding: how each token of an answer is chosen, and how likely the model held the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from tunefleet.evaluation.answer_trie import AnswerTrie

Prefix = tuple[int, tuple[int, ...]]
"""The number of a prompt in its batch, and the tokens behind it."""


@dataclass(frozen=True)
class Sampling:
    """Tokens are drawn: with `temperature`, of the `top_k` likeliest (0: all) that have `top_p` of the probability."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    def warpers(self) -> list[LogitsProcessor]:
        """What transformers applies to scores, in its order."""
        return [
            TemperatureLogitsWarper(self.temperature),
            *([TopKLogitsWarper(self.top_k)] if self.top_k else []),
            *([TopPLogitsWarper(self.top_p)] if self.top_p < 1 else []),
        ]

    def draws(self, number: int, tokens: int) -> list[float]:
        """A number in [0, 1) for each token of the answer to prompt `number`: of its seed and its number alone."""
        numbers: list[float] = np.random.Generator(np.random.Philox(key=[self.seed, number])).random(tokens).tolist()
        return numbers


@dataclass(frozen=True)
class Decoding:
    """Greedy, unless there is a `sampling` or there are several `beams`; only answers of `allowed`, where it is given.

    An answer ends before any of `stop_texts`, too.
    """

    sampling: Sampling | None = None
    beams: int = 1
    stop_texts: tuple[str, ...] = ()
    allowed: AnswerTrie | None = None


GREEDY = Decoding()


class TokenChoice(LogitsProcessor):  # type: ignore[misc]
    """Chooses the tokens of a batch as `decoding` says, and adds up their log-probabilities.

    `numbers` are those of the batch's prompts among all prompts, `start` is the length of a padded prompt, and an
    answer has up to `new_tokens`. An answer depends on its prompt, its number and the seed alone. Probabilities are
    the model's own, before anything is left out or sharpened.
    """

    def __init__(
        self, decoding: Decoding, numbers: Sequence[int], start: int, new_tokens: int, stops: Sequence[int]
    ) -> None:
        self._decoding = decoding
        self._start = start
        self._stops = list(stops)
        sampling = decoding.sampling
        self._draws = [sampling.draws(number, new_tokens) for number in numbers] if sampling else []
        self._totals: dict[Prefix, float] = {}
        self._rows: dict[Prefix, int] = {}
        self._log_probs = torch.empty(0)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """`scores` [rows, vocabulary] with everything but what may be chosen at minus infinity."""
        prefixes = self._prefixes(input_ids)
        log_probs = torch.log_softmax(scores.float(), dim=-1)
        totals = [self.log_probability(prefix) for prefix in prefixes]
        self._totals |= dict(zip(prefixes, totals, strict=True))
        self._rows = {prefix: row for row, prefix in enumerate(prefixes)}
        self._log_probs = log_probs
        ends = log_probs[:, self._stops].tolist()
        for (prompt, tokens), total, of_stops in zip(prefixes, totals, ends, strict=True):
            self._totals |= {(prompt, (*tokens, s)): total + p for s, p in zip(self._stops, of_stops, strict=True)}
        if self._decoding.allowed:
            scores = self._restricted(self._decoding.allowed, prefixes, scores)
        return self._drawn(prefixes, scores) if self._decoding.sampling else scores

    def log_probability(self, prefix: Prefix) -> float:
        """Of the tokens behind a prompt: the sum, NaN where they were not generated here."""
        prompt, tokens = prefix
        if not tokens or prefix in self._totals:
            return self._totals.get(prefix, 0.0)
        parent = (prompt, tokens[:-1])
        if parent not in self._rows:
            return float("nan")
        return self._totals[parent] + float(self._log_probs[self._rows[parent], tokens[-1]])

    def _prefixes(self, input_ids: Tensor) -> list[Prefix]:
        rows = enumerate(input_ids[:, self._start :].tolist())
        return [(row // self._decoding.beams, tuple(tokens)) for row, tokens in rows]

    def _restricted(self, allowed: AnswerTrie, prefixes: Sequence[Prefix], scores: Tensor) -> Tensor:
        mask = torch.full_like(scores, -torch.inf)
        for row, (_, tokens) in enumerate(prefixes):
            mask[row, allowed.next_tokens(tokens) or self._stops] = 0
        return scores + mask

    def _drawn(self, prefixes: Sequence[Prefix], scores: Tensor) -> Tensor:
        """The token at which the cumulated probability passes the draw, and no other."""
        sampling = cast(Sampling, self._decoding.sampling)
        for warper in sampling.warpers():
            scores = warper(cast(Any, None), cast(Any, scores))
        cumulated = torch.softmax(scores.double(), dim=-1).cumsum(-1)
        draws = [self._draws[prompt][len(tokens)] for prompt, tokens in prefixes]
        goals = torch.tensor(draws, dtype=torch.float64, device=scores.device)[:, None] * cumulated[:, -1:]
        token_ids = torch.searchsorted(cumulated, goals, right=True)
        return torch.full_like(scores, -torch.inf).scatter(-1, token_ids, 0.0)


class StopTexts(StoppingCriteria):  # type: ignore[misc]
    """Ends the answers that hold one of `texts`; `start` is the length of a padded prompt."""

    def __init__(self, texts: Sequence[str], tokenizer: Any, start: int) -> None:
        self._texts = texts
        self._tokenizer = tokenizer
        self._start = start
        self._tail = max(len(text.encode()) for text in texts) + 4  # a token is a byte at least, but for special ones

    def __call__(self, input_ids: Tensor, scores: Any, **settings: Any) -> Tensor:
        """Whether each row has ended."""
        tails = input_ids[:, self._start :][:, -self._tail :].tolist()
        decoded = self._tokenizer.batch_decode(tails, skip_special_tokens=True)
        ended = [any(text in tail for text in self._texts) for tail in decoded]
        return torch.tensor(ended, dtype=torch.bool, device=input_ids.device)
