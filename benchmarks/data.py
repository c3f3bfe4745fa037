"""How many rows a second are prepared: tunefleet against TRL's SFTTrainer, in turns, on the same machine.

Both render Alpaca with the same chat template, tokenise with the same tokenizer, learn the answers alone and pack to
2,048 tokens with best-fit decreasing. Each start is a process of its own with an empty cache, then one more that
finds the cache; tunefleet has a third, for rows of half the length, whose tokens are in the cache. Imports and the
loading of the tokenizer are not counted, for either. TRL is given rows that are converted already, its own reading of
the file is not counted, and the best of its numbers of processes is taken; tunefleet's time is from the file to mapped
rows, checks included. CPU seconds, of all processes and threads, say what
is to be compared where other work is going on beside.

    pip install trl==1.16.0                          # in an environment of its own; name its Python below
    python -m benchmarks.data --data alpaca_data.json --tokenizer FOLDER [--rival PYTHON] [--rows N] [--rounds 2]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LENGTH = 2_048
TEMPLATE = "alpaca"
Told = dict[str, Any]


def main() -> None:
    """Prints a line for each contestant and start, and the ratios."""
    chosen = _arguments()
    if chosen.once:
        print(json.dumps(_prepared(chosen)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(chosen, Path(folder))
    for name, told in found.items():
        _tell(name, told)
    ours = found["tunefleet, cold"]
    rivals = [told for name, told in found.items() if name.startswith("trl") and name.endswith("cold")]
    for what in ("seconds", "cpu") if rivals else ():
        best = min(_median(told, what) for told in rivals)
        print(f"tunefleet / trl, cold, by {what}: {best / _median(ours, what):.2f} times as fast")


def measure(chosen: argparse.Namespace, folder: Path) -> dict[str, list[Told]]:
    """What each contestant told in every round."""
    found: dict[str, list[Told]] = {}
    rows = _converted(chosen, folder) if chosen.rival else folder
    for number in range(chosen.rounds):
        cache = folder / f"cache-{number}"
        for start, length in (("cold", LENGTH), ("cached", LENGTH), ("other length", LENGTH // 2)):
            found.setdefault(f"tunefleet, {start}", []).append(_ours(chosen, cache, length))
        for processes in chosen.processes if chosen.rival else ():
            for start in ("cold", "cached"):
                told = _rival(chosen, rows, folder / f"trl-{processes}-{number}", processes)
                found.setdefault(f"trl, {processes} processes, {start}", []).append(told)
    return found


def _ours(chosen: argparse.Namespace, cache: Path, length: int) -> Told:
    words = ["--data", chosen.data, "--tokenizer", chosen.tokenizer, "--once", cache, "--length", length]
    words += ["--rows", chosen.rows] if chosen.rows else []
    return _said([sys.executable, "-m", "benchmarks.data", *map(str, words)], {})


def _rival(chosen: argparse.Namespace, rows: Path, cache: Path, processes: int) -> Told:
    from tunefleet.data.encode import template_source

    script, written = Path(__file__).with_name("rival_trl.py"), cache.with_suffix(".jinja")
    written.write_text(template_source.find(TEMPLATE, None), encoding="utf-8")
    words = [chosen.rival, script, rows, chosen.tokenizer, written, LENGTH, processes]
    return _said([str(word) for word in words], {"HF_DATASETS_CACHE": str(cache)})


def _said(command: list[str], changed: dict[str, str]) -> Told:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **changed}, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    told: Told = json.loads(done.stdout.splitlines()[-1])
    return told


def _prepared(chosen: argparse.Namespace) -> Told:
    from tunefleet.data.prepare import prepare
    from tunefleet.model.tokenizer import load

    words = load(str(chosen.tokenizer), "opt")
    started, before = time.perf_counter(), sum(os.times()[:4])
    found = prepare(_config(chosen.data, chosen.once, chosen.rows), words, chosen.length)
    seconds, cpu = time.perf_counter() - started, sum(os.times()[:4]) - before
    card = found.train.card
    return {
        "seconds": seconds,
        "cpu": cpu,
        "conversations": card.conversations,
        "rows": card.sequences,
        "tokens": card.tokens,
        "loss_tokens": card.loss_tokens,
        "filled": card.filled,
    }


def _config(data: Path, cache: Path, rows: int | None) -> Any:
    from tunefleet.config.data import DataConfig, OnBadRow

    return DataConfig(
        path=str(data),
        max_rows=rows,
        validation_rows=0,
        on_bad_row=OnBadRow.SKIP,  # 28 answers of Alpaca are empty
        template=TEMPLATE,
        cache=str(cache),
    )


def _converted(chosen: argparse.Namespace, folder: Path) -> Path:
    """The same conversations as TRL takes them."""
    from tunefleet.data.formats.collect import collect
    from tunefleet.data.read.bad_rows import BadRows
    from tunefleet.data.read.sources import Source

    talks = collect(Source("train", _config(chosen.data, folder, chosen.rows)), BadRows(Path(os.devnull), 100))
    path = folder / "rows.jsonl"
    rows = ({"prompt": talk.messages[:-1], "completion": talk.messages[-1:]} for talk in talks)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _tell(name: str, told: list[Told]) -> None:
    one = told[-1]
    conversations = f"{one['conversations'] / _median(told):,.0f} conversations/s, " if "conversations" in one else ""
    rounds = ", ".join(f"{found['seconds']:.2f}" for found in told)
    print(
        f"{name:<26} {_median(told):>8.2f} s ({rounds}), {_median(told, 'cpu'):.2f} s of CPU, {conversations}"
        f"{one['rows']:,} rows, {one['tokens']:,} tokens, {one['loss_tokens']:,} learn"
    )


def _median(told: list[Told], what: str = "seconds") -> float:
    return float(statistics.median(one[what] for one in told))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="a folder with vocab.json and merges.txt")
    parser.add_argument("--rival", help="a Python in which trl is installed")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2], help="of TRL; the best counts")
    parser.add_argument("--rows", type=int, help="only the first so many")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--once", type=Path, metavar="CACHE", help=argparse.SUPPRESS)
    parser.add_argument("--length", type=int, default=LENGTH, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
