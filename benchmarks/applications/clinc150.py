"""CLINC150: questions with one of 150 intents, or none of them (Larson et al. 2019)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from benchmarks.applications import open_domain
from benchmarks.applications.augment import with_copies
from benchmarks.applications.public_files import PublicSet, files
from benchmarks.applications.rows import Row, Splits

PUBLIC = PublicSet("clinc150", "git clone https://github.com/clinc/oos-eval clinc150", "CC BY 3.0", inner="data")
OUT_OF_SCOPE = "oos"
OUTLIERS = 600
COPIES = 3


def splits(raw: Path) -> Splits:
    """The splits of the paper, each with its questions that have no intent.

    Training rows are joined by open-domain questions without an intent (Zhan et al. 2021), and by copies of all of
    them with words left out; `original` has those of the paper alone, for the baselines.
    """
    (path,) = files(raw, PUBLIC, "data_full.json")
    pairs = json.loads(path.read_text(encoding="utf-8"))
    train = _rows([*pairs["train"], *pairs["oos_train"]])
    outliers = [(question, OUT_OF_SCOPE) for question in open_domain.questions(raw, OUTLIERS)]
    return {
        "original": train,
        "train": with_copies([*train, *_rows(outliers)], COPIES),
        "validation": _rows([*pairs["val"], *pairs["oos_val"]]),
        "test": _rows([*pairs["test"], *pairs["oos_test"]]),
    }


def _rows(pairs: Iterable[tuple[str, str]]) -> list[Row]:
    return [{"text": text, "label": intent} for text, intent in pairs]
