"""Templates, patterns and tokenizers that would compute for ever, or fill the memory: a message each."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest

from tunefleet.base import exhaustion
from tunefleet.base.errors import ConfigError, DataError, UserError
from tunefleet.config.cleaning import CleanConfig
from tunefleet.data.clean.steps import Cleaning
from tunefleet.data.encode import template_rendering, template_source
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.encode.tokenise import Tokenise
from tunefleet.data.formats.conversation import Conversation, Turn
from tunefleet.model.tokenizer import load
from tunefleet.plan.paths.model_files import BUILT_IN_TOKENIZERS

LOOPS = "{% for i in range(99999) %}" * 2 + "{% endfor %}" * 2
DOUBLES = "{% set x = namespace(x='a') %}{% for i in range(60) %}{% set x.x = x.x ~ x.x %}{% endfor %}"
TEMPLATES = {
    "range": ("{% for i in range(10**9) %}{% endfor %}", "Range too big"),
    "loops": (LOOPS, "for more than"),
    "product": ("{{ 'a' * 10**11 }}", "to write a conversation"),
    "width": ("{{ 'a'.ljust(10**11) }}", "to write a conversation"),
    "doubles": (DOUBLES, "to write a conversation|for more than"),
    "power": ("{{ 10**(10**10) }}", "a power of more than"),
    "macro": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
    "nested": ("{% if 1 %}" * 3000 + "{% endif %}" * 3000, "recursion"),
    "blocks": ("{% for i in [1] %}" * 40 + "{% endfor %}" * 40, "nested blocks"),
    "half": ("{{ '\\ud800' }}", "half a character"),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_endless_templates_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_rendering, "SECONDS", 1.0)
    monkeypatch.setattr(exhaustion, "MEMORY", 1 << 28)
    source, message = TEMPLATES[name]
    limit, timer = resource.getrlimit(resource.RLIMIT_DATA), signal.getitimer(signal.ITIMER_REAL)[1]
    with pytest.raises(UserError, match=message) as error:
        ChatTemplate(source, {}).text([{"role": "user", "content": "a"}])
    assert "\n" not in str(error.value)
    assert resource.getrlimit(resource.RLIMIT_DATA) == limit
    assert signal.getitimer(signal.ITIMER_REAL)[1] == timer


def test_control_without_a_limit_the_loops_go_on() -> None:
    """Another signal ends them."""

    def interrupted(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGVTALRM, interrupted)
    signal.setitimer(signal.ITIMER_VIRTUAL, 2.0)
    try:
        with pytest.raises(KeyboardInterrupt), exhaustion.limited(3600):
            ChatTemplate(LOOPS, {}).text([{"role": "user", "content": "b"}])
    finally:
        signal.signal(signal.SIGVTALRM, handler)


@pytest.mark.parametrize("key", ["keep", "drop"])
def test_a_catastrophic_pattern_is_refused_with_the_row(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunefleet.data.clean.steps.SECONDS", 1.0)
    cleaning = Cleaning(CleanConfig(**{key: "(a+)+$"}))
    row = Conversation((Turn("user", "a" * 60 + "!"),), "chats.jsonl:7")
    began = time.monotonic()
    with pytest.raises(ConfigError, match=rf"data\.clean\.{key}: .*\(a\+\)\+.*chats\.jsonl:7"):
        cleaning.clean([row])
    assert time.monotonic() - began < 60


def tokenizer_folder(tmp_path: Path, pattern: str) -> Path:
    folder = tmp_path / "tokenizer"
    shutil.copytree(BUILT_IN_TOKENIZERS["demo"], folder)
    described = json.loads((folder / "tokenizer.json").read_text())
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    described["pre_tokenizer"] = split
    (folder / "tokenizer.json").write_text(json.dumps(described))
    return folder


def test_a_catastrophic_pattern_of_a_tokenizer_is_refused(tmp_path: Path) -> None:
    tokenizer = load(str(tokenizer_folder(tmp_path, "(a+)+$")), "opt")
    with pytest.raises(ConfigError, match=r"model\.tokenizer: .*retry-limit-in-match"):
        Tokenise(tokenizer)(["a" * 4000 + "!"])


@pytest.mark.parametrize("value", [7, ["a"], {"a": "b"}, True])
def test_a_chat_template_of_another_type_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises((ConfigError, DataError), match=r"data\.template: "):
        template_source.find("auto", {"default": value})  # type: ignore[dict-item]
