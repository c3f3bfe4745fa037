"""Streamed answer: one answer of a model, given away piece by piece while it is generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers.decoders import DecodeStream
from transformers import StoppingCriteriaList

from tunefleet.evaluation.own_settings import own_settings

STOP, LENGTH, INTERRUPTED = "stop", "length", "interrupted"
"""How an answer ended: at an end of turn or a stop text, at `max_tokens`, or because nobody wants the rest."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: greedily at a `temperature` of 0, else among those that make up `top_p` of the probability.

    An answer has at most `max_tokens`, and ends before any of the texts `stops`. With a `seed` it comes again.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int | None = None
    stops: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A text without its end of turn, how many tokens were generated for it, and how it ended."""

    text: str
    tokens: int
    ending: str


class _Stream:
    """A streamer of transformers: takes its tokens, and passes on text that no stop text can begin with any more."""

    def __init__(self, tokenizer: Any, stop_ids: Sequence[int], stops: Sequence[str], put: Callable[[str], None]):
        self._backend = tokenizer.backend_tokenizer
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._stop_ids, self._stops, self._put = frozenset(stop_ids), stops, put
        self._prompt_passed = False
        self._held_back = ""
        self.text = ""
        self.tokens = 0
        self.ended = False

    def put(self, value: torch.Tensor) -> None:
        """The next token, [1]; the first call brings the prompt."""
        if not self._prompt_passed:
            self._prompt_passed = True
            return
        if self.ended:  # transformers looks for reasons to stop one token later
            return
        self.tokens += 1
        token = int(value.reshape(-1)[0])
        if token in self._stop_ids:
            self.ended = True
            return
        self._add(self._decoder.step(self._backend, token) or "")

    def end(self) -> None:
        """Passes on what was held back: no stop text follows."""
        self._pass_on(self._held_back)

    def _add(self, piece: str) -> None:
        text = self._held_back + piece
        starts = [start for stop in self._stops if (start := text.find(stop)) >= 0]
        if starts:
            self.ended, text = True, text[: min(starts)]
        keep = 0 if self.ended else max((_overlap(text, stop) for stop in self._stops), default=0)
        self._pass_on(text[: len(text) - keep])
        self._held_back = text[len(text) - keep :]

    def _pass_on(self, text: str) -> None:
        self._held_back = ""
        self.text += text
        if text:
            self._put(text)


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)


def streamed(
    model: Any,
    tokenizer: Any,
    prompt: Sequence[int],
    sampling: Sampling,
    stop_ids: Sequence[int],
    put: Callable[[str], None],
    cancelled: Callable[[], bool] = lambda: False,
) -> Answer:
    """Generates behind the tokens `prompt` and gives each piece of text to `put`; stops where `cancelled` says so.

    Ctrl-C ends the answer and not the process: what was generated so far is the answer, `INTERRUPTED`.
    """
    stream = _Stream(tokenizer, stop_ids, sampling.stops, put)
    stopped = False

    def wants_no_more(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        nonlocal stopped
        stopped = stopped or cancelled()
        return torch.full((ids.shape[0],), stream.ended or stopped, device=ids.device)

    try:
        _generate(model, tokenizer, prompt, sampling, stop_ids, stream, wants_no_more)
    except KeyboardInterrupt:
        stopped = True
        stream.end()
    if stream.ended:
        return Answer(stream.text, stream.tokens, STOP)
    return Answer(stream.text, stream.tokens, INTERRUPTED if stopped else LENGTH)


def _generate(
    model: Any,
    tokenizer: Any,
    prompt: Sequence[int],
    sampling: Sampling,
    stop_ids: Sequence[int],
    stream: _Stream,
    wants_no_more: Callable[..., torch.Tensor],
) -> None:
    ids = torch.tensor([list(prompt)], device=model.device)
    drawing: dict[str, Any] = {"do_sample": False}
    if sampling.temperature:  # transformers' own default is to draw among 50 tokens
        drawing = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    if sampling.seed is not None:
        torch.manual_seed(sampling.seed)
    with torch.no_grad(), own_settings(model):
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            use_cache=True,
            max_new_tokens=sampling.max_tokens,
            eos_token_id=list(stop_ids),
            pad_token_id=tokenizer.pad_token_id,
            streamer=stream,
            stopping_criteria=StoppingCriteriaList([wants_no_more]),
            **drawing,
        )
