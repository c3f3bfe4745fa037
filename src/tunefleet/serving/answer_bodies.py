"""Bodies of answers in OpenAI's form: whole ones, and the events of those that are streamed."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

from tunefleet.evaluation.streamed_answer import INTERRUPTED, LENGTH, STOP, Answer
from tunefleet.serving import tool_call_reader
from tunefleet.serving.completion_request import CompletionRequest

_REASONS = {STOP: "stop", LENGTH: "length", INTERRUPTED: "stop"}


class Reply:
    """What all answers have in common; below are both endpoints' own forms."""

    kind, chunk_kind, prefix = "", "", ""

    def __init__(self, name: str, request: CompletionRequest) -> None:
        self.request = request
        self._head = {"id": f"{self.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": name}
        self._begun = False

    def response_body(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        choices = [{"index": number, **self._choice(answer)} for number, answer in enumerate(answers)]
        return {**self._head, "object": self.kind, "choices": choices}

    def chunk(self, number: int, choice: dict[str, Any]) -> dict[str, Any]:
        """The body of an event."""
        choices = [{"index": number, "finish_reason": None, "logprobs": None, **choice}]
        return {**self._head, "object": self.chunk_kind, "choices": choices}

    def chunks(self, number: int, item: str | Answer) -> list[dict[str, Any]]:
        """The bodies of the events that a piece of text, or the end of an answer, makes."""
        raise NotImplementedError

    def _choice(self, answer: Answer) -> dict[str, Any]:
        raise NotImplementedError


class TextReply(Reply):
    """Of /v1/completions."""

    kind = chunk_kind = "text_completion"
    prefix = "cmpl"

    def chunks(self, number: int, item: str | Answer) -> list[dict[str, Any]]:
        """A piece is an event as it is."""
        if isinstance(item, str):
            return [self.chunk(number, {"text": item})]
        return [self.chunk(number, {"text": "", "finish_reason": _REASONS[item.ending]})]

    def _choice(self, answer: Answer) -> dict[str, Any]:
        return {"text": answer.text, "finish_reason": _REASONS[answer.ending], "logprobs": None}


class ChatReply(Reply):
    """Of /v1/chat/completions."""

    kind, chunk_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def chunks(self, number: int, item: str | Answer) -> list[dict[str, Any]]:
        """Where functions may be called, the text comes as one piece: it may be a call."""
        if isinstance(item, Answer):
            return self._last_chunks(number, item)
        piece = item if self._begun else item.lstrip()
        if not piece or self.request.tools:
            return []
        role = {} if self._begun else {"role": "assistant"}
        self._begun = True
        return [self.chunk(number, {"delta": {**role, "content": piece}})]

    def _last_chunks(self, number: int, answer: Answer) -> list[dict[str, Any]]:
        choice = self._choice(answer)
        message: dict[str, Any] = {"role": "assistant"} if not self._begun else {}
        if self.request.tools:
            message = dict(choice["message"])
            if calls := message.get("tool_calls"):
                message["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
        first = [self.chunk(number, {"delta": message})] if message else []
        return [*first, self.chunk(number, {"delta": {}, "finish_reason": choice["finish_reason"]})]

    def _choice(self, answer: Answer) -> dict[str, Any]:
        text, reason = answer.text.lstrip(), _REASONS[answer.ending]
        names = {tool["function"]["name"] for tool in self.request.tools}
        content, calls = tool_call_reader.calls(text, names) if names else (text, ())
        message: dict[str, Any] = {"role": "assistant", "content": content or None if calls else content}
        if calls:
            message["tool_calls"] = [_called(name, arguments) for name, arguments in calls]
            reason = "tool_calls"
        return {"message": message, "finish_reason": reason, "logprobs": None}


def _called(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}


def usage(prompts: Sequence[Sequence[int]], answers: Sequence[Answer]) -> dict[str, int]:
    """How many tokens were read and written."""
    prompt, completion = sum(map(len, prompts)), sum(answer.tokens for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def event(body: dict[str, Any]) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
