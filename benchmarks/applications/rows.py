"""Rows of an application: splits, written as JSONL whose bytes depend on the public files alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Splits = Mapping[str, Sequence[Row]]


def write(splits: Splits, folder: Path) -> dict[str, str]:
    """Writes FOLDER/SPLIT.jsonl for each split; {file name: rows and the beginning of its SHA-256}."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for split, rows in splits.items():
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        (folder / f"{split}.jsonl").write_bytes(content)
        written[f"{split}.jsonl"] = f"{len(rows):,} rows, sha256 {hashlib.sha256(content).hexdigest()[:16]}"
    return written


def read(path: Path) -> list[Row]:
    """The rows of a file that `write` wrote."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
