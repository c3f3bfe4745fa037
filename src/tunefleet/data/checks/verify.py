"""Verification of the loss mask: a few conversations are compared with what inference would do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from tunefleet.base.errors import DataError
from tunefleet.config.data import TrainOn
from tunefleet.data.encode.end_of_turn import EndOfTurn, end_of_turn
from tunefleet.data.encode.long_rows import Encoded
from tunefleet.data.encode.loss_mask import encode_pairs
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.formats.conversation import Conversation


def verify_uncut(
    conversations: Sequence[Conversation], template: ChatTemplate, tokenizer: Any, train_on: TrainOn
) -> None:
    """Looks at a few conversations as they are before anything is cut off. Raises `DataError`."""
    for conversation, encoded in encode_pairs(conversations, template, tokenizer, train_on, sys.maxsize):
        verify(conversation, encoded, template, tokenizer, train_on)


def verify(
    conversation: Conversation, encoded: Encoded, template: ChatTemplate, tokenizer: Any, train_on: TrainOn
) -> None:
    """Looks at every answer of a conversation. It tokenises prompts alone, and uses no offsets of characters.

    Raises `DataError` where an answer's words are in the loss elsewhere or its first token is not, where its
    last token is not one at which generation stops, where a prompt merges with its answer, or where the
    first token stands there twice. Plain text has no answers, and nothing to look at but its beginning.
    """
    template = template.with_tools(conversation.tools)
    _expect_one_beginning(conversation, encoded, tokenizer)
    if conversation.is_text:
        return
    check_boundary(conversation, encoded, template, tokenizer)
    if train_on is TrainOn.ALL:
        return
    _expect_texts(conversation, template, train_on)
    if not template.marked:
        _expect_first_tokens(conversation, encoded, template, tokenizer, train_on)
    _expect_stops(conversation, encoded, end_of_turn(template, tokenizer), tokenizer)


def check_boundary(conversation: Conversation, encoded: Encoded, template: ChatTemplate, tokenizer: Any) -> None:
    """Raises `DataError` where a prompt is tokenised differently alone than in front of its answer.

    At inference the prompt stands alone: if its last token merged with the answer in training, the
    model would meet a prompt that it has never seen.
    """
    full_text = template.text(conversation.messages, conversation.tools)
    for turn in conversation.answers:
        prompt = template.prompt(conversation.messages[:turn], conversation.tools)
        prompt_ids = _ids(prompt, tokenizer)
        trained_ids = encoded.tokens[: len(prompt_ids)].tolist()
        if full_text.startswith(prompt) and prompt_ids[: len(encoded.tokens)] != trained_ids:
            raise DataError(
                f"{conversation.location}: data.template: the prompt's last token merges with the answer's first "
                f"(the prompt ends with {prompt[-12:]!r}), so training and inference would differ. "
                "End the prompt without a space, and begin the answer with it."
            )


def _expect_one_beginning(conversation: Conversation, encoded: Encoded, tokenizer: Any) -> None:
    first = tokenizer.bos_token_id
    if first is not None and encoded.tokens[:2].tolist() == [first, first]:
        raise DataError(
            f"{conversation.location}: begins with {tokenizer.bos_token} twice. The template writes it once: take it "
            "out of the template file, or out of the rows."
        )


def _expect_texts(conversation: Conversation, template: ChatTemplate, train_on: TrainOn) -> None:
    """The last word is enough: templates may strip an answer, or leave out its reasoning."""
    rendered = template.render(conversation, train_on)
    answers = [rendered.text[start:end] for start, end in rendered.answers]
    for number, turn in enumerate(conversation.answers_in_loss(train_on)):
        content = conversation.turns[turn].content.split()
        texts = answers if template.marked else answers[number : number + 1]
        if content and not any(content[-1] in text for text in texts):
            raise DataError(
                f"{conversation.location}: the chat template does not write the answer of message {turn + 1} behind "
                f"its prompt ({content[-1][-40:]!r} is not there), so it would not be in the loss. Use "
                "data.template=plain or chatml, or fix the template: "
                "{% if add_generation_prompt %} must end the prompt."
            )


def _expect_first_tokens(
    conversation: Conversation, encoded: Encoded, template: ChatTemplate, tokenizer: Any, train_on: TrainOn
) -> None:
    messages, tools = conversation.messages, conversation.tools
    prompts = [template.prompt(messages[:turn], tools) for turn in conversation.answers_in_loss(train_on)]
    starts = [len(_ids(prompt, tokenizer)) for prompt in prompts]
    cut = len(encoded.tokens)
    masked = [start for start in starts if 0 < start < cut and not encoded.loss_mask[start]]
    if masked or encoded.loss_mask[: min([*starts, cut])].any():
        raise DataError(
            f"{conversation.location}: the tokens in the loss do not begin where the prompt ends (token "
            f"{(masked or starts)[0]}). Use data.template=plain; if it stays, the tokenizer tells wrong offsets."
        )


def _expect_stops(conversation: Conversation, encoded: Encoded, end: EndOfTurn, tokenizer: Any) -> None:
    edges = np.flatnonzero(encoded.loss_mask & ~np.append(encoded.loss_mask[1:], False))
    for edge in edges.tolist():
        if encoded.tokens[edge] not in end.stops:
            raise DataError(
                f"{conversation.location}: an answer ends with {tokenizer.decode(encoded.tokens[edge])!r}, and "
                f"generation stops at {_names(end.stops, tokenizer)}: the model would not learn to stop. Use a "
                "template that ends answers with {{ eos_token }}, such as plain, or a tokenizer that knows the "
                "template's end of turn as one token."
            )


def _names(tokens: Sequence[int], tokenizer: Any) -> str:
    return " or ".join(repr(token) for token in tokenizer.convert_ids_to_tokens(list(tokens)))


def _ids(text: str, tokenizer: Any) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
