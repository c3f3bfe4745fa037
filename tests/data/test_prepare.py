"""Are data prepared once, counted right, found again, mended when broken, and safe from other processes?"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.shared import shared_data, tiny_tokenizer
from tunefleet.base.errors import ConfigError, DataError
from tunefleet.config.cleaning import CleanConfig, Duplicates
from tunefleet.config.data import DataConfig, OnBadRow, TrainOn
from tunefleet.data import prepare as module
from tunefleet.data.prepare import Prepared, prepare
from tunefleet.data.store import cache
from tunefleet.data.store.dataset import Dataset
from tunefleet.model import tokenizer as tokenizers

LENGTH = 64
ROWS = 40


def write_rows(path: Path, count: int = ROWS, verb: str = "tells") -> Path:
    rows = [{"prompt": f"Row {i}?", "completion": f"{verb} {i} " + "na " * (i % 7)} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    path = write_rows(tmp_path / "rows.jsonl")
    return DataConfig(path=str(path), validation_rows=3, cache=str(tmp_path / "cache"))


@pytest.fixture
def forbid_writing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(*_: Any) -> None:
        raise AssertionError("prepared again")

    return lambda: monkeypatch.setattr(module, "write_folder", refuse)


def folders(config: DataConfig) -> list[str]:
    return sorted(path.name for path in Path(config.cache).iterdir() if path.is_dir() and path.name != "tokens")


def conversations(data: Dataset) -> list[list[int]]:
    return [tokens.tolist() for row in range(len(data)) for tokens, _ in data.sequence(row)]


def texts(data: Dataset, tokenizer: Any) -> list[str]:
    return [tokenizer.decode(tokens) for tokens in conversations(data)]


def same(one: Dataset, other: Dataset) -> bool:
    names = ("tokens", "loss_mask", "starts", "packs", "bounds")
    arrays = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)
    return arrays and one.card == other.card and one.examples == other.examples


# --- what is prepared


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("longest", [26, 28, 64])
def test_the_card_counts_right(config: DataConfig, tokenizer: Any, packing: bool, longest: int) -> None:
    """Recounted from the file itself with the tokenizer alone."""
    prepared = prepare(replace(config, packing=packing, validation_rows=0, max_truncated=1), tokenizer, longest)
    tokens = learning = truncated = dropped = 0
    lengths = []
    for line in Path(str(config.path)).read_text().splitlines():
        row = json.loads(line)
        prompt = tokenizer(f"<s>User: {row['prompt']}\nAssistant:")["input_ids"]
        complete = tokenizer(f"<s>User: {row['prompt']}\nAssistant: {row['completion']}</s>")["input_ids"]
        truncated += len(complete) > longest
        if len(prompt) >= longest:
            dropped += 1
            continue
        lengths.append(min(longest, len(complete)))
        tokens += lengths[-1]
        gap = len(complete) > longest > len(prompt) + 2  # the token behind what was cut out does not learn
        learning += lengths[-1] - len(prompt) - gap
    card = prepared.train.card
    assert (card.conversations, card.tokens, card.loss_tokens) == (len(lengths), tokens, learning)
    assert (card.truncated, card.dropped, card.longest) == (truncated, dropped, max(lengths))
    assert (card.sequence_length, card.sequences) == (longest, len(prepared.train))
    assert card.filled == pytest.approx(tokens / (card.sequences * longest))
    assert (card.sequences < len(lengths)) == (packing and longest == 64)
    if longest == 28:
        assert truncated > 0


def test_a_conversation_whose_prompt_fills_the_row_is_dropped_and_counted(config: DataConfig, tokenizer: Any) -> None:
    path = Path(str(config.path))
    path.write_text(path.read_text() + json.dumps({"prompt": "x" * 100, "completion": "y"}) + "\n")
    card = prepare(replace(config, validation_rows=0), tokenizer, LENGTH).train.card
    assert (card.conversations, card.dropped, card.truncated) == (ROWS, 1, 1)


def test_rows_hold_every_conversation_once_and_fit(config: DataConfig, tokenizer: Any) -> None:
    data = prepare(config, tokenizer, LENGTH).train
    assert sorted(data.packs.tolist()) == list(range(data.card.conversations))
    sums = [sum(len(tokens) for tokens, _ in data.sequence(row)) for row in range(len(data))]
    assert max(sums) <= LENGTH
    assert len(data) < data.card.conversations


def test_loss_tokens_are_the_completions(config: DataConfig, tokenizer: Any) -> None:
    data = prepare(replace(config, validation_rows=0), tokenizer, LENGTH).train
    answers = {tokenizer.decode(tokens[learns]) for row in range(len(data)) for tokens, learns in data.sequence(row)}
    lines = [json.loads(line) for line in Path(str(config.path)).read_text().splitlines()]
    assert answers == {f" {row['completion']}</s>" for row in lines}


def test_train_on_all_learns_more(config: DataConfig, tokenizer: Any) -> None:
    everything = prepare(replace(config, train_on=TrainOn.ALL), tokenizer, LENGTH).train.card
    assert everything.loss_tokens == everything.tokens - everything.conversations  # the first has no context


# --- held-out rows


def test_held_out_rows_are_disjoint_from_training_rows(config: DataConfig, tokenizer: Any) -> None:
    prepared = prepare(config, tokenizer, LENGTH)
    train, held_out = (texts(data, tokenizer) for data in (prepared.train, prepared.validation["validation"]))
    assert (len(train), len(held_out)) == (ROWS - 3, 3)
    assert len({*train, *held_out}) == ROWS


def test_held_out_rows_do_not_depend_on_any_seed(config: DataConfig, tokenizer: Any, tmp_path: Path) -> None:
    actual = []
    for seed in range(3):
        random.seed(seed)
        np.random.seed(seed)
        fresh = replace(config, cache=str(tmp_path / f"cache-{seed}"))
        actual.append(prepare(fresh, tokenizer, LENGTH).validation["validation"].examples)
    assert actual[0] == actual[1] == actual[2]
    assert [e.prompt for e in actual[0]] != [f"<s>User: Row {i}?\nAssistant:" for i in range(3)]  # not just the first


@pytest.mark.parametrize(("expected", "count"), [(0, 0), (1, 1), (4, 4), (200, 4)])
def test_at_most_a_tenth_is_held_out(config: DataConfig, tokenizer: Any, expected: int, count: int) -> None:
    prepared = prepare(replace(config, validation_rows=expected), tokenizer, LENGTH)
    assert prepared.validation["validation"].card.conversations == count
    assert prepared.train.card.conversations == ROWS - count


def test_examples_are_questions_with_their_answers(config: DataConfig, tokenizer: Any) -> None:
    examples = prepare(config, tokenizer, LENGTH).validation["validation"].examples
    assert examples
    for example in examples:
        number = example.prompt.split()[2].rstrip("?")
        assert example.prompt == f"<s>User: Row {number}?\nAssistant:"
        assert example.messages == [{"role": "user", "content": f"Row {number}?"}]
        assert example.answer.startswith(f"tells {number} ")


def test_a_validation_file_is_taken_whole(config: DataConfig, tokenizer: Any, tmp_path: Path) -> None:
    other = write_rows(tmp_path / "validation.jsonl", 7, "says")
    prepared = prepare(replace(config, validation_path=str(other)), tokenizer, LENGTH)
    assert prepared.train.card.conversations == ROWS
    assert prepared.validation["validation"].card.conversations == 7


def test_max_rows_limits_training(config: DataConfig, tokenizer: Any) -> None:
    prepared = prepare(replace(config, max_rows=20), tokenizer, LENGTH)
    assert prepared.train.card.conversations + prepared.validation["validation"].card.conversations == 20


# --- the cache


def test_a_second_call_reads_the_cache(config: DataConfig, tokenizer: Any, forbid_writing: Callable[[], None]) -> None:
    first = prepare(config, tokenizer, LENGTH)
    forbid_writing()
    second = prepare(config, tiny_tokenizer(), LENGTH)
    assert same(first.train, second.train)
    assert same(first.validation["validation"], second.validation["validation"])
    assert len(folders(config)) == 1
    with pytest.raises(AssertionError, match="prepared again"):  # control: the guard is armed
        prepare(config, tokenizer, LENGTH + 1)


def test_a_cache_without_validation_rows_is_read_too(
    config: DataConfig, tokenizer: Any, forbid_writing: Callable[[], None]
) -> None:
    config = replace(config, validation_rows=0)
    prepare(config, tokenizer, LENGTH)
    forbid_writing()
    assert len(prepare(config, tokenizer, LENGTH).validation["validation"]) == 0


def test_a_tokenizer_that_has_answered_finds_the_cache(
    config: DataConfig, tokenizer: Any, forbid_writing: Callable[[], None]
) -> None:
    """Padding and truncation are how it was called last, not what it is."""
    prepare(config, tokenizer, LENGTH)
    tokenizer(["a", "b c d"], padding=True, truncation=True, max_length=3)
    forbid_writing()
    prepare(config, tokenizer, LENGTH)


CHANGES: dict[str, Callable[[DataConfig, Path], tuple[DataConfig, int]]] = {
    "content": lambda config, folder: (write_rows(Path(str(config.path)), verb="Tells"), (config, LENGTH))[1],
    "template": lambda config, folder: (replace(config, template="human-assistant"), LENGTH),
    "length": lambda config, folder: (config, LENGTH + 1),
    "train_on": lambda config, folder: (replace(config, train_on=TrainOn.ALL), LENGTH),
    "packing": lambda config, folder: (replace(config, packing=False), LENGTH),
    "max_rows": lambda config, folder: (replace(config, max_rows=30), LENGTH),
    "validation_rows": lambda config, folder: (replace(config, validation_rows=2), LENGTH),
    "validation_path": lambda config, folder: (
        replace(config, validation_path=str(write_rows(folder / "validation.jsonl", 5))),
        LENGTH,
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_prepares_anew(
    config: DataConfig, tokenizer: Any, tmp_path: Path, change: Callable[[DataConfig, Path], tuple[DataConfig, int]]
) -> None:
    previous = prepare(config, tokenizer, LENGTH)
    first = folders(config)
    after = prepare(*_with(tokenizer, change(config, tmp_path)))
    assert set(first) < set(folders(config))
    assert len(folders(config)) == 2
    assert not same(previous.train, after.train)


def _with(tokenizer: Any, changed: tuple[DataConfig, int]) -> tuple[DataConfig, Any, int]:
    return changed[0], tokenizer, changed[1]


def test_a_changed_template_file_prepares_anew(config: DataConfig, tokenizer: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    source = (
        "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}</s>{% else %} |{% endif %}{% endfor %}"
    )
    path.write_text(source)
    config = replace(config, template=str(path))
    prepare(config, tokenizer, LENGTH)
    path.write_text(source.replace("|", "#"))
    actual = prepare(config, tokenizer, LENGTH)
    assert len(folders(config)) == 2
    assert " #" in texts(actual.train, tokenizer)[0]


def test_another_tokenizer_prepares_anew(config: DataConfig, tokenizer: Any) -> None:
    prepare(config, tokenizer, LENGTH)
    other = tiny_tokenizer()
    other.add_tokens(["Row"])
    prepare(config, other, LENGTH)
    assert len(folders(config)) == 2


def test_the_word_for_the_data_set_does_not_matter(
    config: DataConfig, tokenizer: Any, forbid_writing: Callable[[], None]
) -> None:
    prepare(config, tokenizer, LENGTH)
    forbid_writing()
    prepare(replace(config, name="other"), tokenizer, LENGTH)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


BREAKS: dict[str, Callable[[Path], None]] = {
    "truncated tokens": lambda folder: truncate(folder / "train" / "tokens.npy"),
    "truncated header": lambda folder: (folder / "train" / "tokens.npy").write_bytes(b"\x93NUMPY"),
    "empty array file": lambda folder: (folder / "train" / "loss_mask.npy").write_bytes(b""),
    "no card": lambda folder: (folder / "train" / "card.json").unlink(),
    "half a card": lambda folder: truncate(folder / "train" / "card.json"),
    "a card of another time": lambda folder: (folder / "train" / "card.json").write_text('{"name": "train"}'),
    "no names": lambda folder: (folder / "names.json").unlink(),
    "no split": lambda folder: shutil.rmtree(folder / "validation"),
    "examples are no list": lambda folder: (folder / "validation" / "examples.json").write_text("[1]"),
}


@pytest.mark.parametrize("damage", BREAKS.values(), ids=BREAKS)
def test_a_broken_cache_is_built_again(
    config: DataConfig, tokenizer: Any, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    good = prepare(replace(config, cache=str(tmp_path / "good")), tokenizer, LENGTH)
    prepare(config, tokenizer, LENGTH)
    [folder] = folders(config)
    damage(Path(config.cache) / folder)
    mended = prepare(config, tokenizer, LENGTH)
    assert same(mended.train, good.train)
    assert same(mended.validation["validation"], good.validation["validation"])
    assert set(folders(config)) - {f"{folder}.damaged"} == {folder}


def test_a_half_written_cache_of_a_dead_process_is_no_cache(
    config: DataConfig, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while writing: nothing under the final name, and process numbers come again (in a container soon)."""

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(
            cache.files,
            "publish",
            lambda temporary, final: die() if final.suffix == "" else os.replace(temporary, final),
        )
        with pytest.raises(KeyboardInterrupt):
            prepare(config, tokenizer, LENGTH)
    assert all(name.endswith(".tmp") for name in folders(config))
    assert prepare(config, tokenizer, LENGTH).train.card.conversations == ROWS - 3


def test_a_refusal_is_the_same_the_second_time(config: DataConfig, tokenizer: Any, tmp_path: Path) -> None:
    """The training rows are good and written; a validation row is not."""
    check = "{% if m.content == 'bad' %}{{ raise_exception('no') }}{% endif %}"
    source = f"{{% for m in messages %}}{check}{{{{ m.content }}}}</s>{{% endfor %}}"
    (tmp_path / "strict.jinja").write_text(source)
    bad = tmp_path / "validation.jsonl"
    bad.write_text('{"prompt": "bad", "completion": "b"}\n')
    config = replace(config, template=str(tmp_path / "strict.jinja"), validation_path=str(bad))
    for _ in range(2):
        with pytest.raises(DataError, match="no"):
            prepare(config, tokenizer, LENGTH)


# --- many processes


def counting(write: Callable[..., None], calls: Callable[[], None], seconds: float) -> Callable[..., None]:
    def slowly(*arguments: Any) -> None:
        calls()
        time.sleep(seconds)
        write(*arguments)

    return slowly


def _prepare_in_a_process(config: DataConfig, log: Path, start: Any, results: Any) -> None:
    def note() -> None:
        with open(log, "a") as stream:
            stream.write(f"{os.getpid()}\n")

    module.write_folder = counting(module.write_folder, note, 0.5)
    tokenizer = tiny_tokenizer()
    start.wait(60)
    prepared = prepare(config, tokenizer, LENGTH)
    results.put((conversations(prepared.train), conversations(prepared.validation["validation"]), prepared.train.card))


def test_two_processes_prepare_once_and_get_the_same(config: DataConfig, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Barrier(2), spawn.Queue()
    log = tmp_path / "writes"
    processes = [spawn.Process(target=_prepare_in_a_process, args=(config, log, start, results)) for _ in range(2)]
    for process in processes:
        process.start()
    actual = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(30)
    assert actual[0] == actual[1]
    assert len(log.read_text().split()) == 1
    assert len(folders(config)) == 1


def prepare_in_threads(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """(writes, failures) of two calls at once."""
    calls: list[int] = []
    failures: list[BaseException] = []
    monkeypatch.setattr(module, "write_folder", counting(module.write_folder, lambda: calls.append(1), 0.2))
    own = [tiny_tokenizer() for _ in range(2)]

    def call(tokenizer: Any) -> None:
        try:
            prepare(config, tokenizer, LENGTH)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=(tokenizer,)) for tokenizer in own]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return len(calls), len(failures)


def test_the_lock_lets_one_in(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepare_in_threads(config, monkeypatch) == (1, 0)


def test_without_the_lock_both_write(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control for the two tests above."""
    Path(config.cache).mkdir(parents=True)
    monkeypatch.setattr(cache, "locked", lambda folder: nullcontext())
    writes, _ = prepare_in_threads(config, monkeypatch)
    assert writes == 2


# --- what is refused


def test_rows_without_anything_to_learn_are_refused(config: DataConfig, tokenizer: Any) -> None:
    with pytest.raises(
        DataError, match=r"rows\.jsonl: no conversation has loss tokens within train\.sequence_length=5"
    ):
        prepare(config, tokenizer, 5)


@pytest.mark.parametrize("content", ["", "[]", "\n\n"])
def test_a_file_without_rows_is_refused(config: DataConfig, tokenizer: Any, content: str) -> None:
    Path(str(config.path)).write_text(content)
    with pytest.raises(DataError, match=r"rows\.jsonl: no rows"):
        prepare(config, tokenizer, LENGTH)


def test_a_tokenizer_without_an_end_is_refused(config: DataConfig, tokenizer: Any) -> None:
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="no end-of-sequence token"):
        prepare(config, tokenizer, LENGTH)


def test_a_broken_row_leaves_no_cache(config: DataConfig, tokenizer: Any) -> None:
    path = Path(str(config.path))
    path.write_text(path.read_text() + "{\n")
    with pytest.raises(DataError, match=rf"rows\.jsonl:{ROWS + 1}: broken JSON"):
        prepare(config, tokenizer, LENGTH)
    assert folders(config) == []


def test_an_answer_that_merges_with_its_prompt_is_learnt_as_generation_meets_it(
    config: DataConfig, tokenizer: Any, tmp_path: Path
) -> None:
    path = tmp_path / "merging.jinja"
    path.write_text(
        "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}</s>{% else %} Assistant: {% endif %}"
        "{% endfor %}"
    )
    rows = Path(str(config.path))
    rows.write_text('{"prompt": "a?", "completion": "the"}\n' * 20)
    prompt, answer = (tokenizer(text)["input_ids"] for text in ("a? Assistant: ", "the</s>"))
    assert tokenizer("a? Assistant: the</s>")["input_ids"] != prompt + answer  # or nothing merges here
    train = prepare(replace(config, template=str(path)), tokenizer, LENGTH).train
    assert train.tokens[: train.starts[1]].tolist() == prompt + answer
    assert train.loss_mask[: train.starts[1]].tolist() == [False] * len(prompt) + [True] * len(answer)


def test_an_unknown_template_is_refused(config: DataConfig, tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match=r"data\.template: 'nope'"):
        prepare(replace(config, template="nope"), tokenizer, LENGTH)


# --- the built-in task and real data


def test_the_demo_has_unseen_splits(tokenizer: Any, tmp_path: Path) -> None:
    config = DataConfig(path="demo", max_rows=50, validation_rows=10, cache=str(tmp_path))
    prepared: Prepared = prepare(config, tokenizer, 256)
    assert prepared.train.card.conversations == 50
    assert prepared.validation
    train = set(texts(prepared.train, tokenizer))
    for data in prepared.validation.values():
        assert data.card.conversations == 10
        assert not train & set(texts(data, tokenizer))


def test_real_rows_with_a_real_tokenizer(tmp_path: Path) -> None:
    path = shared_data("alpaca_52k/alpaca_data.json")
    tokenizer = tokenizers.load(str(shared_data("tok_opt")), "opt")
    config = DataConfig(
        path=str(path),
        max_rows=1_000,
        validation_rows=50,
        on_bad_row=OnBadRow.SKIP,  # one answer is empty
        template="alpaca",
        cache=str(tmp_path),
    )
    prepared = prepare(config, tokenizer, 512)
    assert prepared.bad_rows == 1
    assert "row 285: the answer (message 2) is empty" in prepared.report.read_text()
    sets: Sequence[Dataset] = [prepared.train, *prepared.validation.values()]
    assert [data.card.conversations for data in sets] == [949, 50]
    ends = [
        tokenizer.eos_token_id in tokens[learns]
        for data in sets
        for r in range(len(data))
        for tokens, learns in data.sequence(r)
    ]
    assert sum(ends) == 999 - sum(data.card.truncated for data in sets)


# What is left out on purpose


def test_cleaning_leaves_out_training_rows_and_tells_it(config: DataConfig, tokenizer: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(path.read_text() * 2)
    twice = prepare(replace(config, validation_rows=0), tokenizer, 64)
    once = prepare(replace(config, validation_rows=0, clean=CleanConfig(duplicates=Duplicates.EXACT)), tokenizer, 64)
    assert (len(conversations(twice.train)), len(conversations(once.train))) == (2 * ROWS, ROWS)
    assert (twice.removed, once.removed) == ({}, {"duplicate": ROWS})
    assert f"{path}:{ROWS + 1}: duplicate" in once.removed_report.read_text().splitlines()
    repeated = prepare(
        replace(config, validation_rows=0, clean=CleanConfig(duplicates=Duplicates.EXACT)), tokenizer, 64
    )
    assert repeated.removed == {"duplicate": ROWS}  # from the cache


def test_rows_that_are_all_left_out_are_an_error_that_says_why(config: DataConfig, tokenizer: Any) -> None:
    with pytest.raises(DataError, match=rf"no rows, after data\.clean left out {ROWS}: too short"):
        prepare(replace(config, clean=CleanConfig(min_characters=100_000)), tokenizer, 64)


def test_validation_rows_are_written_as_training_rows_but_none_is_left_out(
    config: DataConfig, tokenizer: Any, tmp_path: Path
) -> None:
    (tmp_path / "validation.jsonl").write_text(json.dumps({"prompt": "e\u0301", "completion": "a"}) + "\n")
    unseen = replace(config, validation_path=str(tmp_path / "validation.jsonl"))
    clean = CleanConfig(normalise=True, min_characters=10)
    assert (
        prepare(replace(unseen, clean=clean), tokenizer, 64).validation["validation"].examples[0].messages[0]["content"]
        == "\u00e9"
    )
