"""Multi30k: captions of photographs in English and German (Elliott et al. 2016)."""

from __future__ import annotations

import gzip
from pathlib import Path

from benchmarks.applications.public_files import PublicSet, files
from benchmarks.applications.rows import Row, Splits

PUBLIC = PublicSet(
    "multi30k",
    "git clone https://github.com/multi30k/dataset multi30k",
    "non-commercial research and education (Flickr30K's terms)",
    inner="data/task1/raw",
)
_FILES = {"train": "train", "validation": "val", "test": "test_2016_flickr"}


def splits(raw: Path) -> Splits:
    """The splits of the paper; the test set is that of 2016."""
    return {split: _rows(_lines(raw, f"{name}.en.gz"), _lines(raw, f"{name}.de.gz")) for split, name in _FILES.items()}


def _lines(raw: Path, name: str) -> list[str]:
    (path,) = files(raw, PUBLIC, name)
    return [line.strip() for line in gzip.decompress(path.read_bytes()).decode("utf-8").split("\n") if line.strip()]


def _rows(english: list[str], german: list[str]) -> list[Row]:
    return [{"source": source, "target": target} for source, target in zip(english, german, strict=True)]
