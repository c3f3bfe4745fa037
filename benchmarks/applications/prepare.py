"""Preparing an application: its rows and its tokenizer, made of a public set."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.applications import rows
from benchmarks.applications.catalogue import PREPARED, Prepared


def prepare(name: str, raw: Path, folder: Path) -> dict[str, str]:
    """Makes FOLDER/NAME/{train,validation,test}.jsonl and FOLDER/NAME/tokenizer; what is to be said about them.

    The rows have the same bytes on every machine. Raises `DataError` where the public set is not below `raw`.
    """
    prepared, target = PREPARED[name], folder / name
    written = rows.write(prepared.splits(raw), target)
    _train_tokenizer(prepared, target)
    return {**written, "saved to": str(target)}


def is_prepared(name: str, folder: Path) -> bool:
    """Whether everything that `prepare` makes is there; the tokenizer comes last."""
    return (folder / name / "tokenizer" / "tokenizer.json").is_file()


def _train_tokenizer(prepared: Prepared, folder: Path) -> None:
    tokenizer = folder / "tokenizer"
    shutil.rmtree(tokenizer, ignore_errors=True)
    options = ["--to", str(tokenizer), "--vocab", str(prepared.vocabulary)]
    overrides = ["data=jsonl", f"data.path={folder / 'train.jsonl'}", f"data.format={prepared.format}"]
    command = [sys.executable, "-m", "tunefleet", "tokenizer", "train", *options, *overrides]
    subprocess.run(command, check=True, stdout=sys.stderr)
