"""`tunefleet compare`: models on the same rows or prompts, side by side as a table and as a page."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunefleet.base import files, text
from tunefleet.base.errors import ConfigError
from tunefleet.config.data import Format, SourceConfig
from tunefleet.config.evaluation import metric_text
from tunefleet.doors.evaluate_models import Options, TargetModel, prepared
from tunefleet.report import compare_page

if TYPE_CHECKING:
    from tunefleet.runs.comparison import Comparison, Pair, Side

_PROMPT = "prompt"
_PLACEHOLDER = "-"  # the reference of prompts that have none


def compare(
    targets: Sequence[str], outputs: Path, options: Options, prompts: Path | None = None, seed: int = 0
) -> None:
    """Measures two or more models and prints and writes what differs. Raises `ConfigError`, `DataError`, `RunError`."""
    if bool(prompts) == bool(options.on):
        raise ConfigError("compare: name the rows, --on DATA, or the questions, --prompts FILE: one of them.")
    if len(targets) < 2:
        raise ConfigError(f"compare: {targets[0]} alone. Name another model to compare it with.")
    page = options.to or outputs / "compare.html"
    if os.path.lexists(page) and not compare_page.is_ours(page):
        raise ConfigError(f"{page}: is there already, and no page of `tunefleet compare`. Name another with --to.")
    with tempfile.TemporaryDirectory() as scratch:
        shared_options = replace(options, to=None, shared=True)
        if prompts:
            shared_options = replace(shared_options, on=str(prompts), source=_as_rows(prompts, Path(scratch)))
        models = _prepared(targets, outputs, shared_options)
        comparison = _compared(models, bool(prompts), seed)
    tables = _tables(comparison)
    labels, page_tables = [side.label for side in comparison.sides], {name: asdict(t) for name, t in tables.items()}
    files.write_text(page, compare_page.filled(labels, page_tables, _answers(comparison), seed))
    for title, table in tables.items():
        print(f"{title}\n{text.columns([table.heads, *table.rows])}\n")
    print("\n".join(_sample_lines(comparison, models[0].plan.config.evaluation.samples)))
    print(f"paired bootstrap: 95 % of 1000 samples, seed {seed}" if comparison.pairs else "no references, no scores")
    print(os.path.relpath(page))


def _prepared(targets: Sequence[str], outputs: Path, options: Options) -> list[TargetModel]:
    """The models; the others read a file as the first one does."""
    first = prepared(targets[0], outputs, options)
    if options.source is None and os.path.lexists(options.on):
        from tunefleet.runs.evaluate import source_of

        options = replace(options, source=source_of(first.plan, str(Path(options.on).resolve())))
    return [first, *(prepared(target, outputs, options) for target in targets[1:])]


def _compared(models: Sequence[TargetModel], only_answers: bool, seed: int) -> Comparison:
    from tunefleet.runs import comparison

    metrics = () if only_answers else models[0].plan.config.evaluation.metrics
    return comparison.compared([comparison.side(model.label, model.open(), metrics) for model in models], seed)


def _as_rows(prompts: Path, scratch: Path) -> SourceConfig:
    """Questions as rows: the lines of a text file, or `prompt` of a JSONL file. Raises `ConfigError`."""
    try:
        lines = [line for line in files.read_text(prompts).splitlines() if line.strip()]
        questions = [json.loads(line)[_PROMPT] for line in lines] if prompts.suffix == ".jsonl" else lines
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--prompts: {prompts} cannot be read: {error}.") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f'--prompts: a line of {prompts} is not {{"prompt": "..."}}.') from None
    if not questions:
        raise ConfigError(f"--prompts: {prompts} holds no question.")
    path = scratch / "prompts.jsonl"
    rows = [{_PROMPT: str(question), "completion": _PLACEHOLDER} for question in questions]
    files.write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return SourceConfig(path=str(path), format=Format.PROMPT_COMPLETION)


@dataclass(frozen=True)
class _Table:
    heads: list[str]
    rows: list[list[str]]


def _tables(comparison: Comparison) -> dict[str, _Table]:
    """A table of the scores, and one of the differences."""
    scores: dict[tuple[str, str], dict[int, str]] = {}
    for pair in comparison.pairs:
        row = scores.setdefault((pair.split, pair.value), {})
        row |= {pair.first: _number(pair, pair.difference.first), pair.second: _number(pair, pair.difference.second)}
    labels = [side.label for side in comparison.sides]
    heads = ["split", "value", *labels]
    rows = [[*key, *(row.get(number, "") for number in range(len(labels)))] for key, row in scores.items()]
    differences = [_difference(comparison, pair) for pair in comparison.pairs]
    if not rows:
        return {}
    of_pairs = ["models", "split", "value", "difference", "95 % of samples", "second better"]
    return {
        "Scores": _Table(heads, rows),
        "Differences": _Table(of_pairs, [*differences, *([note, *[""] * 5] for note in comparison.notes)]),
    }


def _difference(comparison: Comparison, pair: Pair) -> list[str]:
    first, second = (comparison.sides[number].label for number in (pair.first, pair.second))
    difference = pair.difference
    better = 1 - difference.higher if pair.value == "loss" else difference.higher
    interval = f"{difference.low:+.4f} to {difference.high:+.4f}{' *' if difference.is_sure else ''}"
    return [f"{first} -> {second}", pair.split, pair.value, f"{difference.value:+.4f}", interval, f"{better:.1%}"]


def _number(pair: Pair, value: float) -> str:
    return f"{value:.4f}" if pair.value == "loss" else metric_text(pair.value, value).rpartition(" ")[2]


def _answers(comparison: Comparison) -> list[dict[str, str]]:
    """A row for each question, with every model's answer."""
    return [_row(comparison.sides, split, number) for split, number in _places(comparison.sides[0])]


def _places(side: Side) -> Iterator[tuple[str, int]]:
    for split, samples in side.samples.items():
        yield from ((split, number) for number in range(len(samples)))


def _row(sides: Sequence[Side], split: str, number: int) -> dict[str, str]:
    sample = sides[0].samples[split][number]
    reference = {} if sample.reference == _PLACEHOLDER else {"reference": sample.reference}
    answers = {f"{place}. {side.label}": side.samples[split][number].answer for place, side in enumerate(sides, 1)}
    return {"split": split, "question": sample.question, **reference, **answers}


def _sample_lines(comparison: Comparison, count: int) -> Iterator[str]:
    for row in _answers(comparison)[:count]:
        yield f"  {text.in_one_line(row['question'])}"
        yield from (f"    {k}: {text.in_one_line(v)}" for k, v in row.items() if k not in ("split", "question"))
