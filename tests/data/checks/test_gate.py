"""Is data refused that would train without a word, and learn nothing or the wrong thing?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from tests.data.encode.test_template import THINKING
from tests.shared import shared_data
from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig, LongRows, MixedSource, OnBadRow, SourceConfig, TrainOn
from tunefleet.data.checks.file_notes import FileNotes
from tunefleet.data.checks.gate import expect_trainable
from tunefleet.data.checks.placeholders import Placeholders
from tunefleet.data.encode.long_rows import fit
from tunefleet.data.encode.stream import EncodedConversation
from tunefleet.data.formats import weights
from tunefleet.data.formats.collect import collect
from tunefleet.data.formats.conversation import Conversation, Turn
from tunefleet.data.prepare import prepare
from tunefleet.data.read.bad_rows import BadRows
from tunefleet.data.read.sources import Source
from tunefleet.data.store.tally import tally
from tunefleet.data.store.writer import StoreWriter

STOP = 2
GOOD = "pplls"  # prompt, prompt, in the loss, in the loss, stop in the loss


def row(marks: str = GOOD, place: str = "a.jsonl:1", content: str = "hi", cut: bool = False) -> Any:
    """A row whose tokens are prompt (p), prompt stop (e), in the loss (l) or stop in the loss (s)."""
    tokens = np.asarray([STOP if mark in "es" else 9 for mark in marks], dtype=np.int32)
    [part] = fit(tokens, np.asarray([mark in "ls" for mark in marks]), False, 64, LongRows.TRUNCATE)
    conversation = Conversation((Turn("user", content), Turn("assistant", "yes")), place)
    return conversation, replace(part, truncated=cut)


def look(rows: Sequence[Any], **settings: Any) -> None:
    """The gate, behind a store as training has it."""
    notes = FileNotes()
    with TemporaryDirectory() as folder:
        store = StoreWriter(Path(folder) / "train", (STOP,))
        store.begin()
        for conversation, part in rows:
            encoded = EncodedConversation(conversation, [part])
            store.add(encoded, notes.add(encoded))
        counts = tally(store.finish(), len(notes.files))
    expect_trainable(notes, counts, DataConfig(**settings), 64)


def refused(rows: Sequence[Any], **settings: Any) -> str:
    with pytest.raises(DataError) as raised:
        look(rows, **settings)
    return str(raised.value)


def accepted(rows: Sequence[Any], **settings: Any) -> None:
    look(rows, **settings)


def many(count: int, **changes: Any) -> list[Any]:
    return [row(place=f"a.jsonl:{i}", **changes) for i in range(1, count + 1)]


def test_good_rows_pass() -> None:
    accepted(many(10))


def test_a_file_without_anything_to_learn_is_refused_beside_a_good_one() -> None:
    said = refused([*many(5), *(row("ppp", f"b.jsonl:{i}") for i in range(1, 6))])
    assert said.startswith(
        "b.jsonl: no conversation has loss tokens within train.sequence_length=64 (b.jsonl:1, b.jsonl:2, "
    )
    assert "a.jsonl" not in said


def test_a_first_token_is_nothing_to_learn() -> None:
    assert "no conversation has loss tokens" in refused([row("lpp")])


def test_rows_that_never_learn_to_stop_are_refused() -> None:
    said = refused(many(5, marks="eplll"))  # the prompt's stop does not count
    assert "no answer's end is in the loss in 5 conversations (a.jsonl:1, a.jsonl:2, a.jsonl:3, ...)" in said
    accepted([*many(5, marks="eplll"), row()])  # control: one that does


def test_too_many_cut_rows_are_refused_with_their_places() -> None:
    rows = [*many(5), *(row(place=f"b.jsonl:{i}", cut=True) for i in range(1, 6))]
    accepted(rows)  # a half
    said = refused(rows, max_truncated=0.4)
    assert "data.max_truncated: 5 of 10 conversations (50.0%)" in said
    assert "(b.jsonl:1, b.jsonl:2, b.jsonl:3, ...); allowed are 40.0%" in said


@pytest.mark.parametrize("placeholder", ["{input}", "{{name}}", "{{ name }}", "<PLACEHOLDER>", "<YOUR_NAME>"])
def test_a_placeholder_left_unfilled_is_refused(placeholder: str) -> None:
    said = refused(many(5, content=f"Say {placeholder}, please."))
    assert (
        f"a.jsonl: {placeholder} was left unfilled in 5 of 5 conversations (a.jsonl:1, a.jsonl:2, a.jsonl:3, ...)"
        in said
    )
    accepted(many(5, content=f"Say {placeholder}, please."), max_unfilled=1)


@pytest.mark.parametrize(
    "words",
    [
        "f(x) = {x}",
        r"\begin{bmatrix} \frac{ab}{cd}",
        "`${name}`",
        "<b>bold</b> <T>",
        '{"key": 1}',
        "{ }",
        "x_{max}",
    ],
)
def test_mathematics_code_and_html_are_no_placeholders(words: str) -> None:
    accepted(many(5, content=words))


def test_one_row_may_speak_about_a_placeholder() -> None:
    accepted([*many(200), row(content="What does {name} mean?")])
    assert "{name}" in refused([*many(50), row(content="What does {name} mean?")])


def test_all_complaints_come_at_once() -> None:
    with pytest.raises(DataError) as raised:
        look(many(5, marks="pll", content="{input}", cut=True))
    assert len(raised.value.complaints) == 3


def real(name: str) -> list[Conversation]:
    source = Source("train", SourceConfig(path=str(shared_data(name))))
    return collect(source, BadRows(Path("bad_rows.txt"), cap=100))


def test_real_rows_hold_no_unfilled_placeholder_and_a_real_template_does() -> None:
    for name, expected in (
        ("alpaca_52k/alpaca_data.json", set()),
        ("llamafactory_demo/identity.json", {"{{author}}", "{{name}}"}),
    ):
        actual = Placeholders()
        for talk in real(name):
            actual.add(talk)
        assert set(actual.unfilled(DataConfig().max_unfilled)) == expected


# --- from a file


def written(path: Path, rows: Sequence[dict[str, str]]) -> DataConfig:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataConfig(path=str(path), validation_rows=0, cache=str(path.parent / "cache"))


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    rows = [{"prompt": f"Row {i}?", "completion": f"tells {i}"} for i in range(20)]
    return written(tmp_path / "rows.jsonl", rows)


def test_an_unfilled_prompt_is_refused_before_training(tmp_path: Path, tokenizer: Any) -> None:
    config = written(tmp_path / "rows.jsonl", [{"prompt": "Sum up: {input}", "completion": "ok"}] * 20)
    with pytest.raises(DataError, match=r"\{input\} was left unfilled in 20 of 20 conversations \(.*rows\.jsonl:1, "):
        prepare(config, tokenizer, 64)
    assert len(prepare(replace(config, max_unfilled=1.0), tokenizer, 64).train)


def test_the_limit_for_cut_rows_is_asked_again_of_prepared_data(config: DataConfig, tokenizer: Any) -> None:
    longest = prepare(config, tokenizer, 64).train.card.longest
    assert prepare(config, tokenizer, longest - 1).train.card.truncated
    with pytest.raises(DataError, match=r"data\.max_truncated: .*allowed are 0\.0%"):
        prepare(replace(config, max_truncated=0.0), tokenizer, longest - 1)


def test_a_template_without_an_end_is_refused(config: DataConfig, tokenizer: Any, tmp_path: Path) -> None:
    path = tmp_path / "endless.jinja"
    path.write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    with pytest.raises(DataError, match="the model would not learn to stop"):
        prepare(replace(config, template=str(path)), tokenizer, 64)


def test_a_row_far_from_the_first_ones_is_looked_at(tmp_path: Path, tokenizer: Any) -> None:
    turns = [("user", "a?"), ("assistant", "b"), ("user", "a?"), ("assistant", "b")]
    rows = [{"messages": [{"role": role, "content": text} for role, text in turns]} for _ in range(501)]
    rows[500]["messages"][1]["content"] = "the"  # an answer that others follow cannot be tokenised apart
    config = written(tmp_path / "rows.jsonl", rows)
    path = tmp_path / "merging.jinja"
    path.write_text(
        "{% for m in messages %}{{ m.content }}{{ '</s>' if m.role == 'assistant' else ' Assistant: ' }}{% endfor %}"
    )
    with pytest.raises(DataError, match=r"rows\.jsonl:501: .*merges"):
        prepare(replace(config, template=str(path)), tokenizer, 64)


# --- several sources, plain text, bad rows


def test_complaints_about_a_mixture_name_its_sources(tmp_path: Path, tokenizer: Any) -> None:
    long = [{"prompt": f"Row {i}?", "completion": "na " * 90} for i in range(20)]
    late = [{"prompt": "na " * 90, "completion": f"{i}"} for i in range(20)]
    chats, tales = (str(tmp_path / name) for name in ("chats.jsonl", "tales.jsonl"))
    written(Path(chats), long)
    config = written(Path(tales), late)
    mix = (MixedSource(path=chats, epochs=2), MixedSource(path=tales, name="old tales"))
    with pytest.raises(DataError) as raised:
        prepare(replace(config, path=None, mix=mix), tokenizer, 64)
    empty, cut = raised.value.complaints  # the cut answers keep their ends
    assert empty.startswith(f"old_tales: {tales}: no conversation has loss tokens")
    assert "60 of 60 conversations (100.0%)" in cut
    assert f"(chats: {chats}:1, old_tales: {tales}:1, chats: {chats}:2, ...)" in cut


def test_a_mixture_of_no_rows_is_refused(config: DataConfig, tokenizer: Any) -> None:
    mix = (MixedSource(path=config.path, epochs=0.01),)
    with pytest.raises(DataError, match=r"data\.mix: .* none to train on"):
        prepare(replace(config, path=None, mix=mix), tokenizer, 64)


def test_braces_in_a_plain_text_are_no_placeholders(tmp_path: Path, tokenizer: Any) -> None:
    config = written(tmp_path / "rows.jsonl", [{"text": "print(f'Hello {name}, {name}!') " * 9}] * 20)
    assert len(prepare(config, tokenizer, 64).train)


def test_a_row_that_its_setting_can_learn_is_no_bad_row(config: DataConfig, tokenizer: Any, tmp_path: Path) -> None:
    """A template that rewrites earlier text is refused row by row, but not where only the last answer learns."""
    (tmp_path / "thinking.jinja").write_text(THINKING)
    talk = [{"role": role, "content": "the"} for role in ("user", "assistant", "user", "assistant")]
    (tmp_path / "rows.jsonl").write_text((json.dumps({"messages": talk}) + "\n") * 20)
    last = replace(config, template=str(tmp_path / "thinking.jinja"), on_bad_row=OnBadRow.SKIP, train_on=TrainOn.LAST)
    actual = prepare(last, tokenizer, 128)
    assert (actual.train.card.conversations, actual.bad_rows) == (20, 0)
    with pytest.raises(DataError, match="no rows"):
        prepare(replace(last, train_on=TrainOn.RESPONSE), tokenizer, 128)


# --- the weight of a message


@pytest.mark.parametrize(
    ("message", "in_loss"),
    [({}, True), ({"weight": None}, True), ({"weight": 1}, True), ({"weight": 0}, False), ({"weight": 0.0}, False)],
)
def test_a_weight_is_nothing_or_one(message: dict[str, Any], in_loss: bool) -> None:
    assert weights.in_loss(message, "a.jsonl:1: message 2") is in_loss


@pytest.mark.parametrize("weight", [0.5, 2, -1, "1", [1], float("nan")])
def test_another_weight_is_refused(weight: Any) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl:1: message 2: weight is .*Use 1 to put"):
        weights.in_loss({"weight": weight}, "a.jsonl:1: message 2")
