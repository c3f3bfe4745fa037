"""Completion request: what a client of OpenAI's API asks for; every option is obeyed or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunefleet.evaluation.streamed_answer import Sampling

JSON = Mapping[str, Any]
_BOOKKEEPING = ("user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier", "verbosity")
"""Options that change no answer."""
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "parallel_tool_calls": (True,),
    "modalities": (["text"],),
    "tool_choice": ("auto", "none"),
}
"""Options that are taken with these values alone, which ask for nothing."""
_OBEYED = ("model", "temperature", "top_p", "max_tokens", "seed", "stop", "stream", "stream_options")
_OF_CHATS = ("messages", "tools", "max_completion_tokens")


class ApiError(Exception):
    """What a client is told: `status` of HTTP, and the fields of OpenAI's error object."""

    def __init__(self, message: str, param: str | None = None, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        kinds = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}
        kind = kinds.get(self.status, "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class CompletionRequest:
    """`messages` and `tools` of a chat, or `prompts` of a completion: texts, or tokens."""

    model: str
    sampling: Sampling
    messages: Sequence[JSON] = ()
    tools: Sequence[JSON] = ()
    prompts: Sequence[str | list[int]] = ()
    stream: bool = False
    include_usage: bool = False


def chat_request(body: Any, defaults: Sampling) -> CompletionRequest:
    """What the body of a POST to /v1/chat/completions asks for. Raises `ApiError`."""
    fields = _fields(body, (*_OBEYED, *_OF_CHATS))
    request = _common(fields, defaults)
    messages = [_message(message) for message in _required(fields, "messages", list)]
    if not messages:
        raise ApiError("messages: holds none.", "messages")
    tools = [] if fields.get("tool_choice") == "none" else _optional(fields, "tools", list, [])
    for tool in tools:
        if not isinstance(tool, Mapping) or tool.get("type") != "function" or not _function_name(tool):
            raise ApiError("tools: each is {'type': 'function', 'function': {'name': ..., ...}}.", "tools")
    limit = fields.get("max_completion_tokens")
    if limit is not None:
        request = replace(request, sampling=replace(request.sampling, max_tokens=_max_tokens(limit)))
    return replace(request, messages=messages, tools=tools)


def completion_request(body: Any, defaults: Sampling) -> CompletionRequest:
    """What the body of a POST to /v1/completions asks for. Raises `ApiError`."""
    fields = _fields(body, (*_OBEYED, "prompt"))
    prompt = fields.get("prompt")
    prompts: Any = [prompt] if isinstance(prompt, str) or _is_tokens(prompt) else prompt
    is_list = isinstance(prompts, list) and bool(prompts)
    if not is_list or not all(isinstance(item, str) or _is_tokens(item) for item in prompts):
        raise ApiError("prompt: is a text, a list of tokens, or a list of either.", "prompt")
    return replace(_common(fields, defaults), prompts=prompts)


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int and token >= 0 for token in value)


def _function_name(tool: JSON) -> str:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else ""


def _fields(body: Any, supported: Sequence[str]) -> JSON:
    """The options that are set. Raises `ApiError` for those that are not obeyed."""
    if not isinstance(body, Mapping):
        raise ApiError("The body is no JSON object.")
    fields = {name: value for name, value in body.items() if value is not None}
    for name, value in fields.items():
        if name in _NEUTRAL:
            if value not in _NEUTRAL[name]:
                allowed = " or ".join(json.dumps(neutral) for neutral in _NEUTRAL[name])
                raise ApiError(f"{name}: {json.dumps(value)[:80]} is not supported here. Supported: {allowed}.", name)
        elif name not in supported and name not in _BOOKKEEPING:
            raise ApiError(f"{name[:80]}: is no option here. Leave it out.", name[:80])
    return fields


def _common(fields: JSON, defaults: Sampling) -> CompletionRequest:
    sampling = Sampling(
        _number(fields, "temperature", defaults.temperature, "from 0 to 5", lambda value: 0 <= value <= 5),
        _number(fields, "top_p", defaults.top_p, "above 0, at most 1", lambda value: 0 < value <= 1),
        _max_tokens(fields.get("max_tokens", defaults.max_tokens)),
        _seed(fields.get("seed", defaults.seed)),
        _stops(fields.get("stop", [])),
    )
    options = _optional(fields, "stream_options", dict, {})
    return CompletionRequest(
        model=_required(fields, "model", str),
        sampling=sampling,
        stream=_optional(fields, "stream", bool, False),
        include_usage=bool(options.get("include_usage", False)),
    )


def _required(fields: JSON, name: str, kind: type) -> Any:
    if name not in fields:
        raise ApiError(f"{name}: is missing.", name)
    return _optional(fields, name, kind, None)


def _optional(fields: JSON, name: str, kind: type, default: Any) -> Any:
    value = fields.get(name, default)
    if not isinstance(value, kind):
        names = {list: "a list", str: "a text", bool: "true or false", dict: "an object"}
        raise ApiError(f"{name}: is {names[kind]}.", name)
    return value


def _number(fields: JSON, name: str, default: float, allowed: str, is_allowed: Callable[[float], bool]) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not is_allowed(value):
        raise ApiError(f"{name}: {json.dumps(value)[:80]} is not allowed. Allowed: a number {allowed}.", name)
    return float(value)


def _max_tokens(value: Any) -> int:
    if type(value) is not int or not 1 <= value < 1 << 31:
        raise ApiError(f"max_tokens: {json.dumps(value)[:80]} is not allowed. Allowed: 1 or more.", "max_tokens")
    return value


def _seed(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not -(1 << 63) <= value < 1 << 63):
        raise ApiError("seed: is a whole number of 64 bits.", "seed")
    return value


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops) or len(stops) > 16:
        raise ApiError("stop: is a text, or a list of at most 16 texts, none of them empty.", "stop")
    return tuple(stops)


def _message(message: Any) -> dict[str, Any]:
    """A message as templates take it: text as one string, arguments of calls as objects."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise ApiError("messages: each is an object with a role and a content.", "messages")
    role = "system" if message["role"] == "developer" else message["role"]
    turn: dict[str, Any] = {"role": role, "content": _content(message.get("content"), bool(message.get("tool_calls")))}
    if message.get("tool_calls"):
        turn["tool_calls"] = _tool_calls(message["tool_calls"])
    return turn | {key: message[key] for key in ("name", "tool_call_id") if isinstance(message.get(key), str)}


def _content(content: Any, has_calls: bool) -> str:
    if content is None and has_calls:
        return ""
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None for part in parts]
    if any(not isinstance(text, str) for text in texts):
        raise ApiError("messages: a content is a text, or a list of texts; this model takes nothing else.", "messages")
    return "".join(str(text) for text in texts)


def _tool_calls(calls: Any) -> list[dict[str, Any]]:
    try:
        return [
            {
                "id": str(call.get("id", "")),
                "type": "function",
                "function": {
                    "name": str(call["function"]["name"]),
                    "arguments": json.loads(call["function"].get("arguments") or "{}"),
                },
            }
            for call in calls
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ApiError(
            "messages: a call is {'id', 'type': 'function', 'function': {'name', 'arguments': JSON}}.", "messages"
        ) from None
