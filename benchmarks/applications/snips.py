"""SNIPS: commands to a voice assistant with intent and slots (Coucke et al. 2018)."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.applications.public_files import PublicSet, files
from benchmarks.applications.rows import Row, Splits

PUBLIC = PublicSet(
    "snips_nlu",
    "git clone https://github.com/sonos/nlu-benchmark snips_nlu",
    "CC0 1.0",
    inner="2017-06-custom-intent-engines",
)
VALIDATION = 100


def splits(raw: Path) -> Splits:
    """The 700 commands of the validate files test; the last 100 training commands of each intent validate."""
    train, validation = [], []
    for path in files(raw, PUBLIC, "*/train_*_full.json"):
        rows = _rows(path)
        train += rows[:-VALIDATION]
        validation += rows[-VALIDATION:]
    test = [row for path in files(raw, PUBLIC, "*/validate_*.json") for row in _rows(path)]
    return {"train": train, "validation": validation, "test": test}


def _rows(path: Path) -> list[Row]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:  # one of the files as published
        text = content.decode("latin-1")
    ((intent, commands),) = json.loads(text).items()
    return [
        {"text": "".join(part["text"] for part in command["data"]).strip(), "label": intent, "slots": command["data"]}
        for command in commands
    ]
