"""Does every step leave out what it says, count it, and nothing else?"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tracemalloc
from collections import defaultdict
from pathlib import Path

import pytest

from tests.shared import shared_data
from tunefleet.config.cleaning import CleanConfig, Duplicates
from tunefleet.data.clean.hashes import Hashes, Numbered
from tunefleet.data.clean.near_duplicates import NearDuplicates
from tunefleet.data.clean.steps import Cleaning, normalised, text
from tunefleet.data.formats.conversation import Conversation, Turn

LONG = "the quick brown fox jumps over the lazy dog while seven wizards quietly vex a jumbled box of quartz liquor jugs"


def conversation(question: str, answer: str = "yes", number: int = 1) -> Conversation:
    return Conversation((Turn("user", question), Turn("assistant", answer)), f"rows.jsonl:{number}")


def cleaned(config: CleanConfig, *questions: str) -> tuple[list[str], dict[str, int]]:
    cleaning = Cleaning(config)
    clean_rows = cleaning.clean([conversation(question, number=i) for i, question in enumerate(questions, 1)])
    return [one.turns[0].content for one in clean_rows], dict(cleaning.counts())


def test_by_default_nothing_happens() -> None:
    questions = ["a", "a", "", "x" * 10_000, "e\u0301\x00"]
    assert cleaned(CleanConfig(), *questions) == (questions, {})


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        ("e\u0301", "\u00e9"),
        ("a\x00b\x07c\x7f", "abc"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("\u4f60\u597d \U0001f600", "\u4f60\u597d \U0001f600"),
        ("\ufb01", "\ufb01"),  # NFC keeps what only looks alike; NFKC would not
    ],
)
def test_text_is_brought_to_one_form(original: str, expected: str) -> None:
    assert normalised(original) == expected
    assert normalised(normalised(original)) == expected


def test_normalising_comes_before_duplicates() -> None:
    config = CleanConfig(normalise=True, duplicates=Duplicates.EXACT)
    assert cleaned(config, "e\u0301", "\u00e9") == (["\u00e9"], {"duplicate": 1})
    assert cleaned(CleanConfig(duplicates=Duplicates.EXACT), "e\u0301", "\u00e9")[1] == {}  # control


def test_lengths_count_all_turns() -> None:
    config = CleanConfig(min_characters=6, max_characters=8)
    assert len(text(conversation("ab"))) == 6
    assert cleaned(config, "a", "ab", "abcd", "abcde") == (["ab", "abcd"], {"too short": 1, "too long": 1})


def test_filters_look_anywhere() -> None:
    config = CleanConfig(keep=r"(?i)rain|sun", drop=r"\bsecret\b")
    clean_rows, counts = cleaned(config, "Will it RAIN?", "the sun is secret", "secretly sunny", "snow")
    assert clean_rows == ["Will it RAIN?", "secretly sunny"]
    assert counts == {"does not match data.clean.keep": 1, "matches data.clean.drop": 1}


def test_exact_duplicates_are_the_same_words_said_by_the_same() -> None:
    config = CleanConfig(duplicates=Duplicates.EXACT)
    assert cleaned(config, "Is it  so?", "is it so?\n", "is it so") == (["Is it  so?", "is it so"], {"duplicate": 1})
    cleaning = Cleaning(config)
    second = Conversation((Turn("assistant", "is it so?"), Turn("user", "yes")), "rows.jsonl:2")
    assert len(cleaning.clean([conversation("is it so?"), second])) == 2


def test_a_duplicate_is_found_in_another_source(tmp_path: Path) -> None:
    cleaning = Cleaning(CleanConfig(duplicates=Duplicates.EXACT))
    assert cleaning.clean([conversation("a")]) == [conversation("a")]
    assert cleaning.clean([conversation("a", number=7), conversation("b")]) == [conversation("b")]
    cleaning.write(tmp_path / "removed.txt")
    assert (tmp_path / "removed.txt").read_text() == "rows.jsonl:7: duplicate\n"


def test_near_duplicates() -> None:
    near = CleanConfig(duplicates=Duplicates.NEAR, similarity=0.8)
    changed = LONG.replace("jugs", "mugs")
    assert cleaned(near, LONG, changed, LONG.upper(), "something else entirely and of its own") == (
        [LONG, "something else entirely and of its own"],
        {"near duplicate": 2},
    )
    assert cleaned(CleanConfig(duplicates=Duplicates.EXACT), LONG, changed)[1] == {}  # control


@pytest.mark.parametrize(("same", "alike"), [(0.6, False), (0.95, True)])
def test_the_estimate_follows_the_share_of_common_triples(same: float, alike: bool) -> None:
    terms = [f"w{i}" for i in range(400)]
    cut = round(len(terms) * 2 * same / (1 + same))  # a common beginning of that length gives this Jaccard share
    second = terms[:cut] + [f"v{i}" for i in range(len(terms) - cut)]
    near = NearDuplicates(0.8)
    assert near.is_new(" ".join(terms))
    assert near.is_new(" ".join(second)) is not alike


def test_short_and_empty_texts_are_texts_too() -> None:
    near = NearDuplicates(0.8)
    assert [near.is_new(terms) for terms in ("", "", "a", "a", "a b", "b a")] == [True, False, True, False, True, True]


def test_the_same_in_every_process() -> None:
    code = "from tunefleet.data.clean.near_duplicates import _signature; print(_signature('a b c d e f').tolist())"
    texts = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(texts) == 1


def test_the_report_names_rows_and_steps(tmp_path: Path) -> None:
    cleaning = Cleaning(CleanConfig(min_characters=5))
    cleaning.clean([conversation("a"), conversation("abcdef", number=2), conversation("", number=3)])
    cleaning.write(tmp_path / "removed.txt")
    assert (tmp_path / "removed.txt").read_text() == "rows.jsonl:3: too short\n"


def test_what_is_left_out_of_alpaca_is_alike_and_what_is_kept_is_not() -> None:
    """Against the true shares of common triples, of every pair of 1,000 instructions."""
    rows = json.loads(shared_data("alpaca_52k/alpaca_data.json").read_text())
    texts = [f"{row['instruction']} {row['input']}" for row in rows[:1000]] + [rows[7]["instruction"] + " now please"]
    texts.append(texts[3] + " " + texts[3].split()[-1])
    near = NearDuplicates(0.8)
    clean_rows, removed = [], []
    for terms in texts:
        (clean_rows if near.is_new(terms) else removed).append(triples(terms))
    assert removed
    assert all(max(share(one, second) for second in clean_rows) >= 0.65 for one in removed)
    assert max(share(one, second) for i, one in enumerate(clean_rows) for second in clean_rows[:i]) < 0.95


def triples(terms: str) -> set[tuple[str, ...]]:
    parts = terms.lower().split()
    return {tuple(parts[i : i + 3]) for i in range(max(1, len(parts) - 2))}


def share(one: set[tuple[str, ...]], second: set[tuple[str, ...]]) -> float:
    return len(one & second) / len(one | second)


def test_hashes_are_remembered_once_and_in_little_memory() -> None:
    drawn = random.Random(0)
    numbers = [1, 2, 2**64 - 1, *(drawn.getrandbits(64) for _ in range(20_000))]
    numbers += [number & ~0xFFF for number in numbers[3:200]]  # many at one place
    seen, known = Hashes(), set()
    for number in [*numbers, *numbers]:
        assert seen.add(number) is (number not in known)
        known.add(number)
    assert len(seen) == len(known)
    assert len(seen._slots) * seen._slots.itemsize < 32 * len(known)


def test_a_hash_may_have_many_numbers() -> None:
    drawn = random.Random(0)
    table, known = Numbered(), defaultdict(list)
    keys = [drawn.getrandbits(64) & ~0xFF for _ in range(2_000)]
    for number in range(6_000):
        key = drawn.choice(keys)
        table.add(key, number)
        known[key].append(number)
    assert all(sorted(table.numbers(key)) == known[key] for key in keys)
    assert table.numbers(1) == []


def test_near_duplicates_take_little_memory() -> None:
    near = NearDuplicates(0.8)
    tracemalloc.start()
    for i in range(800):
        near.is_new(" ".join(f"{i}w{j}" for j in range(8)))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 800 * 2_500
