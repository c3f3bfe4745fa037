"""Are calls told from text, in the forms that models write, and nothing else taken for one?"""

from __future__ import annotations

import pytest

from tunefleet.serving.tool_call_reader import calls

CALL = '{"name": "play", "arguments": {"song": "a"}}'
PLAYED = ("play", {"song": "a"})


@pytest.mark.parametrize(
    ("text", "content", "expected"),
    [
        (f"<tool_call>\n{CALL}\n</tool_call>", "", [PLAYED]),
        (f"Gladly.\n<tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>", "Gladly.", [PLAYED, PLAYED]),
        (f"[TOOL_CALLS][{CALL}]", "", [PLAYED]),
        (f"[{CALL}, {CALL}]", "", [PLAYED, PLAYED]),
        ('{"name": "play", "parameters": {"song": "a"}}', "", [PLAYED]),
        ('<|python_tag|>{"type": "function", "function": ' + CALL + "}", "", [PLAYED]),
        (f"{CALL}\n{CALL}", "", [PLAYED, PLAYED]),
        ('{"name": "play"}', "", [("play", {})]),
    ],
)
def test_calls(text: str, content: str, expected: list[object]) -> None:
    assert calls(text, {"play"}) == (content, expected)


@pytest.mark.parametrize(
    "text",
    [
        "play it",
        f"I would write {CALL}",
        CALL.replace("play", "stop"),
        f"<tool_call>{CALL.replace('play', 'stop')}</tool_call>",
        "<tool_call>{</tool_call>",
        '{"name": 1, "arguments": {}}',
        '{"name": "play", "arguments": "a"}',
        "[1, 2]",
        "[" * 100_000,
        "",
    ],
)
def test_what_is_no_call_stays_text(text: str) -> None:
    assert calls(text, {"play"}) == (text, ())
