"""Decoding of a run: what `evaluation` says of it, with the answers that are allowed as tokens."""

from __future__ import annotations

from collections.abc import Iterable

from tunefleet.base.errors import ConfigError
from tunefleet.config.data import TrainOn
from tunefleet.config.evaluation import AnswerSet, EvaluationConfig
from tunefleet.config.evaluation import Decoding as DecodingName
from tunefleet.data.encode.end_of_turn import end_of_turn
from tunefleet.data.encode.loss_mask import encode
from tunefleet.data.formats.conversation import Conversation, Turn
from tunefleet.data.store.answer_tokens import answer_tokens
from tunefleet.evaluation.answer_trie import AnswerTrie
from tunefleet.evaluation.decoding import Decoding, Sampling
from tunefleet.plan.plan import Plan
from tunefleet.runs.inputs import RunInputs

_MOST = 20_000  # different answers that are labels still


def decoding_of(plan: Plan, inputs: RunInputs) -> Decoding:
    """How the run's answers are generated. Raises `ConfigError` where there are no labels, or one is too long."""
    config = plan.config.evaluation
    sampling = Sampling(config.temperature, config.top_p, config.top_k, config.seed)
    return Decoding(
        sampling if config.decoding is DecodingName.SAMPLING else None,
        config.beams if config.decoding is DecodingName.BEAM else 1,
        config.stop_texts,
        _allowed(plan, inputs) if config.answers is AnswerSet.LABELS else None,
    )


def _allowed(plan: Plan, inputs: RunInputs) -> AnswerTrie:
    config = plan.config.evaluation
    trie = AnswerTrie(_listed(config.labels, inputs) if config.labels else _of_training(inputs))
    longest = min(config.max_new_tokens, plan.config.train.sequence_length // 2)
    if trie.longest > longest:
        raise ConfigError(
            f"evaluation.answers: the longest label has {trie.longest} tokens, and an answer has up to {longest}. "
            f"{_next_move(config, trie.longest, plan.config.train.sequence_length)}"
        )
    return trie


def _next_move(config: EvaluationConfig, longest: int, sequence_length: int) -> str:
    if config.max_new_tokens < longest:
        return f"Set evaluation.max_new_tokens={longest}."
    return f"Set train.sequence_length={2 * longest}, now {sequence_length}."


def _of_training(inputs: RunInputs) -> Iterable[tuple[int, ...]]:
    answers = answer_tokens(inputs.data.train, end_of_turn(inputs.data.template, inputs.tokenizer).stops)
    if not 0 < len(answers) <= _MOST:
        number = f"{len(answers):,} different answers" if answers else "no answer with an end of its own"
        raise ConfigError(
            f"evaluation.answers=labels: the training data have {number}: these are no labels. "
            "List them (evaluation.labels=[...]), or leave it out."
        )
    return answers


def _listed(labels: Iterable[str], inputs: RunInputs) -> Iterable[tuple[int, ...]]:
    """The tokens of each label as an answer in the run's template."""
    stops = end_of_turn(inputs.data.template, inputs.tokenizer).stops
    turns = [(Turn("user", "?"), Turn("assistant", label)) for label in labels]
    conversations = [Conversation(pair, "evaluation.labels") for pair in turns]
    encoded = encode(conversations, inputs.data.template, inputs.tokenizer, TrainOn.RESPONSE, 1 << 20)
    for row in encoded:
        tokens = [int(token) for token, in_loss in zip(row.tokens, row.loss_mask, strict=True) if in_loss]
        yield tuple(tokens if tokens[-1] in stops else [*tokens, stops[0]])
