"""Is an answer streamed whole, and ended at stop tokens, stop texts, its limit and by who wants no more of it?"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from tests import scripted_model
from tests.shared import tiny_model, tiny_tokenizer
from tunefleet.evaluation.streamed_answer import Sampling, streamed
from tunefleet.runs import text_model
from tunefleet.runs.text_model import TextModel, TooLong

END = scripted_model.END


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    answers = {"a": "Hi you.", "k": "\u00e9\u4f60!"}
    folder = scripted_model.write(tmp_path_factory.mktemp("scripted") / "model", answers, {"z": "xq"})
    return text_model.of_folder(folder)


def answered(model: TextModel, question: str, **sampling: Any) -> tuple[list[str], str, int, str]:
    pieces: list[str] = []
    answer = model.answer(model.ids(question), Sampling(**sampling), pieces.append)
    assert "".join(pieces) == answer.text
    return pieces, answer.text, answer.tokens, answer.ending


def test_an_answer_comes_in_pieces_and_ends_at_its_end_of_turn(model: TextModel) -> None:
    pieces, text, tokens, ending = answered(model, "a")
    assert (text, ending) == ("Hi you.", "stop")
    assert len(pieces) > 2
    assert tokens == len(model.ids("Hi you.")) + 1


def test_a_character_of_several_tokens_is_one_piece(model: TextModel) -> None:
    assert answered(model, "k")[0] == ["\u00e9", "\u4f60", "!"]


@pytest.mark.parametrize(
    ("stops", "text"),
    [(("you",), "Hi "), (("yo",), "Hi "), ((".", "Hi"), ""), (("you?",), "Hi you."), (("i y", "zzz"), "H")],
)
def test_a_stop_text_ends_an_answer_and_none_of_it_is_shown(
    model: TextModel, stops: tuple[str, ...], text: str
) -> None:
    assert answered(model, "a", stops=stops)[1:4:2] == (text, "stop")


def test_its_limit_ends_it(model: TextModel) -> None:
    assert answered(model, "z", max_tokens=5)[1:] == ("xqxqx", 5, "length")
    assert answered(model, "z" * 4090)[2:] == (6, "length")


@pytest.mark.parametrize("question", ["", "z" * 4096])
def test_without_room_there_is_no_answer(model: TextModel, question: str) -> None:
    with pytest.raises(TooLong, match="this model takes from 1 to 4095"):
        answered(model, question)


def test_the_models_own_generation_settings_do_not_count(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in evaluation: the same model answers the same in a chat."""
    own = model.model.generation_config
    [first, *_] = model.ids("Hi you.")
    monkeypatch.setattr(own, "suppress_tokens", [first])
    assert answered(model, "a")[1] == "Hi you."
    assert model.model.generation_config is own
    monkeypatch.setattr("tunefleet.evaluation.streamed_answer.own_settings", lambda model: nullcontext())
    assert answered(model, "a")[1] != "Hi you."  # control: transformers takes them


def test_who_wants_no_more_gets_no_more(model: TextModel) -> None:
    pieces: list[str] = []
    answer = model.answer(model.ids("z"), Sampling(), pieces.append, cancelled=lambda: len(pieces) >= 7)
    assert (len(pieces) in (7, 8), answer.ending) == (True, "interrupted")


def test_ctrl_c_ends_the_answer_alone(model: TextModel) -> None:
    def put(piece: str) -> None:
        pieces.append(piece)
        if len(pieces) == 3:
            raise KeyboardInterrupt

    pieces: list[str] = []
    answer = model.answer(model.ids("z"), Sampling(), put)
    assert (answer.text, answer.ending) == ("xqx", "interrupted")


def test_greedy_answers_are_those_of_plain_transformers_and_a_seed_repeats_others() -> None:
    tokenizer, network = tiny_tokenizer(), tiny_model("llama", vocab_size=320).eval()
    prompt = tokenizer("User: What is", add_special_tokens=False)["input_ids"]

    def drawn(**sampling: Any) -> str:
        return streamed(network, tokenizer, prompt, Sampling(max_tokens=12, **sampling), [END], lambda _: None).text

    import torch

    ids = network.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=12, eos_token_id=END)[0]
    assert drawn() == tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
    assert drawn(temperature=1.0, seed=1) == drawn(temperature=1.0, seed=1)
    assert len({drawn(temperature=1.0, seed=seed) for seed in range(4)}) > 1
    assert drawn(temperature=1.0, top_p=1e-6, seed=3) == drawn()
