"""Does every prompt get its own answer, in order and the same for any batch and any number of ranks?"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from tests.families import EVERY
from tests.shared import dataset_of, shared_data, tiny_model
from tunefleet.data.batches.order import in_order
from tunefleet.engine.plain_model import PlainModel, SingleProcess
from tunefleet.evaluation.generation import Limits, answers
from tunefleet.model import tokenizer as tokenizers
from tunefleet.model.build import build
from tunefleet.model.learner import Learner
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths.model_files import Sources

torch.set_num_threads(1)

PROMPTS = [
    "turn on the light",
    "a",
    "What is the capital of France?",
    "play some music, please, in the kitchen",
    "no",
    "Add two numbers.",
    "中国 🎉",
]
LIMITS = Limits(batch=3, new_tokens=6, length=60)
STRETCHING = ("phi3, longrope",)  # there the longest prompt of a batch changes the answers of the others


def engine(family: str = "llama", **changes: Any) -> PlainModel:
    return PlainModel(Learner(tiny_model(family, vocab_size=320, **changes)))


class Rank(SingleProcess):
    """One of several ranks: keeps what it would hand round, and gets `others` besides."""

    def __init__(self, rank: int, size: int, other_ranks: Any = None) -> None:
        self.rank, self.size = rank, size
        self.other_ranks = other_ranks or []
        self.own_value: dict[int, Any] = {}

    def gather(self, value: Any) -> list[Any]:
        self.own_value = dict(value)
        return [[(number, ("", 0.0)) for number in range(len(PROMPTS))], *self.other_ranks, value]


def in_one_process(model: Any, tokenizer: Any, prompts: list[str], limits: Limits = LIMITS) -> list[str]:
    return answers(model, SingleProcess(), tokenizer, prompts, limits)


@pytest.mark.parametrize("name", [name for name in EVERY if name not in STRETCHING])
def test_answers_are_those_of_each_prompt_alone(tokenizer: Any, name: str) -> None:
    """Padding on the left changes nothing, and the order is the prompts' own."""
    model = PlainModel(Learner(build(Sources(None, "", Architecture(EVERY[name] | {"vocab_size": 320})), 0)))
    expected = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        answer_tokens = model.model.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=2, pad_token_id=1)
        expected.append(tokenizer.decode(answer_tokens[0, ids.shape[1] :], skip_special_tokens=True).strip())
    assert in_one_process(model, tokenizer, PROMPTS) == expected
    assert len(set(expected)) > 2  # the prompts can be told apart by their answers


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_the_batch_size_does_not_matter(tokenizer: Any, size: int) -> None:
    model = engine()
    texts = in_one_process(model, tokenizer, PROMPTS, Limits(size, 6, 60))
    assert texts == in_one_process(model, tokenizer, PROMPTS)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_ranks_share_the_prompts_and_agree(tokenizer: Any, ranks: int) -> None:
    model = engine()
    expected = in_one_process(model, tokenizer, PROMPTS)
    groups = [Rank(number, ranks) for number in range(ranks)]
    for group in groups:
        answers(model, group, tokenizer, PROMPTS, LIMITS)
    shares = [set(group.own_value) for group in groups]
    assert sum(map(len, shares)) == len(PROMPTS)  # each prompt once
    assert set.union(*shares) == set(range(len(PROMPTS)))
    merged = {number: answer[0] for group in groups for number, answer in group.own_value.items()}
    assert [merged[number] for number in range(len(PROMPTS))] == expected
    last = Rank(0, ranks, [list(group.own_value.items()) for group in groups])
    assert answers(model, last, tokenizer, PROMPTS, LIMITS) == expected


def test_control_the_ranks_compute_the_very_batches_of_one_rank(tokenizer: Any) -> None:
    batches = [batch for number in range(2) for batch in prompts_seen(Rank(number, 2), tokenizer)]
    assert sorted(batches, key=str) == sorted(prompts_seen(SingleProcess(), tokenizer), key=str)


# --- what the model is asked


class Parrot(torch.nn.Module):
    """Answers with the last two tokens of the prompt, and keeps what it is asked."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []

    def generate(self, **settings: Any) -> torch.Tensor:
        assert not self.training
        self.calls.append(settings)
        ids = settings["input_ids"]
        return torch.cat([ids, ids[:, -2:], torch.full((len(ids), 1), 2)], dim=1)


class Stub:
    """An engine around the parrot."""

    def __init__(self, sharded: bool = False) -> None:
        self.model = Parrot()
        self.sharded = sharded

    def precision(self) -> Any:
        return nullcontext()


def prompts_seen(group: Any, tokenizer: Any, sharded: bool = False) -> list[list[list[int]]]:
    stub = Stub(sharded)
    answers(stub, group, tokenizer, PROMPTS, LIMITS)
    return [settings["input_ids"].tolist() for settings in stub.model.calls]


def test_answers_without_the_prompt_and_its_end(tokenizer: Any) -> None:
    stub = Stub()
    texts = in_one_process(stub, tokenizer, ["x y z", "abc"])
    assert texts == ["z", "bc"]


def test_prompts_are_padded_on_the_left_and_masked(tokenizer: Any) -> None:
    stub = Stub()
    in_one_process(stub, tokenizer, ["x y z", "x"])
    [settings] = stub.model.calls
    ids, mask = settings["input_ids"], settings["attention_mask"]
    assert mask.tolist() == [[0] * (ids.shape[1] - 1) + [1], [1] * ids.shape[1]]
    assert (ids[mask == 0] == tokenizer.pad_token_id).all()


def test_generation_is_greedy_and_ends_at_the_end_token(tokenizer: Any) -> None:
    stub = Stub()
    in_one_process(stub, tokenizer, ["x"])
    [settings] = stub.model.calls
    expected = {"do_sample": False, "eos_token_id": [2], "pad_token_id": 1, "max_new_tokens": 6, "synced_gpus": False}
    assert {key: settings[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("length", "new_tokens", "prompt_tokens", "answer_tokens"), [(20, 6, 14, 6), (20, 15, 10, 10), (9, 99, 5, 4)]
)
def test_a_long_prompt_is_cut_on_the_left(
    tokenizer: Any, length: int, new_tokens: int, prompt_tokens: int, answer_tokens: int
) -> None:
    """Its end is what the answer follows from; the answer keeps at most half of the length."""
    stub = Stub()
    prompt = " ".join(f"word{i}" for i in range(30))
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert len(prompt_ids) > length
    in_one_process(stub, tokenizer, [prompt], Limits(2, new_tokens, length))
    [settings] = stub.model.calls
    assert settings["input_ids"].tolist() == [prompt_ids[-prompt_tokens:]]
    assert settings["max_new_tokens"] == answer_tokens


def test_no_special_tokens_are_put_before_a_prompt() -> None:
    """The template has written them; this tokenizer would write <s> once more."""
    tokenizer = tokenizers.load(str(shared_data("stories260k/hf")), "llama")
    stub = Stub()
    in_one_process(stub, tokenizer, ["<s>Once"])
    assert stub.model.calls[0]["input_ids"][0].tolist().count(tokenizer.bos_token_id) == 1
    assert tokenizer("<s>Once")["input_ids"].count(tokenizer.bos_token_id) == 2  # control


@pytest.mark.parametrize(("sharded", "calls"), [(False, [2, 1]), (True, [2, 2])])
def test_sharded_ranks_compute_together(tokenizer: Any, sharded: bool, calls: list[int]) -> None:
    """Three batches over two ranks: with shards the second rank must join the third, or both wait for ever."""
    assert [len(prompts_seen(Rank(number, 2), tokenizer, sharded)) for number in range(2)] == calls


@pytest.mark.parametrize("sharded", [False, True])
def test_ranks_that_share_one_copy_wait_for_each_other(tokenizer: Any, sharded: bool) -> None:
    """The group is of copies: one may be sharded over several GPUs, which may differ in two equally good tokens."""
    stub = Stub(sharded)
    answers(stub, Rank(0, 1), tokenizer, ["a"], LIMITS)
    assert [call["synced_gpus"] for call in stub.model.calls] == [sharded]


def test_sharded_ranks_stop_together(tokenizer: Any) -> None:
    stub = Stub(sharded=True)
    answers(stub, Rank(0, 2), tokenizer, PROMPTS, LIMITS)
    assert all(settings["synced_gpus"] for settings in stub.model.calls)


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("ranks", [1, 2])
def test_no_prompts_have_no_answers(tokenizer: Any, sharded: bool, ranks: int) -> None:
    assert answers(Stub(sharded), Rank(0, ranks), tokenizer, [], LIMITS) == []


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(tokenizer: Any, training: bool) -> None:
    stub = Stub()
    stub.model.train(training)
    in_one_process(stub, tokenizer, ["x"])
    assert stub.model.training is training


def test_the_loss_after_answers_is_the_loss_before(tokenizer: Any) -> None:
    """With dropout: an evaluation of loss and answers must not depend on which comes first."""
    model = engine("opt", dropout=0.5)
    [batch] = in_order(dataset_of([(list(range(3, 23)), [True] * 20)]), None, 1, 0, 1, 1, False)
    loss_before = model.loss(batch)
    in_one_process(model, tokenizer, PROMPTS[:2])
    assert model.loss(batch) == loss_before


def test_the_tokenizer_is_left_as_it_was(tokenizer: Any) -> None:
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    in_one_process(Stub(), tokenizer, ["x", "y z"])
    assert (tokenizer.padding_side, tokenizer.truncation_side) == ("right", "right")


def test_a_pretrained_model_tells_its_story() -> None:
    folder = shared_data("stories260k/hf")
    tokenizer = tokenizers.load(str(folder), "llama")
    model = PlainModel(Learner(build(Sources(str(folder), str(folder), Architecture({})), 0)))
    prompts = ["<s>Once upon a time", "<s>Lily and Tom went to the park. They"]
    texts = in_one_process(model, tokenizer, prompts, Limits(2, 40, 512))
    assert texts[0].startswith(", there was a little girl named Lily. She loved to play outside in the park.")
    assert texts == [in_one_process(model, tokenizer, [prompt], Limits(1, 40, 512))[0] for prompt in prompts]


def test_an_answer_ends_at_the_templates_end_of_turn_too(tokenizer: Any) -> None:
    """And what a model says behind it, or the end itself where it is no special token, is not part of the answer."""
    stub = Stub()
    free = in_one_process(stub, tokenizer, ["x y z"])
    end = tokenizer("y", add_special_tokens=False)["input_ids"][-1]
    assert in_one_process(stub, tokenizer, ["x y z"], Limits(3, 6, 60, (2, end))) == [free[0].partition("y")[0].strip()]
    assert stub.model.calls[-1]["eos_token_id"] == [2, end]
