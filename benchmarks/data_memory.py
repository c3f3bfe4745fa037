"""Does memory stay flat as rows grow: prepares 52 thousand, 520 thousand and 5.2 million rows, each in a new process.

Rows are those of Alpaca again and again, every time with another number in the question, so that no two are alike.
They are written into a temporary folder, which is removed: 5.2 million rows take 2.6 GB, and 3.5 GB prepared. The
peak is of the whole process, with the Python libraries that are loaded before (the first line); `--short` keeps the
questions and answers to their first words, for machines that are slow or busy.

    python -m benchmarks.data_memory --data alpaca_data.json --tokenizer FOLDER [--rows 52000 520000] [--short]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

ROWS = (52_000, 520_000, 5_200_000)
LENGTH = 2_048
_WORDS = 6  # of a short text


def main() -> None:
    """Prints peak memory and rows a second for each number of rows."""
    chosen = _arguments()
    if chosen.once:
        print(json.dumps(_prepared(chosen.once, chosen.tokenizer)))
        return
    for rows in (1_000, *chosen.rows):
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            path = Path(folder) / "rows.jsonl"
            _write(path, chosen.data, rows, chosen.short)
            words = ["--data", chosen.data, "--tokenizer", chosen.tokenizer, "--once", path]
            command = [sys.executable, "-m", "benchmarks.data_memory", *map(str, words)]
            told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(
            f"{rows:>9,} rows: peak {told['peak']:,.0f} MiB (of it {told['before']:,.0f} before the first row), "
            f"{told['anonymous']:,.0f} MiB of it not files; {told['seconds']:,.0f} s, {told['cpu']:,.0f} s of CPU, "
            f"{rows / told['seconds']:,.0f} rows/s, {told['tokens']:,} tokens, {told['filled']:.2%} filled; "
            f"again in {told['again']:.2f} s",
            flush=True,
        )


def _prepared(path: Path, folder: Path) -> dict[str, Any]:
    from tunefleet.config.data import DataConfig
    from tunefleet.data.prepare import prepare
    from tunefleet.model.tokenizer import load

    config = DataConfig(path=str(path), template="alpaca", cache=str(path.parent / "cache"))
    words = load(str(folder), "opt")
    before = _status("VmHWM")
    started, cpu = time.perf_counter(), time.process_time()
    card = prepare(config, words, LENGTH).train.card
    seconds, used = time.perf_counter() - started, time.process_time() - cpu
    started = time.perf_counter()
    assert prepare(config, words, LENGTH).was_cached
    return {
        "again": time.perf_counter() - started,
        "before": before,
        "peak": _status("VmHWM"),
        "anonymous": _status("RssAnon"),
        "seconds": seconds,
        "cpu": used,
        "tokens": card.tokens,
        "filled": card.filled,
    }


def _status(name: str) -> float:
    """A line of the kernel's account of this process, in MiB."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def _write(path: Path, data: Path, rows: int, short: bool) -> None:
    known = [row for row in json.loads(data.read_text(encoding="utf-8")) if row["output"].strip()]
    with open(path, "w", encoding="utf-8") as stream:
        for row in islice(_changed(known, short), rows):
            stream.write(json.dumps(row) + "\n")


def _changed(known: list[dict[str, str]], short: bool) -> Iterator[dict[str, str]]:
    for turn in count():
        for row in known:
            kept = {name: " ".join(text.split()[:_WORDS]) if short else text for name, text in row.items()}
            yield {**kept, "instruction": f"{kept['instruction']} ({turn})"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="a folder with vocab.json and merges.txt")
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    parser.add_argument("--short", action="store_true", help="only the first words of every text")
    parser.add_argument("--folder", default=os.environ.get("TMPDIR"), help="where the temporary folder is made")
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
