"""Are answers drawn, searched, stopped, restricted and weighed as asked, whatever the batch and the ranks?"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.evaluation.test_generation import LIMITS, PROMPTS, Rank, Stub, engine
from tests.ranks import run_in_ranks
from tunefleet.engine.plain_model import SingleProcess
from tunefleet.evaluation.answer_trie import AnswerTrie
from tunefleet.evaluation.decoding import Decoding, Sampling
from tunefleet.evaluation.generation import Answer, Limits, generate

SAMPLED = Decoding(Sampling(temperature=1.5, top_p=0.9, top_k=40, seed=3))
LABELS = ("on", "off", "only", "play music", "中")


def trie(tokenizer: Any) -> AnswerTrie:
    return AnswerTrie([*tokenizer(label, add_special_tokens=False)["input_ids"], 2] for label in LABELS)


def answered(model: Any, tokenizer: Any, decoding: Decoding, batch: int = 3, prompts: Any = None) -> list[Answer]:
    limits = Limits(batch, LIMITS.new_tokens, LIMITS.length)
    return generate(model, SingleProcess(), tokenizer, prompts or PROMPTS, limits, decoding)


def prompt_ids(tokenizer: Any, prompt: str) -> torch.Tensor:
    ids: torch.Tensor = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
    return ids


def own_log_probability(model: Any, tokenizer: Any, prompt: str, tokens: list[int]) -> float:
    """Of `tokens` behind a prompt, by one forward pass over both."""
    ids = prompt_ids(tokenizer, prompt)
    with torch.no_grad():
        logits = model.model(torch.cat([ids, torch.tensor([tokens])], dim=1)).logits[0, ids.shape[1] - 1 : -1]
    return float(logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None]).sum())


def close(answers: list[Answer], others: list[Answer]) -> bool:
    return [a.text for a in answers] == [o.text for o in others] and all(
        math.isclose(a.log_probability, o.log_probability, abs_tol=1e-4) for a, o in zip(answers, others, strict=True)
    )


# --- labels, and the probability of an answer


@pytest.mark.parametrize("beams", [1, 8])
def test_answers_are_labels_with_the_models_own_probability(tokenizer: Any, beams: int) -> None:
    model = engine()
    answers = answered(model, tokenizer, Decoding(beams=beams, allowed=trie(tokenizer)))
    assert {answer.text for answer in answers} <= set(LABELS)
    assert len({answer.text for answer in answers}) > 1
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        scores = {
            label: own_log_probability(
                model, tokenizer, prompt, [*tokenizer(label, add_special_tokens=False)["input_ids"], 2]
            )
            for label in LABELS
        }
        assert answer.log_probability == pytest.approx(scores[answer.text], abs=1e-4)
        if beams > len(LABELS):  # nothing is lost on the way: the best for each token, as beam search weighs it
            lengths = {label: len(tokenizer(label, add_special_tokens=False)["input_ids"]) + 1 for label in LABELS}
            assert answer.text == max(LABELS, key=lambda label: scores[label] / lengths[label])


def test_control_without_labels_none_of_them_is_answered(tokenizer: Any) -> None:
    assert not {answer.text for answer in answered(engine(), tokenizer, Decoding())} & set(LABELS)


def test_greedy_and_beam_answers_are_those_of_transformers_with_their_probability(tokenizer: Any) -> None:
    model = engine()
    for beams in (1, 3):
        for prompt, answer in zip(PROMPTS, answered(model, tokenizer, Decoding(beams=beams)), strict=True):
            ids = prompt_ids(tokenizer, prompt)
            settings = {"max_new_tokens": 6, "do_sample": False, "num_beams": beams, "length_penalty": 1.0}
            tokens = model.model.generate(ids, eos_token_id=2, pad_token_id=1, **settings)[0, ids.shape[1] :].tolist()
            tokens = tokens[: tokens.index(2) + 1] if 2 in tokens else tokens
            assert answer.text == tokenizer.decode(tokens, skip_special_tokens=True).strip()
            assert answer.log_probability == pytest.approx(
                own_log_probability(model, tokenizer, prompt, tokens), abs=1e-4
            )


@pytest.mark.parametrize("kind", ["greedy", "sampled", "beam", "labels", "sampled labels"])
def test_neither_batch_nor_ranks_change_an_answer(tokenizer: Any, kind: str) -> None:
    labels = trie(tokenizer)
    model = engine()
    decoding = {
        "greedy": Decoding(),
        "sampled": SAMPLED,
        "beam": Decoding(beams=3),
        "labels": Decoding(allowed=labels),
        "sampled labels": Decoding(Sampling(seed=1), allowed=labels),
    }[kind]
    expected = answered(model, tokenizer, decoding)
    for batch in (1, 7):
        assert close(answered(model, tokenizer, decoding, batch), expected)
    groups = [Rank(number, 3) for number in range(3)]
    for group in groups:
        generate(model, group, tokenizer, PROMPTS, LIMITS, decoding)
    merged = {number: Answer(*answer) for group in groups for number, answer in group.own_value.items()}
    assert close([merged[number] for number in range(len(PROMPTS))], expected)


# --- sampling


def test_tokens_are_drawn_with_their_probabilities(tokenizer: Any) -> None:
    """Two thousand first tokens of one prompt, of those five that top-k leaves, against the model's own softmax."""
    model, count = engine(), 2000
    decoding = Decoding(Sampling(temperature=2.0, top_k=5))
    limits = Limits(500, 1, 60)
    drawn = Counter(
        answer.log_probability
        for answer in generate(model, SingleProcess(), tokenizer, ["turn on"] * count, limits, decoding)
    )
    with torch.no_grad():
        logits = model.model(prompt_ids(tokenizer, "turn on")).logits[0, -1]
    top = logits.topk(5)
    expected = (top.values / 2).softmax(-1)
    for token, probability in zip(top.indices.tolist(), expected.tolist(), strict=True):
        own = float(logits.log_softmax(-1)[token])
        frequency = sum(n for value, n in drawn.items() if math.isclose(value, own, abs_tol=1e-4)) / count
        assert frequency == pytest.approx(probability, abs=5 * math.sqrt(probability / count))


def test_another_seed_draws_others_and_one_token_is_no_choice(tokenizer: Any) -> None:
    model = engine()
    texts = {seed: [a.text for a in answered(model, tokenizer, Decoding(Sampling(seed=seed)))] for seed in (0, 1)}
    assert texts[0] != texts[1]
    greedy = answered(model, tokenizer, Decoding())
    assert close(answered(model, tokenizer, Decoding(Sampling(top_k=1))), greedy)
    assert close(answered(model, tokenizer, Decoding(Sampling(top_p=1e-6))), greedy)


# --- where answers end, and what does not count


def test_an_answer_ends_before_a_stop_text(tokenizer: Any) -> None:
    model = engine()
    free = answered(model, tokenizer, Decoding())
    text = max((answer.text for answer in free), key=len)
    stop = text[len(text) // 2 : len(text) // 2 + 2]
    stopped = answered(model, tokenizer, Decoding(stop_texts=(stop, "not there")))
    assert [answer.text for answer in stopped] == [answer.text.partition(stop)[0].strip() for answer in free]
    assert all(s.log_probability >= f.log_probability - 1e-4 for s, f in zip(stopped, free, strict=True))


def test_the_models_own_generation_settings_do_not_count(tokenizer: Any) -> None:
    model = engine()
    expected = answered(model, tokenizer, Decoding())
    own: Any = model.model.generation_config
    ids = prompt_ids(tokenizer, PROMPTS[0])
    settings: Any = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": 2, "pad_token_id": 1}
    generate_plainly: Any = model.model.generate
    first = int(generate_plainly(ids, **settings)[0, ids.shape[1]])
    own.suppress_tokens, own.repetition_penalty = [first], 50.0
    assert close(answered(model, tokenizer, Decoding()), expected)
    assert model.model.generation_config is own
    assert int(generate_plainly(ids, **settings)[0, ids.shape[1]]) != first  # control: transformers takes them


# --- too little memory


class Small(Stub):
    """Has no memory for more than two rows."""

    def __init__(self, sharded: bool = False) -> None:
        super().__init__(sharded)
        generate_all = self.model.generate

        def generate_few(**settings: Any) -> torch.Tensor:
            if len(settings["input_ids"]) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return generate_all(**settings)

        self.model.generate = generate_few  # type: ignore[method-assign]


def test_a_batch_that_is_too_much_for_the_memory_is_halved_loudly(
    tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = answered(Small(), tokenizer, Decoding(), batch=7)
    assert [answer.text for answer in answers] == [answer.text for answer in answered(Stub(), tokenizer, Decoding())]
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "out of memory" in line] == [
        "tunefleet: out of memory with 7 at once: going on with 3 (evaluation.generate_batch=3 begins so)",
        "tunefleet: out of memory with 3 at once: going on with 1 (evaluation.generate_batch=1 begins so)",
    ]


def test_ranks_that_must_compute_together_do_not_halve_alone(tokenizer: Any) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        answered(Small(sharded=True), tokenizer, Decoding(), batch=7)


def test_every_strategy_answers_as_one_plain_process(tmp_path: Path) -> None:
    """ZeRO-3, tensor parallelism and a pipeline of two real ranks: sampled, searched and restricted answers."""
    for rank in run_in_ranks("tests.evaluation.strategies:answers_of_every_strategy", 2, tmp_path):
        plain = rank.pop("plain")
        assert set(rank) == {"zero3", "tensor", "pipeline"}
        for kinds in rank.values():
            for kind, answers in kinds.items():
                assert close([Answer(*a) for a in answers], [Answer(*a) for a in plain[kind]]), kind
        assert len({str(answers) for answers in plain.values()}) == 4  # each kind answers otherwise
