"""Demo data: generates spoken commands and the JSON actions that they stand for.

    python -m tunefleet.data.demo.generate --split train --count 20

prints rows as JSON lines. Every row is a function of the split, the seed and its place alone, the same
in every process and on every platform. Sentences with checksum 0 modulo 8 belong to the validation
splits and all others to training, so no validation sentence is ever a training sentence.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import zlib
from collections.abc import Iterator

from tunefleet.data.demo import grammar, values
from tunefleet.plan.paths import validation_splits

SPLITS = ("train", *validation_splits.DEMO)
SENTENCES_HELD_OUT_ONE_IN = 8
MAX_MISSES = 20_000
"""Draws in vain, beyond 100 for each row asked for, that are an error."""


def is_held_out_sentence(sentence: str) -> bool:
    """Say whether a sentence is kept out of training, by a stable checksum of its text."""
    return zlib.crc32(sentence.encode("utf-8")) % SENTENCES_HELD_OUT_ONE_IN == 0


def action(intent: str, slots: dict[str, str]) -> str:
    """Write an intent and its slots as one line of JSON, the slots in the grammar's order."""
    ordered = {name: slots[name] for name in grammar.SLOT_ORDER[intent] if name in slots}
    return json.dumps({"intent": intent, "slots": ordered}, ensure_ascii=False)


def _usable(split: str, pattern: str) -> bool:
    """Say whether a split may use a sentence pattern: unseen values and words need an open slot to stand in."""
    return split not in ("unseen_values", "unseen_words") or any(
        name in values.OPEN for name in grammar.slots_of(pattern)
    )


@functools.cache
def patterns(split: str) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Per intent, the templates a split draws from, each as its sentence patterns."""
    source = grammar.HELD_OUT_TEMPLATES if split == "unseen_templates" else grammar.TEMPLATES
    by_intent: dict[str, tuple[tuple[str, ...], ...]] = {}
    for intent, templates in source.items():
        groups = (tuple(p for p in grammar.expand(t) if _usable(split, p)) for t in templates)
        by_intent[intent] = tuple(group for group in groups if group)
    return by_intent


def draw_row(split: str, rng: random.Random) -> dict[str, str]:
    """Draw one row, every intent equally often and within it every template."""
    intent = rng.choice(tuple(grammar.SLOT_ORDER))
    pattern = rng.choice(rng.choice(patterns(split)[intent]))
    slots = {name: values.draw(name, split, rng) for name in grammar.slots_of(pattern)}
    return {"prompt": pattern.format(**slots), "completion": action(intent, slots)}


def rows(split: str, count: int, seed: int = 0) -> Iterator[dict[str, str]]:
    """Yield `count` rows with distinct commands, as `{"prompt": command, "completion": JSON}`.

    Raises ValueError for an unknown split, or when the split has too few distinct commands.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    return _distinct(split, count, random.Random(f"{split}:{seed}"))


def _distinct(split: str, count: int, rng: random.Random) -> Iterator[dict[str, str]]:
    """Yield rows on the split's side of the sentence partition, none of them twice."""
    prompts: set[str] = set()
    misses = 0
    while len(prompts) < count:
        row = draw_row(split, rng)
        if row["prompt"] in prompts or is_held_out_sentence(row["prompt"]) == (split == "train"):
            misses += 1
            if misses > MAX_MISSES + 100 * count:
                raise ValueError(f"split {split!r} has fewer than {count} distinct commands")
            continue
        prompts.add(row["prompt"])
        yield row


def main(argv: list[str] | None = None) -> None:
    """Print rows of one split as JSON lines."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    for row in rows(args.split, args.count, args.seed):
        print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    main()
