"""Tatoeba's English and Chinese sentences of manythings.org: a split in which no sentence has a near copy elsewhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmarks.applications import near_copies
from benchmarks.applications.public_files import PublicSet, files
from benchmarks.applications.rows import Row, Splits

PUBLIC = PublicSet(
    "manythings_cmn_eng",
    "curl -LO https://www.manythings.org/anki/cmn-eng.zip && unzip -d manythings_cmn_eng cmn-eng.zip",
    "CC BY 2.0 FR, attribution in each line of cmn.txt",
)
TEST = 1000
VALIDATION = 500


def splits(raw: Path) -> Splits:
    """1,000 pairs to test with, 500 to validate, and of the others those that are near copies of none of them.

    The same English sentence with several translations is one group, as are translations of the same Chinese
    sentence: the test set has one pair of a group, and the others of the group are in no split.
    """
    (path,) = files(raw, PUBLIC, "cmn.txt")
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    pairs = dict.fromkeys(tuple(line.split("\t")[:2]) for line in lines if line.strip())
    rows = [{"source": source.strip(), "target": target.strip()} for source, target in pairs]
    shuffled = sorted(rows, key=lambda row: hashlib.sha256(f"{row['source']}\t{row['target']}".encode()).digest())
    test, rest = _taken(shuffled, TEST)
    validation, train = _taken(rest, VALIDATION)
    return {"train": train, "validation": validation, "test": test}


def _taken(rows: list[Row], count: int) -> tuple[list[Row], list[Row]]:
    """The first `count` rows of which none is a near copy of an earlier one; the others without their near copies."""
    taken: list[Row] = []
    index = near_copies.Index()
    rest = []
    for row in rows:
        texts = [row["source"], row["target"]]
        if index.has_copy_of(texts):
            continue
        if len(taken) < count:
            taken.append(row)
            index.add(texts)
        else:
            rest.append(row)
    return taken, rest
