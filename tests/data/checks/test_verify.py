"""Is a wrong mask refused, whichever way it is wrong?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.data.encode.test_end_of_turn import chat, knowing
from tests.data.encode.test_loss_mask import SPACE_BEFORE, load, talk, without_the_look
from tests.data.encode.test_template import MARKED, NAMES
from tunefleet.base.errors import DataError
from tunefleet.config.data import TrainOn
from tunefleet.data.checks.verify import check_boundary, verify, verify_uncut
from tunefleet.data.encode.long_rows import Encoded
from tunefleet.data.encode.loss_mask import encode
from tunefleet.data.encode.template_source import find
from tunefleet.data.formats.conversation import Conversation, Turn

PLAIN = find("plain", None)
CONVERSATION = talk("Yes, the light.", "No 好.")
ANSWER_FIRST = (  # the answer stands before its question
    "{% for m in messages %}{% if m.role == 'user' %}{{ messages[loop.index].content if messages[loop.index] }}"
    "{{ m.content }}:{% elif m.role == 'assistant' %}</s>{% endif %}{% endfor %}"
)
ALWAYS_FIRST = (
    "{% for m in messages %}{{ m.role }}: {{ messages[2].content if m.role == 'assistant' else m.content }}</s>"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


def check_one(
    tokenizer: Any, source: str, on: TrainOn = TrainOn.RESPONSE, talk: Conversation = CONVERSATION
) -> Encoded:
    return encode([talk], chat(tokenizer, source), tokenizer, on, 999)[0]


def check(tokenizer: Any, source: str, encoded: Encoded, on: TrainOn = TrainOn.RESPONSE) -> None:
    verify(CONVERSATION, encoded, chat(tokenizer, source), tokenizer, on)


@pytest.mark.parametrize("on", TrainOn)
@pytest.mark.parametrize("source", [*(find(name, None) for name in NAMES), MARKED], ids=[*NAMES, "marked"])
def test_what_is_right_is_let_through(tokenizer: Any, source: str, on: TrainOn) -> None:
    knowing(tokenizer)
    check(tokenizer, source, check_one(tokenizer, source, on), on)


@pytest.mark.parametrize("folder", ["tok_opt", "tok_gpt2", "tok_qwen2", "tok_gptneox", "stories260k/hf"])
def test_what_is_right_is_let_through_with_real_tokenizers(folder: str) -> None:
    tokenizer = load(folder)
    check(tokenizer, PLAIN, check_one(tokenizer, PLAIN))


@pytest.mark.parametrize("by", [-1, 1])
def test_a_mask_shifted_by_one_is_refused(tokenizer: Any, by: int) -> None:
    encoded = check_one(tokenizer, PLAIN)
    shifted = replace(encoded, loss_mask=np.roll(encoded.loss_mask, by))
    with pytest.raises(DataError, match=r"rows\.jsonl:5: the tokens in the loss do not begin where the prompt ends"):
        check(tokenizer, PLAIN, shifted)


def test_a_second_answer_that_is_not_learnt_is_refused(tokenizer: Any) -> None:
    encoded, last = check_one(tokenizer, PLAIN), check_one(tokenizer, PLAIN, TrainOn.LAST)
    with pytest.raises(DataError, match="do not begin where the prompt ends"):
        check(tokenizer, PLAIN, replace(encoded, loss_mask=encoded.loss_mask & ~last.loss_mask))


def test_an_end_that_is_not_learnt_is_refused(tokenizer: Any) -> None:
    encoded = check_one(tokenizer, PLAIN)
    with pytest.raises(DataError, match=r"an answer ends with .*generation stops at '</s>'"):
        check(tokenizer, PLAIN, replace(encoded, loss_mask=encoded.loss_mask & (encoded.tokens != 2)))


@pytest.mark.parametrize("name", ["gemma", "llama-3", "phi-3"])
def test_an_end_that_the_tokenizer_does_not_know_is_refused(tokenizer: Any, name: str) -> None:
    source = find(name, None)
    with pytest.raises(DataError, match="the model would not learn to stop"):
        check(tokenizer, source, check_one(tokenizer, source))


@pytest.mark.parametrize(
    ("source", "reason"),
    [(ANSWER_FIRST, "rewrites earlier text"), (ALWAYS_FIRST, ".* characters of message 5")],
)
def test_a_template_that_puts_the_answer_elsewhere_is_refused(tokenizer: Any, source: str, reason: str) -> None:
    with pytest.raises(DataError, match=rf"rows\.jsonl:5: (data\.template: )?(the chat template )?{reason}"):
        check(tokenizer, source, check_one(tokenizer, source))


def test_a_template_that_trims_answers_puts_them_where_they_belong(tokenizer: Any) -> None:
    spaced = talk("  Yes. \n", "\n No.")
    trimming = PLAIN.replace("{{ message.content }}", "{{ message.content | trim }}")
    verify(spaced, check_one(tokenizer, trimming, talk=spaced), chat(tokenizer, trimming), tokenizer, TrainOn.RESPONSE)


def test_a_beginning_that_stands_there_twice_is_refused(tokenizer: Any) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:5: begins with <s> twice"):
        check(tokenizer, "<s>" + PLAIN, check_one(tokenizer, "<s>" + PLAIN))


def test_the_boundary_of_every_answer_is_looked_at(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer does not merge with the space before it, the second does."""
    without_the_look(monkeypatch)
    later = Conversation(
        (Turn("user", "a?"), Turn("assistant", "."), Turn("user", "b?"), Turn("assistant", "the")), "rows.jsonl:8"
    )
    template = chat(tokenizer, SPACE_BEFORE)
    early = Conversation(later.turns[:2], "rows.jsonl:8")
    check_boundary(early, check_one(tokenizer, SPACE_BEFORE, talk=early), template, tokenizer)
    with pytest.raises(DataError, match="merges"):
        check_boundary(later, check_one(tokenizer, SPACE_BEFORE, talk=later), template, tokenizer)


def test_what_was_cut_is_not_held_against_a_row(tokenizer: Any) -> None:
    """A mask is looked at before anything is cut off."""
    verify_uncut([CONVERSATION], chat(tokenizer, PLAIN), tokenizer, TrainOn.RESPONSE)
    [cut] = encode([CONVERSATION], chat(tokenizer, PLAIN), tokenizer, TrainOn.RESPONSE, 43)
    with pytest.raises(DataError):  # control: what was cut would be
        check(tokenizer, PLAIN, cut)


def test_answers_of_no_weight_are_not_missed(tokenizer: Any) -> None:
    for silent in (2, 4):
        turns = [replace(turn, in_loss=i != silent) for i, turn in enumerate(CONVERSATION.turns)]
        weighed = Conversation(tuple(turns), CONVERSATION.location)
        for on in TrainOn:
            encoded = check_one(tokenizer, PLAIN, on, weighed)
            assert not encoded.loss_mask.all()
            verify(weighed, encoded, chat(tokenizer, PLAIN), tokenizer, on)
