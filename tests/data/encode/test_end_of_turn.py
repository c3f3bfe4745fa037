"""Does an answer end with the token at which generation stops, and do training and inference begin alike?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer

from tests.data.encode.test_loss_mask import load, talk
from tests.data.encode.test_template import MARKED, NAMES
from tunefleet.base.errors import DataError
from tunefleet.config.data import TrainOn
from tunefleet.data.checks.verify import verify
from tunefleet.data.encode.end_of_turn import EndOfTurn, end_of_turn
from tunefleet.data.encode.loss_mask import encode
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.encode.template_source import find
from tunefleet.data.formats.conversation import Conversation, ToolCall, Turn

ENDS = {"chatml": "<|im_end|>", "gemma": "<end_of_turn>", "llama-3": "<|eot_id|>", "phi-3": "<|end|>"}
REAL = ["tok_opt", "tok_gpt2", "tok_qwen2", "tok_gptneox"]


def knowing(tokenizer: Any, rstrip: bool = False) -> Any:
    """The tokenizer, which now knows every template's end of turn as one token."""
    ends = [AddedToken(end, rstrip=rstrip, normalized=False, special=True) for end in ENDS.values()]
    tokenizer.add_special_tokens({"additional_special_tokens": ends})
    return tokenizer


def chat(tokenizer: Any, source: str) -> ChatTemplate:
    return ChatTemplate(source, dict(tokenizer.special_tokens_map))


def last_learnt(tokenizer: Any, source: str) -> list[str]:
    """The last learnt token of each of two answers."""
    [encoded] = encode([talk("Yes.", "No.")], chat(tokenizer, source), tokenizer, TrainOn.RESPONSE, 999)
    tokens = tokenizer.convert_ids_to_tokens(encoded.tokens.tolist())
    learns = [*encoded.loss_mask.tolist(), False]
    return [token for i, token in enumerate(tokens) if learns[i] and not learns[i + 1]]


@pytest.mark.parametrize("rstrip", [False, True], ids=["", "takes the line break"])
@pytest.mark.parametrize("name", NAMES)
def test_every_answer_ends_with_a_token_that_stops(tokenizer: Any, name: str, rstrip: bool) -> None:
    knowing(tokenizer, rstrip)
    actual = end_of_turn(chat(tokenizer, find(name, None)), tokenizer)
    end = ENDS.get(name, "</s>")
    assert set(actual.stops) == {2, tokenizer.convert_tokens_to_ids(end)}
    assert set(last_learnt(tokenizer, find(name, None))) == {"</s>" if name == "chatml" else end}


@pytest.mark.parametrize(("name", "after"), [("chatml", "\n"), ("zephyr", "\n"), ("llama-3", ""), ("plain", "")])
def test_a_line_break_behind_the_end_is_told_apart(tokenizer: Any, name: str, after: str) -> None:
    assert end_of_turn(chat(knowing(tokenizer), find(name, None)), tokenizer).after == after


def test_an_end_that_is_no_token_stops_nothing(tokenizer: Any) -> None:
    actual = end_of_turn(chat(tokenizer, find("llama-3", None)), tokenizer)
    assert (actual.text, actual.stops) == ("", (2,))


@pytest.mark.parametrize("source", ["{{ raise_exception('no') }}", "{{ messages[0].content }}"])
def test_a_template_that_cannot_be_asked_ends_with_the_sequence(tokenizer: Any, source: str) -> None:
    assert end_of_turn(chat(tokenizer, source), tokenizer) == EndOfTurn("", "", (2,))


def test_the_end_is_learnt_where_the_marks_leave_it_out(tokenizer: Any) -> None:
    assert last_learnt(tokenizer, MARKED) == ["</s>", "</s>"]


END = EndOfTurn("<e>", "\n", (2,))


@pytest.mark.parametrize(
    ("text", "start", "end", "answer"),
    [
        ("q: a<e>\n", 2, 8, " a<e>"),
        ("q: a<e>", 2, 7, " a<e>"),
        ("q: a<e>\nq", 2, 4, " a<e>"),  # marked without its end
        ("q: a", 2, 4, " a"),
        ("q: a<e> and more", 2, 16, " a<e> and more"),  # said by the assistant, not by the template
        ("q<e>: a", 5, 7, " a"),
        ("q:\n", 2, 3, "\n"),
    ],
)
def test_where_generation_of_an_answer_stops(text: str, start: int, end: int, answer: str) -> None:
    assert text[start : END.place(text, start, end)] == answer


# --- as transformers does it


@pytest.mark.parametrize("folder", REAL)
@pytest.mark.parametrize("name", ["auto", *NAMES])
def test_an_export_renders_the_trained_ids_again(folder: str, name: str, tmp_path: Path) -> None:
    """What a run hands over is a tokenizer with its template; a stranger calls apply_chat_template."""
    tokenizer = knowing(load(folder))
    source = find(name, tokenizer.chat_template)
    template = chat(tokenizer, source)
    conversation = talk("Yes 好.", "  No 🎉\n")
    [encoded] = encode([conversation], template, tokenizer, TrainOn.RESPONSE, 999)
    if name == "llama-3" and folder != "tok_qwen2":
        # two line breaks are one token alone and two before a word; in Qwen2's always one
        with pytest.raises(DataError, match="merges"):
            verify(conversation, encoded, template, tokenizer, TrainOn.RESPONSE)
        return
    verify(conversation, encoded, template, tokenizer, TrainOn.RESPONSE)
    tokenizer.chat_template = source
    tokenizer.save_pretrained(tmp_path)
    stranger = AutoTokenizer.from_pretrained(tmp_path)
    assert stranger.apply_chat_template(conversation.messages)["input_ids"] == encoded.tokens.tolist()
    first = next(i for i, learns in enumerate(encoded.loss_mask) if learns)
    prompt = stranger.apply_chat_template(conversation.messages[:2], add_generation_prompt=True)["input_ids"]
    assert prompt == encoded.tokens[:first].tolist()


@pytest.mark.parametrize("folder", [*REAL, "stories260k/hf"])
@pytest.mark.parametrize("name", NAMES)
def test_the_beginning_is_what_the_template_prints_and_never_doubled(folder: str, name: str) -> None:
    """OPT's and Llama's tokenizers would put one before a bare text; before a chat transformers does not."""
    tokenizer = load(folder)
    template = chat(tokenizer, find(name, None))
    [encoded] = encode([talk("Yes.")], template, tokenizer, TrainOn.RESPONSE, 999)
    printed = "{{ bos_token }}" in template.source and tokenizer.bos_token is not None
    begins = encoded.tokens[:2] == tokenizer.bos_token_id
    assert begins.tolist() == [printed, False]


def test_control_a_bare_text_begins_by_itself() -> None:
    tokenizer = load("stories260k/hf")
    assert tokenizer("User: hi")["input_ids"][0] == tokenizer.bos_token_id


def test_a_template_that_prints_a_date_is_no_rewriting_one(tokenizer: Any) -> None:
    source = "{{ strftime_now('%d %b %Y') }}" + find("plain", None)
    assert last_learnt(tokenizer, source) == ["</s>", "</s>"]


def test_a_template_that_refuses_system_messages_names_the_row(tokenizer: Any) -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    with pytest.raises(DataError, match=r"rows\.jsonl:5: data\.template: System role not supported"):
        encode([talk("Yes.")], chat(tokenizer, refusing), tokenizer, TrainOn.RESPONSE, 999)


OBSERVED = (  # as GLM-4: a call ends with the role that speaks next
    "{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>{{ m.content }}{% for c in m.tool_calls %}"
    "{{ c.function | tojson }}{% endfor %}{{ '<|observation|>\n' if m.tool_calls else eos_token }}"
    "{% else %}<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
WEATHER = Conversation(
    (
        Turn("user", "Rain?"),
        Turn("assistant", "", (ToolCall("weather", {"city": "Rome"}),)),
        Turn("tool", "sunny"),
        Turn("assistant", "No."),
    ),
    "rows.jsonl:3",
)


def observing(tokenizer: Any) -> Any:
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<|observation|>", special=True)]})
    return tokenizer


def test_a_call_may_end_with_a_token_of_its_own(tokenizer: Any) -> None:
    template = chat(observing(tokenizer), OBSERVED)
    actual = end_of_turn(template, tokenizer)
    token = tokenizer.convert_tokens_to_ids("<|observation|>")
    assert (actual.text, actual.of_calls, actual.stops) == ("</s>", ("<|observation|>", "\n"), (2, token))
    [encoded] = encode([WEATHER], template, tokenizer, TrainOn.RESPONSE, 999)
    verify(WEATHER, encoded, template, tokenizer, TrainOn.RESPONSE)
    ends = np.flatnonzero(encoded.loss_mask & ~np.append(encoded.loss_mask[1:], False))
    assert encoded.tokens[ends].tolist() == [token, 2]


def test_a_call_closed_by_tokens_of_its_own_stops_at_the_last(tokenizer: Any) -> None:
    tokenizer.add_special_tokens({"additional_special_tokens": ["<tool_call>", "</tool_call>", "<|im_end|>"]})
    actual = end_of_turn(chat(tokenizer, find("chatml", None)), tokenizer)
    assert tokenizer.convert_ids_to_tokens(list(actual.stops)) == ["</s>", "<|im_end|>"]


def test_ends_of_sequence_of_the_generation_config_are_stops(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    template = chat(loaded, find("plain", None))
    for named, stops in ((7, (2, 7)), ([2, 9, 7], (2, 9, 7)), ([999_999], (2,)), (None, (2,)), ("x", (2,))):
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": named}))
        assert end_of_turn(template, loaded).stops == stops
    (tmp_path / "generation_config.json").write_text("{")
    assert end_of_turn(template, loaded).stops == (2,)
