"""Do exactly the tokens of the answers learn, whatever the tokenizer, and is a bad boundary noticed?"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from tokenizers import processors

from tests.shared import dataset_of, shared_data, tiny_tokenizer
from tunefleet.base.errors import DataError
from tunefleet.config.data import SourceConfig, TrainOn
from tunefleet.data.batches.collate import collate
from tunefleet.data.checks.verify import check_boundary, verify
from tunefleet.data.encode import loss_mask as encode_module
from tunefleet.data.encode.long_rows import Encoded
from tunefleet.data.encode.loss_mask import Encoder, encode, encode_pairs
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.encode.template_rendering import Rendered
from tunefleet.data.encode.template_source import find
from tunefleet.data.formats.conversation import Conversation, Turn
from tunefleet.data.formats.conversation_reader import Reader
from tunefleet.data.read.source_row import Row
from tunefleet.model import tokenizer as tokenizers

TEMPLATES = ("alpaca", "chatml", "human-assistant", "plain")
ANSWERS = {
    "words": "Paris is the capital.",
    "emoji": "👩‍👩‍👧 naïve 🎉🎉",
    "chinese": "你好\uff0c世界。",
    "code": "def f(x):\n    if x:\n        return  1\n\n\n",
    "leading spaces": "  two spaces before",
    "only a space": " ",
    "nothing": "",
    "tabs": "\ta\t\tb",
}


def load(name: str) -> Any:
    if name.startswith("tiny"):
        tokenizer = tiny_tokenizer()
        if name == "tiny, trimming":  # as GPT-NeoX, Pythia and RoBERTa: offsets leave out the spaces of a token
            tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
        return tokenizer
    family = {"tok_opt": "opt", "tok_gpt2": "gpt2", "tok_qwen2": "qwen2", "tok_gptneox": "gpt_neox"}.get(name, "llama")
    tokenizer = tokenizers.load(str(shared_data(name)), family)
    if tokenizer.eos_token is None:  # GPT-NeoX's folder holds tokenizer.json alone
        tokenizer.eos_token = tokenizer.pad_token = "<|endoftext|>"
    return tokenizer


@pytest.fixture(
    scope="module",
    params=["tiny", "tiny, trimming", "tok_opt", "tok_gpt2", "tok_qwen2", "tok_gptneox", "stories260k/hf"],
)
def any_tokenizer(request: pytest.FixtureRequest) -> Any:
    return load(request.param)


def chat(tokenizer: Any, name: str = "plain") -> ChatTemplate:
    return ChatTemplate(find(name, None), dict(tokenizer.special_tokens_map))


def talk(*answers: str) -> Conversation:
    turns = [turn for a in answers for turn in (Turn("user", f"Say {len(a)} 🐼 世"), Turn("assistant", a))]
    return Conversation((Turn("system", "Be brief."), *turns), "rows.jsonl:5")


def encode_one(
    conversation: Conversation, template: ChatTemplate, tokenizer: Any, longest: int = 4096, on: str = "response"
) -> Encoded:
    return encode([conversation], template, tokenizer, TrainOn(on), longest)[0]


def text_of(tokenizer: Any, tokens: Any) -> str:
    """Decoded after a word: a tokenizer of SentencePiece style drops the first space of a text."""
    token_ids = tokenizer("a", add_special_tokens=False)["input_ids"]
    return str(tokenizer.decode([*token_ids, *tokens], clean_up_tokenization_spaces=False))[1:]


def merges(tokenizer: Any, text: str, place: int) -> bool:
    """Whether the text before `place` has other tokens alone than as the beginning of the whole."""
    separate, complete = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in (text[:place], text))
    return bool(complete[: len(separate)] != separate)


def runs(learns: Any) -> list[slice]:
    """The stretches of tokens that learn."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], learns.astype(int), [0]])))
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_loss_tokens_are_the_answers_and_their_ends(any_tokenizer: Any, name: str, answer: str) -> None:
    template = chat(any_tokenizer, name)
    conversation = talk(answer, "Yes. 好 🎉")
    rendered = template.render(conversation)
    if merges(any_tokenizer, rendered.text, rendered.answers[0][0]):  # such as ":def" behind "### Response:" for Qwen 2
        with pytest.raises(DataError, match="merges.* the answer begins with " + re.escape(repr(answer[:12]))):
            encode_one(conversation, template, any_tokenizer)
        return
    encoded = encode_one(conversation, template, any_tokenizer)
    said = [text_of(any_tokenizer, encoded.tokens[run]) for run in runs(encoded.loss_mask)]
    expected = [rendered.text[start:end] for start, end in rendered.answers]
    if name == "chatml":  # a line break behind the token at which generation stops is never generated
        expected = [text.removesuffix("\n") for text in expected]
    assert any_tokenizer.eos_token in expected[0]
    assert said == expected


def test_what_is_learnt_is_what_follows_the_prompt_at_inference(any_tokenizer: Any) -> None:
    """An oracle without offsets: the prompt's own tokens, then everything else learns."""
    template = chat(any_tokenizer)
    conversation = Conversation((Turn("user", "Say 好"), Turn("assistant", "  x 🎉\n\n    y")), "x:1")
    encoded = encode_one(conversation, template, any_tokenizer)
    prompt = any_tokenizer(template.prompt(conversation.messages[:1]), add_special_tokens=False)["input_ids"]
    assert encoded.tokens[: len(prompt)].tolist() == prompt
    assert encoded.loss_mask.tolist() == [False] * len(prompt) + [True] * (len(encoded.tokens) - len(prompt))


def test_tokens_are_those_of_the_whole_text(any_tokenizer: Any) -> None:
    template = chat(any_tokenizer)
    conversation = talk("Yes 好.", "No.")
    complete = any_tokenizer(template.render(conversation).text, add_special_tokens=False)["input_ids"]
    encoded = encode_one(conversation, template, any_tokenizer)
    assert encoded.tokens.tolist() == complete
    assert (encoded.tokens.dtype, encoded.loss_mask.dtype) == (np.int32, np.bool_)


def test_the_end_of_every_answer_learns(any_tokenizer: Any) -> None:
    """Also where the padding token is the same: GPT-2 has no other."""
    encoded = encode_one(talk("Yes.", "No.", "Maybe."), chat(any_tokenizer), any_tokenizer)
    ends = encoded.tokens[encoded.loss_mask] == any_tokenizer.eos_token_id
    assert int(ends.sum()) == 3
    assert encoded.tokens[-1] == any_tokenizer.eos_token_id
    assert encoded.loss_mask[-1]


def test_a_real_end_learns_where_padding_looks_the_same(tokenizer: Any) -> None:
    tokenizer.pad_token = tokenizer.eos_token
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    short, long = (encode_one(talk(a), chat(tokenizer), tokenizer) for a in ("a", "a much longer answer"))
    data = dataset_of([(e.tokens, e.loss_mask) for e in (short, long)])
    batch = collate(data, [0, 1], tokenizer.pad_token_id, packed=False)
    assert int((batch.labels == tokenizer.eos_token_id).sum()) == 2
    assert int((batch.tokens == tokenizer.pad_token_id).sum()) > 2  # the padding is there, and does not learn


def test_train_on_all_puts_every_token_into_the_loss_but_the_first(tokenizer: Any) -> None:
    encoded = encode_one(talk("Yes."), chat(tokenizer), tokenizer, on="all")
    assert encoded.loss_mask.tolist() == [False] + [True] * (len(encoded.tokens) - 1)  # the first has no context
    assert not encode_one(talk("Yes."), chat(tokenizer), tokenizer).loss_mask.all()


def test_words_after_the_last_answer_do_not_learn(tokenizer: Any) -> None:
    conversation = talk("Yes.")
    more = Conversation((*conversation.turns, Turn("user", "Thanks!")), "x:1")
    encoded, previous = (encode_one(c, chat(tokenizer), tokenizer) for c in (more, conversation))
    assert len(encoded.tokens) > len(previous.tokens)
    assert not encoded.loss_mask[len(previous.tokens) :].any()
    assert encoded.loss_mask.sum() == previous.loss_mask.sum()


def test_many_at_once_are_as_one_by_one(tokenizer: Any) -> None:
    conversations = [talk(answer) for answer in ANSWERS.values()]
    batched = encode(conversations, chat(tokenizer), tokenizer, TrainOn.RESPONSE, 4096)
    separate = [encode_one(conversation, chat(tokenizer), tokenizer) for conversation in conversations]
    for a, b in zip(batched, separate, strict=True):
        assert a.tokens.tolist() == b.tokens.tolist()
        assert a.loss_mask.tolist() == b.loss_mask.tolist()


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_truncation_is_told(tokenizer: Any, more: int) -> None:
    full = encode_one(talk("Yes."), chat(tokenizer), tokenizer)
    longest = len(full.tokens) + more
    cut = encode_one(talk("Yes."), chat(tokenizer), tokenizer, longest)
    assert cut.truncated == (more < 0)
    assert len(cut.tokens) == min(longest, len(full.tokens))
    assert cut.tokens[-1] == full.tokens[-1] == tokenizer.eos_token_id
    assert cut.loss_mask[-1]


def test_an_answer_beyond_the_limit_leaves_nothing_to_learn(tokenizer: Any) -> None:
    encoded = encode_one(talk("Yes."), chat(tokenizer), tokenizer, longest=5)
    assert len(encoded.tokens) == 5
    assert not encoded.loss_mask.any()


SPACE_BEFORE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}{{ eos_token }}"
    "{% else %}{{ m.content }} Assistant: {% endif %}{% endfor %}"
)
FRANCE = Conversation((Turn("user", "Capital?"), Turn("assistant", "Paris")), "rows.jsonl:8")


@pytest.mark.parametrize("name", ["tok_opt", "tok_gpt2", "tok_qwen2"])
def test_an_answer_that_would_merge_with_its_prompt_is_tokenised_as_generation_meets_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = load(name)
    template = ChatTemplate(SPACE_BEFORE, dict(tokenizer.special_tokens_map))
    encoded = encode_one(FRANCE, template, tokenizer)
    bos, eos = template.specials.get("bos_token", ""), template.specials["eos_token"]
    texts = (f"{bos}Capital? Assistant: ", f"Paris{eos}")
    prompt, answer = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
    assert encoded.tokens.tolist() == prompt + answer
    assert tokenizer.decode(encoded.tokens[encoded.loss_mask].tolist()) == f"Paris{eos}"
    check_boundary(FRANCE, encoded, template, tokenizer)
    without_the_look(monkeypatch)
    with pytest.raises(DataError, match=re.escape("rows.jsonl:8: data.template: the prompt's last token merges")):
        check_boundary(FRANCE, encode_one(FRANCE, template, tokenizer), template, tokenizer)


def without_the_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: no token is found to lie across the beginning of an answer."""
    real = encode_module.answer_mask
    monkeypatch.setattr(encode_module, "answer_mask", lambda *given: (real(*given)[0], set()))


def test_an_answer_that_would_merge_with_the_tiny_tokenizer(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    template = ChatTemplate(SPACE_BEFORE, dict(tokenizer.special_tokens_map))
    merging = Conversation((Turn("user", "Capital?"), Turn("assistant", "the")), "rows.jsonl:8")
    assert "Ġthe" in tokenizer.get_vocab()
    prompt, answer = tokenizer("<s>Capital? Assistant: ")["input_ids"], tokenizer("the</s>")["input_ids"]
    encoded = encode_one(merging, template, tokenizer)
    assert encoded.tokens.tolist() == prompt + answer
    assert encoded.loss_mask.tolist() == [False] * len(prompt) + [True] * len(answer)
    without_the_look(monkeypatch)
    with pytest.raises(DataError, match=r"ends with '.*Assistant: '"):
        check_boundary(merging, encode_one(merging, template, tokenizer), template, tokenizer)


def test_an_earlier_answer_that_merges_is_a_bad_row(tokenizer: Any) -> None:
    """Its tokens would be others in the prompt of the next answer."""
    template = ChatTemplate(SPACE_BEFORE, dict(tokenizer.special_tokens_map))
    with pytest.raises(DataError, match=re.escape("rows.jsonl:5: data.template: the prompt's last token merges")):
        encode_one(talk("the", "b"), template, tokenizer)


def test_a_tokenizer_that_writes_more_for_a_part_alone_refuses_the_row(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SentencePiece puts a space before a text, so that an answer alone would begin with one."""
    template = ChatTemplate(SPACE_BEFORE, dict(tokenizer.special_tokens_map))
    merging = Conversation((Turn("user", "Capital?"), Turn("assistant", "the")), "rows.jsonl:8")
    encoder = Encoder(template, tokenizer, TrainOn.RESPONSE, 999)
    monkeypatch.setattr(encoder, "decode", lambda ids, **_: str(len(ids)))
    rendered = encoder.render([merging])
    assert isinstance(rendered[0], Rendered)
    [actual] = encoder.masked([merging], rendered, encoder.tokenise(rendered))  # type: ignore[arg-type]
    assert isinstance(actual, DataError)


@pytest.mark.parametrize("end", ["</s>", "</s>\n", "</s></s>"])
def test_an_end_of_sequence_that_the_data_bring_is_not_doubled(tokenizer: Any, end: str) -> None:
    encoder = Encoder(chat(tokenizer), tokenizer, TrainOn.RESPONSE, 999)
    opened = encoder.without_ends([talk(f"Yes.{end}")])
    assert not isinstance(opened, DataError)
    assert opened[0].answer == "Yes."
    untouched = talk("a </s> b")
    assert encoder.without_ends([untouched]) == [untouched]
    assert isinstance(encoder.without_ends([talk("</s>")]), DataError)


def test_a_template_without_an_end_leaves_the_datas_own(tokenizer: Any) -> None:
    source = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"
    encoder = Encoder(ChatTemplate(source, dict(tokenizer.special_tokens_map)), tokenizer, TrainOn.RESPONSE, 999)
    brought = [talk("Yes.</s>")]
    assert encoder.without_ends(brought) == brought


@pytest.mark.parametrize("name", TEMPLATES)
def test_shipped_templates_have_a_clean_boundary(any_tokenizer: Any, name: str) -> None:
    template = chat(any_tokenizer, name)
    for conversation in (FRANCE, talk("the", "b"), talk("你好"), talk("🎉")):
        check_boundary(conversation, encode_one(conversation, template, any_tokenizer), template, any_tokenizer)


@pytest.mark.parametrize("longest", [1, 4, 10, 20])
def test_a_truncated_conversation_has_no_bad_boundary(tokenizer: Any, longest: int) -> None:
    template = chat(tokenizer)
    check_boundary(FRANCE, encode_one(FRANCE, template, tokenizer, longest), template, tokenizer)


def test_a_token_that_begins_in_the_prompt_does_not_learn(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule that check_boundary guards: the merged token belongs to the prompt."""
    without_the_look(monkeypatch)
    template = ChatTemplate(SPACE_BEFORE, dict(tokenizer.special_tokens_map))
    merging = Conversation((Turn("user", "Capital?"), Turn("assistant", "the")), "x:1")
    encoded = encode_one(merging, template, tokenizer)
    assert tokenizer.convert_ids_to_tokens(encoded.tokens[encoded.loss_mask].tolist()) == ["</s>"]


@pytest.mark.parametrize(("length", "longest"), [(1, 8), (30, 8), (30, 1_000)])
def test_a_long_text_becomes_pieces_and_loses_nothing(tokenizer: Any, length: int, longest: int) -> None:
    text = "na " * length
    chat = ChatTemplate("", dict(tokenizer.special_tokens_map))
    actual = encode([Conversation((Turn("text", text),), "a.txt:1")], chat, tokenizer, TrainOn.RESPONSE, longest)
    tokens = [*actual[0].tokens, *(token for piece in actual[1:] for token in piece.tokens[1:])]
    assert tokenizer.decode(tokens) == f"<s>{text}</s>"
    assert all(
        2 <= len(piece.tokens) <= longest and piece.loss_mask[1:].all() and not piece.truncated for piece in actual
    )


# --- tools, weights and several answers


TOOL = {"type": "function", "function": {"name": "weather", "description": "Says it.", "parameters": {}}}
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Bonn"}}</tool_call><|im_end|>'


def weighted(weights: tuple[int, int]) -> Conversation:
    """A row of a file: the assistant calls a function, and then says what it learnt."""
    called = {"function": {"name": "weather", "arguments": '{"city": "Bonn"}'}, "id": "c1"}
    messages = [
        {"role": "user", "content": "Rain in Bonn?"},
        {"role": "assistant", "content": None, "tool_calls": [called], "weight": weights[0]},
        {"role": "tool", "content": "weather: dry", "tool_call_id": "c1"},
        {"role": "assistant", "content": "No 好.", "weight": weights[1]},
    ]
    [actual] = Reader(SourceConfig()).conversations(Row({"messages": messages, "tools": [TOOL]}, "rows.jsonl:5"))
    return actual


@pytest.mark.parametrize(
    ("weights", "on", "expected"),
    [
        ((1, 1), "response", [CALL, "No 好.<|im_end|>"]),
        ((0, 1), "response", ["No 好.<|im_end|>"]),
        ((1, 0), "response", [CALL]),
        ((1, 1), "last", ["No 好.<|im_end|>"]),
        ((1, 0), "last", []),
    ],
)
def test_tools_weights_and_two_answers_learn_exactly_their_tokens(
    any_tokenizer: Any, weights: tuple[int, int], on: str, expected: list[str]
) -> None:
    template, conversation = chat(any_tokenizer, "chatml"), weighted(weights)
    end = "" if any_tokenizer.eos_token == "<|im_end|>" else any_tokenizer.eos_token
    encoded = encode_one(conversation, template, any_tokenizer, on=on)
    said = [text_of(any_tokenizer, encoded.tokens[run]) for run in runs(encoded.loss_mask)]
    assert said == [text + end for text in expected]
    verify(conversation, encoded, template, any_tokenizer, TrainOn(on))


def test_everything_is_learnt_but_a_call_of_no_weight(tokenizer: Any) -> None:
    template = chat(tokenizer, "chatml")
    encoded = encode_one(weighted((0, 1)), template, tokenizer, on="all")
    previous, after = (text_of(tokenizer, encoded.tokens[run]) for run in runs(encoded.loss_mask))
    assert previous.startswith("|im_start|>system\nThese functions")  # the first token, `<`, has no context
    assert previous.endswith("<|im_start|>assistant\n")
    assert after.startswith("<|im_start|>tool\nweather: dry")
    verify(weighted((0, 1)), encoded, template, tokenizer, TrainOn.ALL)


def test_pieces_of_a_text_stand_beside_their_text(tokenizer: Any) -> None:
    text = Conversation((Turn("text", "na " * 30),), "a.txt:1")
    pairs = encode_pairs([talk("Yes."), text, talk("No.")], chat(tokenizer), tokenizer, TrainOn.RESPONSE, 64)
    places = [conversation.location for conversation, _ in pairs]
    assert places[0] == places[-1] == "rows.jsonl:5"
    assert set(places[1:-1]) == {"a.txt:1"}
    assert len(places) > 3
