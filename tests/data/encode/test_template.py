"""Is a conversation written as its template says, and is what the assistant says found to the character?"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.shared import shared_data
from tunefleet.base.errors import ConfigError, DataError
from tunefleet.config.data import DataConfig, SourceConfig, TrainOn
from tunefleet.data.encode import template as template_module
from tunefleet.data.encode import template_rendering
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.encode.template_source import find
from tunefleet.data.formats.collect import collect
from tunefleet.data.formats.conversation import TEXT, Conversation, ToolCall, Turn
from tunefleet.data.formats.conversation_reader import Reader
from tunefleet.data.prepare import chat_template
from tunefleet.data.read.bad_rows import BadRows
from tunefleet.data.read.source_row import Row
from tunefleet.data.read.sources import Source
from tunefleet.model import tokenizer as tokenizers

SPECIALS = {"bos_token": "<s>", "eos_token": "</s>"}
NAMES = (
    "alpaca",
    "alpaca-line",
    "bare",
    "chatml",
    "gemma",
    "human-assistant",
    "joined",
    "llama-3",
    "mistral",
    "phi-3",
    "plain",
    "vicuna",
    "zephyr",
)
LONG = Conversation(
    (
        Turn("system", "Be brief."),
        Turn("user", "Capital of France?"),
        Turn("assistant", "Paris."),
        Turn("user", "Of 中国? 🐼"),
        Turn("assistant", "北京 🎉"),
    ),
    "rows.jsonl:3",
)
TEXTS = {
    "plain": "<s>System: Be brief.\nUser: Capital of France?\nAssistant: Paris.</s>\n"
    "User: Of 中国? 🐼\nAssistant: 北京 🎉</s>",
    "human-assistant": "<s>Be brief.\n\nHuman: Capital of France?\n\nAssistant: Paris.</s>"
    "Human: Of 中国? 🐼\n\nAssistant: 北京 🎉</s>",
    "alpaca": "<s>Be brief.\n\n\n\n### Instruction:\nCapital of France?\n\n### Response:Paris.</s>"
    "\n\n### Instruction:\nOf 中国? 🐼\n\n### Response:北京 🎉</s>",
    "bare": "Be brief.\nCapital of France?\nParis.</s>Of 中国? 🐼\n北京 🎉</s>",
    "alpaca-line": "<s>Be brief.\n\n\n\n### Instruction:\nCapital of France?\n\n### Response:\nParis.</s>"
    "\n\n### Instruction:\nOf 中国? 🐼\n\n### Response:\n北京 🎉</s>",
    "joined": "<s>Be brief.Capital of France?Paris.</s>Of 中国? 🐼北京 🎉</s>",
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nCapital of France?<|im_end|>\n"
    "<|im_start|>assistant\nParis.<|im_end|></s>\n<|im_start|>user\nOf 中国? 🐼<|im_end|>\n"
    "<|im_start|>assistant\n北京 🎉<|im_end|></s>\n",
    "gemma": "<s><start_of_turn>user\nBe brief.\n\nCapital of France?<end_of_turn>\n<start_of_turn>model\nParis."
    "<end_of_turn>\n<start_of_turn>user\nOf 中国? 🐼<end_of_turn>\n<start_of_turn>model\n北京 🎉<end_of_turn>\n",
    "llama-3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nCapital of France?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nParis.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nOf 中国? 🐼<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n北京 🎉<|eot_id|>",
    "mistral": "<s>[INST] Be brief.\n\nCapital of France? [/INST] Paris.</s>[INST] Of 中国? 🐼 [/INST] 北京 🎉</s>",
    "phi-3": "<|system|>\nBe brief.<|end|>\n<|user|>\nCapital of France?<|end|>\n<|assistant|>\nParis.<|end|>\n"
    "<|user|>\nOf 中国? 🐼<|end|>\n<|assistant|>\n北京 🎉<|end|>\n",
    "vicuna": "<s>Be brief. USER: Capital of France? ASSISTANT: Paris.</s>USER: Of 中国? 🐼 ASSISTANT: 北京 🎉</s>",
    "zephyr": "<|system|>\nBe brief.</s>\n<|user|>\nCapital of France?</s>\n<|assistant|>\nParis.</s>\n"
    "<|user|>\nOf 中国? 🐼</s>\n<|assistant|>\n北京 🎉</s>\n",
}
AROUND = {  # what stands between prompt and words, and the end of the turn
    "plain": (" ", "</s>"),
    "human-assistant": (" ", "</s>"),
    "alpaca": ("", "</s>"),
    "bare": ("", "</s>"),
    "alpaca-line": ("", "</s>"),
    "joined": ("", "</s>"),
    "chatml": ("", "<|im_end|></s>\n"),
    "gemma": ("", "<end_of_turn>\n"),
    "llama-3": ("", "<|eot_id|>"),
    "mistral": (" ", "</s>"),
    "phi-3": ("", "<|end|>\n"),
    "vicuna": (" ", "</s>"),
    "zephyr": ("", "</s>\n"),
}


def template(name: str, specials: dict[str, str] | None = None) -> ChatTemplate:
    return ChatTemplate(find(name, None), SPECIALS if specials is None else specials)


def test_every_shipped_template_is_tested() -> None:
    assert (
        tuple(sorted(file.stem for file in (Path(template_module.__file__).parents[1] / "templates").iterdir()))
        == NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_text_of_many_turns(name: str) -> None:
    assert template(name).render(LONG).text == TEXTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_the_words_and_the_end_of_turn(name: str) -> None:
    rendered = template(name).render(LONG)
    previous, after = AROUND[name]
    said = [rendered.text[start:end] for start, end in rendered.answers]
    assert said == [f"{previous}Paris.{after}", f"{previous}北京 🎉{after}"]


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_is_what_stands_before_the_answer(name: str) -> None:
    chat = template(name)
    rendered = chat.render(LONG)
    for number, (start, _) in zip((2, 4), rendered.answers, strict=True):
        assert chat.prompt(LONG.messages[:number]) == rendered.text[:start]


@pytest.mark.parametrize("name", NAMES)
def test_words_after_the_last_answer_are_text_and_no_answer(name: str) -> None:
    chat = template(name)
    more = Conversation((*LONG.turns, Turn("user", "Thanks!")), LONG.location)
    rendered = chat.render(more)
    assert rendered.answers == chat.render(LONG).answers
    assert rendered.text.startswith(TEXTS[name])
    assert "Thanks!" in rendered.text


def test_alpaca_opens_the_first_instruction_with_its_preamble() -> None:
    text = template("alpaca").render(Conversation((Turn("user", "Sing."), Turn("assistant", "La.")), "x:1")).text
    assert text.startswith("<s>Below is an instruction that describes a task.")
    assert text.count("Below is an instruction") == 1


STANFORD = {  # tatsu-lab/stanford_alpaca, train.py: PROMPT_DICT
    "prompt_input": (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
    ),
    "prompt_no_input": (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Response:"
    ),
}


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Add.", "input": "2 and 3", "output": "5"},
        {"input": "", "instruction": "Sing.", "output": "La."},
    ],
)
def test_alpaca_is_stanfords_with_an_input_and_without(row: dict[str, str]) -> None:
    [talk] = Reader(SourceConfig()).conversations(Row(row, "rows.jsonl:1"))
    prompt = STANFORD["prompt_input" if row["input"] else "prompt_no_input"].format(**row)
    rendered = template("alpaca").render(talk)
    assert rendered.text == f"<s>{prompt}{row['output']}</s>"
    assert [rendered.text[a:b] for a, b in rendered.answers] == [f"{row['output']}</s>"]


# What a template leaves out


QWEN3 = (  # as Qwen3 writes reasoning, in short
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}<think>\n"
    "{{ (m.reasoning_content or '') | trim('\n') }}\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DROPS_THOUGHTS = (
    "{% for m in messages %}{{ m.role }}: {{ m.content.split('</think>') | last | trim }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


PROMPT = "{% if add_generation_prompt %}assistant: {% endif %}"
A_TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def conversation_of(*answers: Turn) -> Conversation:
    return Conversation(tuple(turn for answer in answers for turn in (Turn("user", "2+2?"), answer)), "rows.jsonl:3")


def test_reasoning_is_written_and_in_the_loss_or_refused_by_name() -> None:
    talk = conversation_of(Turn("assistant", "4", reasoning="Two and two make four."))
    rendered = ChatTemplate(QWEN3, SPECIALS).render(talk)
    [(start, end)] = rendered.answers
    assert rendered.text[start:end] == "<think>\nTwo and two make four.\n</think>\n\n4<|im_end|>\n"
    with pytest.raises(DataError, match=r"rows\.jsonl:3: .* characters of reasoning_content of message 2"):
        template("plain").render(talk)


def test_what_a_template_drops_of_an_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = conversation_of(Turn("assistant", "<think>\nadd\n</think>\n\n4"))
    with pytest.raises(DataError, match=r"rows\.jsonl:3: .*does not write 18 of 19 characters of message 2,"):
        ChatTemplate(DROPS_THOUGHTS, SPECIALS).render(talk)
    assert template("plain").render(talk)
    monkeypatch.setattr(template_module, "expect_written", lambda *_: None)  # control
    assert ChatTemplate(DROPS_THOUGHTS, SPECIALS).render(talk).text.endswith("assistant: 4</s>")


def test_thoughts_of_earlier_answers_may_be_left_out_of_context() -> None:
    thought = Turn("assistant", "<think>\nadd\n</think>\n\n4")
    drops_earlier = DROPS_THOUGHTS.replace(
        "{{ m.content.split('</think>') | last | trim }}",
        "{{ m.content if loop.last else m.content.split('</think>') | last | trim }}",
    )
    actual = ChatTemplate(drops_earlier, SPECIALS).render(conversation_of(thought, thought), TrainOn.LAST)
    assert actual.text.count("add") == 1


@pytest.mark.parametrize("role", ["system", "user", "tool"])
def test_a_message_that_a_template_drops_is_refused(role: str) -> None:
    source = "{% for m in messages %}{% if m.role != '" + role + "' %}{{ m.role }}: {{ m.content }}</s>{% endif %}"
    source += "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    turns = (Turn("system", "Be brief."), Turn("user", "Rain?"), Turn("tool", "No, sun."), Turn("assistant", "No."))
    with pytest.raises(DataError, match=f"by the {role} .*is not there"):
        ChatTemplate(source, SPECIALS).render(Conversation(turns, "rows.jsonl:3"))


def test_what_a_template_writes_as_json_is_written() -> None:
    source = "{% for m in messages %}{{ m.role }}: {{ m.content | tojson }}</s>{% endfor %}" + PROMPT
    talk = Conversation((Turn("user", 'a "b"\n\tc é'), Turn("assistant", "d")), "x:1")
    assert ChatTemplate(source, SPECIALS).render(talk)


def test_a_name_that_no_template_writes_is_refused() -> None:
    talk = Conversation((Turn("user", "Hi", name="Alice"), Turn("assistant", "Hello")), "rows.jsonl:3")
    with pytest.raises(DataError, match="of name of message 1"):
        template("plain").render(talk)


def test_arguments_that_a_template_drops_are_refused() -> None:
    call = ToolCall("weather", {"city": "Rome"})
    calls = "{% for c in m.tool_calls %}{{ c.function.name }}{% endfor %}"
    source = "{% for m in messages %}{{ m.role }}: {{ m.content }}" + calls + "</s>{% endfor %}" + PROMPT
    talk = Conversation((Turn("user", "Rain?"), Turn("assistant", "", (call,))), "rows.jsonl:3")
    with pytest.raises(DataError, match="an argument of weather of message 2"):
        ChatTemplate(source, SPECIALS).render(talk)
    assert template("chatml").render(talk)


# Several templates, today's date, an end that is there already


def test_a_tokenizer_with_several_templates_gives_the_one_for_tools_where_there_are_tools(tokenizer: Any) -> None:
    templates = {"default": find("plain", None), "tool_use": find("chatml", None)}
    tokenizer.chat_template = templates
    chat = chat_template(DataConfig(path="x"), tokenizer)
    plain, tools = (
        conversation_of(Turn("assistant", "4")),
        replace(conversation_of(Turn("assistant", "4")), tools=(A_TOOL,)),
    )
    assert chat.render(plain).text == template("plain").render(plain).text
    assert chat.render(tools).text == template("chatml").render(tools).text
    assert [actual.text for actual in chat.render_all([plain, tools], TrainOn.RESPONSE)] == [  # type: ignore[union-attr]
        chat.render(plain).text, chat.render(tools).text,
    ]  # fmt: skip
    assert chat.prompt(tools.messages[:1], tools.tools).endswith("<|im_start|>assistant\n")
    assert chat.exported == templates
    with pytest.raises(ConfigError, match="chat templates are rag, none of them default"):
        find("auto", {"rag": "x"})


def test_today_is_the_same_every_day_in_training_and_the_days_own_elsewhere(tokenizer: Any) -> None:
    talk = "{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}"
    source = "\nToday: {{ strftime_now('%d %b %Y') }}\n" + talk
    chat = ChatTemplate(source, SPECIALS)
    assert chat.prints_today
    assert chat.text([{"role": "user", "content": "a"}]) == "\nToday: 26 Jul 2024\nuser: a</s>"
    tokenizer.chat_template = source
    reference = tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
    assert reference == f"\nToday: {datetime.now():%d %b %Y}\nuser: a</s>"


def test_plain_text_that_brings_its_ends_keeps_one_of_each() -> None:
    talk = Conversation((Turn(TEXT, "<s>Once.</s>"),), "x:1")
    assert template("plain").render(talk).text == "<s>Once.</s>"


def test_chatml_does_not_write_its_own_end_twice() -> None:
    text = template("chatml", {"eos_token": "<|im_end|>"}).render(LONG).text
    assert "Paris.<|im_end|>\n" in text


@pytest.mark.parametrize("name", NAMES)
def test_content_is_not_read_as_a_template(name: str) -> None:
    tricky = "{{ eos_token }} {% raw %} <b>&amp;</b>"
    text = template(name).render(Conversation((Turn("user", tricky), Turn("assistant", tricky)), "x:1")).text
    assert text.count(tricky) == 2


HUB = {
    "qwen": "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}{{ '<|im_start|>system\n' }}"
    "{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "blocks and loop control": "{{ bos_token }}\n{% for m in messages %}\n    {% if m.role == 'system' %}\n"
    "        S: {{ m.content }}{% continue %}\n    {% endif %}\n{{ m.role }}: {{ m.content | trim }}\n{% endfor %}\n",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ ns.n }}"
    "{{ m.content }}{% endfor %}",
    "tojson": "{% for m in messages %}{{ m.content | tojson }}{% endfor %}",
    "tools and documents": "{% if tools is defined and tools is none %}no tools{% endif %}"
    "{% for m in messages %}{{ m.content }}{% endfor %}",
    "date": "{% if strftime_now is defined %}{{ strftime_now('%%') }}{% else %}2024{% endif %}"
    "{% for m in messages %}{{ m.content }}{% endfor %}",
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}",
}
SOURCES = {**{name: find(name, None) for name in NAMES}, **HUB}
SPICY = Conversation(
    (Turn("system", "Be <brief> & 'kind'."), Turn("user", ' 1 < 2, "é" 中国 '), Turn("assistant", "Ja.\n")), "x:1"
)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("conversation", [LONG, SPICY], ids=["long", "spicy"])
def test_transformers_renders_the_same(tokenizer: Any, source: str, conversation: Conversation) -> None:
    """At inference transformers renders the exported template: training must have seen that very text."""
    tokenizer.chat_template = source
    chat = ChatTemplate(source, dict(tokenizer.special_tokens_map))
    messages = conversation.messages
    complete = tokenizer.apply_chat_template(messages, tokenize=False)
    prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    assert chat.render(conversation).text == complete
    assert chat.prompt(messages[:-1]) == prompt


@pytest.mark.parametrize(
    ("folder", "family"), [("tok_qwen2", "qwen2"), ("tok_opt", "opt"), ("stories260k/hf", "llama")]
)
def test_transformers_renders_the_same_with_real_tokenizers(folder: str, family: str) -> None:
    tokenizer = tokenizers.load(str(shared_data(folder)), family)
    for name in ("auto", *NAMES):
        source = find(name, tokenizer.chat_template)
        chat = ChatTemplate(source, dict(tokenizer.special_tokens_map))
        complete = tokenizer.apply_chat_template(LONG.messages, tokenize=False, chat_template=source)
        assert chat.render(LONG).text == complete


FORGETFUL = "{% for m in messages %}{{ m.content if loop.last or m.role == 'user' else '...' }};{% endfor %}"


def test_a_template_that_rewrites_earlier_text_is_refused() -> None:
    chat = ChatTemplate(FORGETFUL, SPECIALS)
    short = Conversation(LONG.turns[1:3], "rows.jsonl:9")
    assert chat.render(short).text == "Capital of France?;Paris.;"  # with one answer there is nothing to rewrite
    with pytest.raises(DataError, match=r"rows\.jsonl:3: the chat template rewrites earlier text"):
        chat.render(Conversation(LONG.turns, "rows.jsonl:3"))


def test_a_template_whose_prompt_is_no_prefix_is_refused() -> None:
    chat = ChatTemplate(
        "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}", {}
    )
    with pytest.raises(DataError, match="rewrites earlier text"):
        chat.render(LONG)


def test_an_answer_dropped_by_later_turns_is_refused() -> None:
    chat = ChatTemplate("{% for m in messages %}{{ m.content if loop.last }}{% endfor %}", {})
    with pytest.raises(DataError, match="rewrites earlier text"):
        chat.render(Conversation((Turn("assistant", "a"), Turn("user", "b")), "x:1"))


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}",
        "{{ raise_exception('roles must alternate') }}",
        "{{ missing.thing }}",
        "{% nonsense %}",
        "{{ messages.__class__.__mro__ }}",
    ],
)
def test_a_mistake_in_a_template_is_the_persons(source: str) -> None:
    with pytest.raises((DataError, ConfigError), match=r"data\.template"):
        ChatTemplate(source, SPECIALS).render(LONG)


@pytest.mark.parametrize("source", ["{{ messages[0].content + 1 }}", "{{ 1 // 0 }}", "{{ messages | join(1, 2, 3) }}"])
def test_an_error_of_python_in_a_template_is_the_persons_too(source: str) -> None:
    with pytest.raises((DataError, ConfigError), match=r"data\.template"):
        ChatTemplate(source, SPECIALS).render(LONG)


def test_a_templates_refusal_names_the_row() -> None:
    source = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(DataError, match=r"rows\.jsonl:3.*roles must alternate"):
        ChatTemplate(source, SPECIALS).render(LONG)


def test_find_takes_the_tokenizers_own_else_plain() -> None:
    assert find("auto", "{{ own }}") == "{{ own }}"
    assert find("auto", None) == find("plain", "{{ own }}") != "{{ own }}"


def test_find_reads_a_file_of_the_persons(tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text("{{ messages }} ü\n", encoding="utf-8")
    assert find(str(path), None) == "{{ messages }} ü"


def test_an_unknown_name_hears_the_known_ones() -> None:
    with pytest.raises(ConfigError) as raised:
        find("chatlm", None)
    assert "'chatlm'" in str(raised.value)
    assert all(name in str(raised.value) for name in ("auto", *NAMES))


# Tools


TOOL = {"type": "function", "function": {"name": "weather", "description": "Says it.", "parameters": {}}}
QUESTION = Conversation(
    (
        Turn("system", "Be brief."),
        Turn("user", "Rain in Bonn?"),
        Turn("assistant", "", (ToolCall("weather", {"city": "Bonn ß"}),)),
        Turn("tool", "no"),
        Turn("assistant", "No."),
    ),
    "rows.jsonl:3",
    (TOOL,),
)


def test_chatml_writes_tools_and_calls() -> None:
    rendered = template("chatml").render(QUESTION)
    assert rendered.text.startswith("<|im_start|>system\nBe brief.\n\nThese functions may be called")
    assert rendered.text.count("<|im_start|>system") == 1
    said = [rendered.text[start:end] for start, end in rendered.answers]
    assert said == [
        '<tool_call>{"name": "weather", "arguments": {"city": "Bonn ß"}}</tool_call><|im_end|></s>\n',
        "No.<|im_end|></s>\n",
    ]
    assert "<|im_start|>tool\nno<|im_end|>\n" in rendered.text
    assert template("chatml").prompt(QUESTION.question, QUESTION.tools) == rendered.text[: rendered.answers[1][0]]


def test_words_stand_before_calls_and_calls_below_each_other() -> None:
    calls = (ToolCall("weather", {}), ToolCall("weather", {"a": 1}))
    talk = Conversation((Turn("user", "a"), Turn("assistant", "Wait.", calls)), "rows.jsonl:1")
    (answer,) = template("chatml").render(talk).answers
    assert template("chatml").render(talk).text[slice(*answer)] == (
        'Wait.\n<tool_call>{"name": "weather", "arguments": {}}</tool_call>\n'
        '<tool_call>{"name": "weather", "arguments": {"a": 1}}</tool_call><|im_end|></s>\n'
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name != "chatml"])
@pytest.mark.parametrize("tools", [(TOOL,), ()], ids=["tools", "calls alone"])
def test_a_template_that_leaves_out_tools_or_calls_is_refused(name: str, tools: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:3: data\.template: .* does not write the function 'weather'"):
        template(name).render(replace(QUESTION, tools=tools))


def test_a_template_that_writes_tools_but_not_calls_is_refused() -> None:
    """The name stands in the list of tools: that is no call."""
    source = "{% for t in tools %}{{ t.function.name }}{% endfor %}{% for m in messages %}{{ m.content }}|{% endfor %}"
    with pytest.raises(DataError, match="does not write the function 'weather'"):
        ChatTemplate(source, SPECIALS).render(QUESTION)


@pytest.mark.parametrize("on", TrainOn)
@pytest.mark.parametrize("marked", [True, False], ids=["marks", "differences"])
def test_calls_that_are_not_learnt_are_written_too(on: TrainOn, marked: bool) -> None:
    """The last answer would follow a result that nobody asked for."""
    source = "{{ tools[0].function.name if tools }}" + (MARKED if marked else PLAIN)
    silent = [replace(turn, in_loss=not turn.calls) for turn in QUESTION.turns]
    for tools in ((TOOL,), ()):
        with pytest.raises(DataError, match=r"rows\.jsonl:3: .* does not write the function 'weather'"):
            ChatTemplate(source, SPECIALS).render(replace(QUESTION, turns=tuple(silent), tools=tools), on)


def test_a_template_with_marks_may_write_tools() -> None:
    call = "{% for call in m.tool_calls %}{{ call.function | tojson }}{% endfor %}{% endgeneration %}"
    source = "{{ tools | tojson }}" + MARKED.replace("{% endgeneration %}", call)
    assert parts(source, QUESTION) == ['{"name": "weather", "arguments": {"city": "Bonn ß"}}', "No."]
    assert parts(source, QUESTION, TrainOn.LAST) == ["No."]


def test_real_calls_are_rendered_by_chatml() -> None:
    path = shared_data("llamafactory_demo/glaive_toolcall_en_demo.json")
    actual = collect(Source("train", SourceConfig(path=str(path))), BadRows())
    assert sum(len(template("chatml").render(talk).answers) for talk in actual) == 746 + 211


# Plain text


def test_plain_text_has_no_template_around_it() -> None:
    rendered = template("chatml").render(Conversation((Turn("text", "Once. "),), "rows.txt:1"))
    assert rendered.text == "<s>Once. </s>"
    assert rendered.answers == ((3, 13),)


# --- which answers are in the loss


def parts(source: str, conversation: Conversation, on: TrainOn = TrainOn.RESPONSE) -> list[str]:
    rendered = ChatTemplate(source, SPECIALS).render(conversation, on)
    return [rendered.text[start:end] for start, end in rendered.answers]


def with_weights(*weights: bool) -> Conversation:
    in_loss_flags = iter(weights)
    turns = [replace(turn, in_loss=next(in_loss_flags)) if turn.role == "assistant" else turn for turn in LONG.turns]
    return Conversation(tuple(turns), LONG.location)


PLAIN = find("plain", None)
MARKED = (
    "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{% endgeneration %}{{ eos_token }}{% else %}{{ m.content }}{% endif %}|{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
THINKING = (  # as Qwen3's: what was thought is left out of all but the last answer
    "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}"
    "{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


def test_all_answers_the_last_one_or_everything() -> None:
    assert parts(PLAIN, LONG) == [" Paris.</s>", " 北京 🎉</s>"]
    assert parts(PLAIN, LONG, TrainOn.LAST) == [" 北京 🎉</s>"]
    assert parts(PLAIN, LONG, TrainOn.ALL) == [TEXTS["plain"]]


@pytest.mark.parametrize("source", [PLAIN, MARKED], ids=["differences", "marks"])
def test_an_answer_of_no_weight_is_not_learnt(source: str) -> None:
    first, last = parts(source, LONG)
    assert parts(source, with_weights(False, True)) == [last]
    assert parts(source, with_weights(True, False)) == [first]
    assert parts(source, with_weights(False, False)) == []
    assert parts(source, with_weights(True, False), TrainOn.LAST) == []


def test_an_answer_of_no_weight_is_left_out_of_everything() -> None:
    assert parts(PLAIN, with_weights(False, True), TrainOn.ALL) == [
        "<s>System: Be brief.\nUser: Capital of France?\nAssistant:",
        "\nUser: Of 中国? 🐼\nAssistant: 北京 🎉</s>",
    ]


def test_a_question_cannot_be_left_out_of_everything() -> None:
    turns = tuple(replace(turn, in_loss=turn.role != "user") for turn in LONG.turns)
    weighted = Conversation(turns, LONG.location)
    with pytest.raises(DataError, match=r"message 2 \(of the user\) .* data\.train_on=all"):
        parts(PLAIN, weighted, TrainOn.ALL)
    assert parts(PLAIN, weighted) == parts(PLAIN, LONG)


def test_a_row_of_no_weight_is_left_out_of_everything_as_a_whole() -> None:
    turns = tuple(replace(turn, in_loss=False) for turn in LONG.turns)
    assert parts(PLAIN, Conversation(turns, LONG.location), TrainOn.ALL) == []


def test_marks_are_taken_where_they_are() -> None:
    assert parts(MARKED, LONG) == ["Paris.", "北京 🎉"]
    unmarked = MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    assert parts(unmarked, LONG) == ["Paris.</s>|", "北京 🎉</s>|"]  # control


def test_marks_that_are_not_one_for_each_answer_cannot_be_weighed() -> None:
    twice = MARKED.replace("{{ m.content }}{% endgen", "{% endgeneration %}{% generation %}{{ m.content }}{% endgen")
    assert parts(twice, LONG) == ["", "Paris.", "", "北京 🎉"]
    with pytest.raises(DataError, match=r"rows\.jsonl:3: the chat template marks 4 parts .* has 2 answers"):
        parts(twice, with_weights(True, False))


def test_the_last_answer_is_found_where_earlier_ones_are_rewritten() -> None:
    with pytest.raises(DataError, match=r"rewrites earlier text.*data\.train_on=last"):
        parts(THINKING, LONG)
    assert parts(THINKING, LONG, TrainOn.LAST) == ["<think></think>北京 🎉</s>"]


def test_a_token_behind_the_last_turn_alone_rewrites_nothing() -> None:
    """As Phi-3's own template, which ends a conversation with its end of sequence."""
    phi_3 = find("phi-3", None).removesuffix("{% endif %}") + "{% else %}{{ eos_token }}{% endif %}"
    assert parts(phi_3, LONG) == ["Paris.<|end|>\n", "北京 🎉<|end|>\n</s>"]


@pytest.mark.parametrize("name", ["gemma", "mistral"])
def test_a_system_message_begins_the_first_user_turn_alone(name: str) -> None:
    text = template(name).render(LONG).text
    assert text.count("Be brief.") == 1
    assert "Be brief.\n\nCapital" in text


def test_every_template_says_where_it_comes_from() -> None:
    assert all(find(name, None).startswith("{# ") for name in NAMES)


# --- many at once


REFUSING = (
    "{% for m in messages %}{% if '北京' in m.content %}{{ raise_exception('no') }}{% endif %}" + PLAIN + "{% endfor %}"
)
MANY = [
    LONG,
    replace(LONG, turns=LONG.turns[:3], location="rows.jsonl:4"),
    replace(LONG, turns=(Turn("text", "Once."),), location="rows.jsonl:5"),
    QUESTION,
    with_weights(False, True),
    SPICY,
]


@pytest.mark.parametrize("on", TrainOn)
@pytest.mark.parametrize("source", [*SOURCES.values(), MARKED, THINKING, REFUSING, "{{ 1 // 0 }}"])
def test_many_at_once_are_as_one_by_one(source: str, on: TrainOn) -> None:
    """Texts, places and errors, which name their row."""
    chat = ChatTemplate(source, SPECIALS)
    separate = []
    for talk in MANY:
        try:
            separate.append(chat.render(talk, on))
        except DataError as error:
            separate.append(error)
    batched = chat.render_all(MANY, on)
    assert list(map(str, batched)) == list(map(str, separate))


def test_a_chunk_is_rendered_in_two_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """And row by row only where one of them cannot be rendered."""
    calls = []
    usual = template_rendering.render_jinja_template
    monkeypatch.setattr(
        template_rendering,
        "render_jinja_template",
        lambda conversations, **conversation_of: (
            calls.append(len(conversations)) or usual(conversations, **conversation_of)
        ),
    )
    ChatTemplate(PLAIN, SPECIALS).render_all([LONG, SPICY], TrainOn.RESPONSE)
    assert not calls  # one rendering of each tells all its prefixes
    looking_ahead = PLAIN + "{% if messages | length > 99 %}{% endif %}"
    ChatTemplate(looking_ahead, SPECIALS).render_all([LONG, SPICY], TrainOn.RESPONSE)
    assert calls == [3, 3]  # two whole texts and one up to the first answer; three prompts
    calls.clear()
    ChatTemplate(REFUSING, SPECIALS).render_all([LONG, SPICY], TrainOn.RESPONSE)
    assert calls[0] == 3
    assert set(calls[1:]) == {1}
