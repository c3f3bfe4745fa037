"""Are a temperature and a top-p obeyed up to their limits and refused beyond them, in requests and commands?"""

from __future__ import annotations

import math
from typing import Any

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.doors import cli
from tunefleet.evaluation.streamed_answer import Sampling
from tunefleet.serving.completion_request import ApiError, chat_request, completion_request

ALLOWED = [("temperature", 0), ("temperature", 5), ("top_p", 1), ("top_p", 1e-9)]
REFUSED = [
    *(("temperature", value) for value in (-0.1, 5.1, math.nan, math.inf, "1", True)),
    *(("top_p", value) for value in (0, -1, 1.01, math.nan, "0.5", False)),
]
CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "a"}]}
COMPLETION: dict[str, Any] = {"model": "tiny", "prompt": "a"}


@pytest.mark.parametrize(("name", "value"), ALLOWED)
def test_a_request_is_obeyed_up_to_the_limit(name: str, value: float) -> None:
    for request in (
        chat_request(CHAT | {name: value}, Sampling()),
        completion_request(COMPLETION | {name: value}, Sampling()),
    ):
        assert getattr(request.sampling, name) == value


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_request_beyond_it_is_refused(name: str, value: Any) -> None:
    for read, body in ((chat_request, CHAT), (completion_request, COMPLETION)):
        with pytest.raises(ApiError, match=f"^{name}: .* is not allowed. Allowed: a number") as refused:
            read(body | {name: value}, Sampling())
        assert (refused.value.status, refused.value.param) == (400, name)


@pytest.mark.parametrize("command", ["chat", "serve"])
def test_a_command_has_the_same_limits(command: str) -> None:
    for name, value in ALLOWED:
        assert getattr(cli.parse([command, "tiny", _option(name), str(value)]), name) == value
    for name, value in REFUSED:
        if isinstance(value, float | int) and not isinstance(value, bool):
            with pytest.raises(ConfigError, match=r"is not allowed\. Allowed: a number [^.]*\. `tunefleet"):
                cli.parse([command, "tiny", f"{_option(name)}={value}"])


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
