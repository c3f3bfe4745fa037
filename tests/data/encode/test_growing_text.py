"""Is what one rendering tells of all prefixes what transformers writes for each, and are other templates refused?"""

from __future__ import annotations

from contextlib import suppress

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from tunefleet.data.encode.growing_text import GrowingTemplate, grows
from tunefleet.data.encode.template_rendering import TemplateRenderer
from tunefleet.libraries.transformers_private import compile_template
from tunefleet.plan.paths.data_files import TEMPLATES

SPECIALS = {"bos_token": "<s>", "eos_token": "</s>"}
SHIPPED = {path.stem: path.read_text().removesuffix("\n") for path in sorted(TEMPLATES.glob("*.jinja"))}
SYSTEM = [{"role": "system", "content": " Be brief.\n"}]
TALK = [
    {"role": "user", "content": " Add.\n\n2 and 2", "instruction": " Add.", "input": "2 and 2"},
    {"role": "assistant", "content": " 4 "},
    {"role": "user", "content": "Größer?"},
    {"role": "user", "content": "Well?"},
    {"role": "assistant", "content": "5\n"},
]
LOOP = "{% for message in messages %}[{{ message.content }}]{% endfor %}"
LOOKING_AHEAD = {
    "the last turn": "{% for message in messages %}{{ message.content }}{% if loop.last %}!{% endif %}{% endfor %}",
    "the next turn": "{% for message in messages %}{{ loop.nextitem is defined }}{{ message.content }}{% endfor %}",
    "turns to come": "{% for message in messages %}{{ loop.revindex }}{% endfor %}",
    "the number of turns": "{% for message in messages %}{{ messages | length }}{% endfor %}",
    "the last message": "{{ messages[-1].content }}" + LOOP,
    "a slice": "{% set messages = messages[:2] %}" + LOOP,
    "another name": "{% set all = messages %}" + LOOP + "{{ all | length }}",
    "a filtered loop": "{% for message in messages if messages[-1] == message %}{{ message.content }}{% endfor %}",
    "messages backwards": "{% for message in messages | reverse %}{{ message.content }}{% endfor %}",
    "an answer asked for": "{% for message in messages %}{{ add_generation_prompt }}{{ message.content }}{% endfor %}",
    "an answer asked for, before": "{% if add_generation_prompt %}?{% endif %}" + LOOP,
    "two loops": LOOP + LOOP,
    "an end of what was said": "{% set n = namespace(s='') %}{% for message in messages %}"
    "{% set n.s = message.content %}{{ n.s }}{% endfor %}{% if add_generation_prompt %}{{ n.s }}{% endif %}",
    "an end of the first message": LOOP + "{{ messages[0].content }}{{ messages | length }}",
    "a loop left early": "{% for message in messages %}{% if loop.index > 1 %}{% break %}{% endif %}"
    "{{ message.content }}{% endfor %}",
    "a macro": "{% macro all() %}{{ messages | length }}{% endmacro %}"
    "{% for message in messages %}{{ all() }}{% endfor %}",
    "the loop as a value": "{% for message in messages %}{% set l = loop %}{{ l.length }}{% endfor %}",
    "chance": "{% for message in messages %}{{ ['a', 'b'] | random }}{% endfor %}",
}
"""What makes the text of a beginning another one, or may."""
RIGHT_BY_CHANCE = {"the last turn", "two loops", "a macro", "chance", "an end of the first message"}


def by_transformers(source: str, messages: list[dict[str, str]], generation: bool) -> str:
    texts, _ = render_jinja_template([messages], chat_template=source, add_generation_prompt=generation, **SPECIALS)
    return str(texts[0])


def differences(source: str, template: GrowingTemplate, talk: list[dict[str, str]]) -> list[tuple[int, bool]]:
    text = template.grow(talk)
    prefixes = [(count, generation) for count in range(1, len(talk) + 1) for generation in (False, True)]
    return [p for p in prefixes if text.prefix(*p) != by_transformers(source, talk[: p[0]], p[1])]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_prefix_is_what_transformers_writes(name: str) -> None:
    source = SHIPPED[name]
    compiled = compile_template(source)
    assert grows(compiled, source)
    template = GrowingTemplate(compiled, SPECIALS)
    for talk in (TALK, SYSTEM + TALK, TALK[:2], TALK[:1]):
        assert not differences(source, template, talk)


@pytest.mark.parametrize("name", LOOKING_AHEAD)
def test_a_template_that_looks_ahead_is_refused(name: str) -> None:
    source = LOOKING_AHEAD[name]
    assert grows(compile_template(LOOP), LOOP)
    assert not grows(compile_template(source), source)


@pytest.mark.parametrize("name", sorted(LOOKING_AHEAD.keys() - RIGHT_BY_CHANCE))
def test_it_would_be_wrong_for_them(name: str) -> None:
    """Control: without the refusal, prefixes would be other texts, or none."""
    source = LOOKING_AHEAD[name]
    with suppress(IndexError):  # no message was seen to end
        assert differences(source, GrowingTemplate(compile_template(source), SPECIALS), TALK)


def test_what_transformers_would_change_first_is_left_to_it() -> None:
    """Reasoning gets other names there, and what is no text is made plain."""
    renderer = TemplateRenderer(LOOP, SPECIALS)
    assert renderer.can_grow(TALK)
    assert not renderer.can_grow([*TALK, {"role": "assistant", "content": "5", "reasoning_content": "2 + 3"}])
    assert not renderer.can_grow([*TALK, {"role": "assistant", "content": "", "tool_calls": [{}]}])
    broken = TemplateRenderer("{% for", SPECIALS)
    assert not broken.can_grow(TALK)
