"""Applications: tasks with public data and the demo, from the raw files to a table of measured numbers.

    python -m benchmarks.applications prepare NAME... [--raw FOLDER] [--to FOLDER]
    python -m benchmarks.applications run NAME [--seeds 3] [--raw FOLDER] [--to FOLDER] [overrides ...]
    python -m benchmarks.applications baselines NAME [--raw FOLDER] [--to FOLDER]

`prepare` makes rows and a tokenizer of the public files below --raw (or $TUNEFLEET_PUBLIC_DATA) in --to (or
$TUNEFLEET_APPLICATIONS, or outputs/applications). `run` does so where that is missing, trains a run for each seed,
leaves all answers of the test set in its samples.jsonl, and prints numbers, tolerances and baselines as the table in
Markdown that the cards in docs/applications have.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.applications import baseline_rows, prepare, table, training
from benchmarks.applications.catalogue import APPLICATIONS, Application, application, default_folder
from benchmarks.applications.public_files import raw_folder
from benchmarks.applications.table import BySplit
from tunefleet.base import text
from tunefleet.doors.error_output import exit_on_error


def main() -> None:
    """Does what was typed; a missing public file is one line."""
    args, overrides = _parser().parse_known_args()
    folder, raw = Path(args.to or default_folder()).resolve(), raw_folder(args.raw)
    with exit_on_error():
        if args.command == "prepare":
            for name in args.names:
                print(text.listed(prepare.prepare(application(name).folder or name, raw, folder)))
            return
        for name in args.names:
            _expect_prepared(application(name), raw, folder)
        for name in args.names:
            runs = _trained(application(name), args.seeds, folder, overrides) if args.command == "run" else []
            print(table.markdown(name, runs, baselines(application(name), folder)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.applications",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("prepare", "run", "baselines"))
    parser.add_argument("names", nargs="+", metavar="NAME", help=", ".join(APPLICATIONS))
    parser.add_argument("--raw", help="folder of the public data sets")
    parser.add_argument("--to", help="folder of prepared data and runs")
    parser.add_argument("--seeds", type=int, default=3, help="runs to train")
    return parser


def _expect_prepared(chosen: Application, raw: Path, folder: Path) -> None:
    if chosen.folder and not prepare.is_prepared(chosen.folder, folder):
        print(text.listed(prepare.prepare(chosen.folder, raw, folder)), file=sys.stderr)


def _trained(chosen: Application, seeds: int, folder: Path, overrides: list[str]) -> list[BySplit]:
    trained = [training.train(chosen, seed, folder, overrides) for seed in range(seeds)]
    for run in trained:
        print(f"{run.run_dir}: {run.cpu_minutes:.1f} CPU minutes, all answers in samples.jsonl")
    return [training.values(chosen, run) for run in trained]


def baselines(chosen: Application, folder: Path) -> dict[str, BySplit]:
    """{baseline: {split: its values}} on the rows of the splits that are measured."""
    train, splits = baseline_rows.of(chosen, folder)
    return {
        name: {
            split: chosen.measure(baseline(train, rows), [row["label" if "label" in row else "target"] for row in rows])
            for split, rows in splits.items()
        }
        for name, baseline in chosen.baselines.items()
    }


if __name__ == "__main__":
    main()
