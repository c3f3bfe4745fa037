"""What a rank of test_evaluate.py does: trains a run of labels with test rows, and measures it in every other way."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunefleet.doors import compare as compare_door
from tunefleet.doors import evaluate_models as evaluate_door
from tunefleet.doors.compose import from_overrides
from tunefleet.doors.evaluate_models import Options
from tunefleet.plan import Machine, Plan, make
from tunefleet.runs.evaluate import Rows, open_run
from tunefleet.runs.train import train
from tunefleet.tracking import metrics

LABELS = ("play", "stop", "louder", "out_of_scope")
SETTINGS = ["model=opt-tiny", "data=jsonl", "data.format=labelled", "data.tokenizer=demo", "tracking=files"]
SETTINGS += ["train.micro_batch=2", "train.sequence_length=32", "train.max_steps=3", "evaluation.generate_rows=all"]
SETTINGS += ["evaluation.answers=labels", "evaluation.metrics=[exact_match,labels]", "train.precision=fp32"]


def files(folder: Path) -> None:
    """Rows to train on, to validate with and to test on."""
    for name, count in (("train", 24), ("valid", 12), ("test", 11)):
        rows = [{"text": f"{name} row {n}", "label": LABELS[n % 4]} for n in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def planned(folder: Path, *overrides: str) -> Plan:
    """The plan of such a run."""
    paths = [f"data.path={folder}/train.jsonl", f"data.validation_path={folder}/valid.jsonl"]
    paths += [f"data.test_path={folder}/test.jsonl", f"output_dir={folder}", f"data.cache={folder}/cache", "name=run"]
    machine = Machine(cores=1, world_size=int(os.environ.get("WORLD_SIZE", "1")))
    return make(from_overrides([*SETTINGS, *paths, *overrides]), machine)


def measured(folder: Path, overrides: list[str]) -> dict[str, Any]:
    """The last record of the run, and what rank 0 measures of it afterwards."""
    plan = planned(folder, *overrides)
    plan.save()
    code = train(plan)
    report: dict[str, Any] = {"code": code, "metrics": metrics.read(plan.paths.metrics)}
    if os.environ["RANK"] != "0":
        return report
    report["again"] = open_run(plan).measure()[1]
    if plan.layout.world_size > 1:
        return report
    for batch in (1, 7):
        changed = replace(plan.config.evaluation, batch=batch, generate_batch=batch)
        report[f"batch {batch}"] = open_run(replace(plan, config=replace(plan.config, evaluation=changed))).measure()[1]
    report["test alone"] = open_run(plan, rows=Rows("test")).measure()[1]
    test = str(folder / "test.jsonl")
    settings = tuple(override for override in SETTINGS if override.startswith(("data.", "train.seq", "train.prec")))
    report["on file"] = _printed(folder, "run", Options(on=test, as_json=True))
    (folder / "train.jsonl").unlink()  # labels are of the training data
    free = ("evaluation.answers=any", "evaluation.max_new_tokens=4")
    report["without training data"] = _printed(folder, "run", Options(on=test, as_json=True, limit=5, overrides=free))
    options = Options(on=test, as_json=True, overrides=(*settings, f"data.cache={folder}/cache", *free))
    report["export"] = _printed(folder, str(plan.paths.export), options)
    models = ["run", str(plan.paths.export)]
    options = replace(options, to=folder / "compared.html", as_json=False, limit=6)
    report["compared"] = _text(lambda: compare_door.compare(models, folder, options))
    (folder / "prompts.txt").write_text("a question\n\nanother <b>\n")
    options = replace(options, on="", to=None, limit=None)
    report["answered"] = _text(lambda: compare_door.compare(models, folder, options, folder / "prompts.txt"))
    return report


def _printed(folder: Path, target: str, options: Options) -> Any:
    return json.loads(_text(lambda: evaluate_door.evaluate(target, folder, options)))


def _text(act: Callable[[], None]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        act()
    return output.getvalue()
