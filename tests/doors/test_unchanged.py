"""Is a run refused whose files are not what they were, whichever file, whatever changed, whoever starts it?"""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.launch import repositories
from tests.launch.fakes import FakeSlurm, installed
from tests.plans import OPT
from tunefleet.base import delivery, files, status
from tunefleet.base.errors import DataError, RunError
from tunefleet.base.status import State, Status
from tunefleet.config import RunConfig, load
from tunefleet.doors import control, rank, start, submit, unchanged
from tunefleet.doors import evaluate_models as evaluate_door
from tunefleet.doors import exported as exported_door
from tunefleet.doors.named_model import NamedModel
from tunefleet.doors.start import is_done
from tunefleet.launch import restarts
from tunefleet.launch.register import Run
from tunefleet.plan import Machine, Plan, contents, make
from tunefleet.plan.contents import Role
from tunefleet.sweep.grid_point import Point

CPU = Machine(gpus=0, cores=2)
Edit = Callable[[Path], None]


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file of every kind that a run can read."""
    row = '{"prompt": "a", "completion": "b"}\n'
    for name in ("many/1.jsonl", "many/2.jsonl", "rows.jsonl", "unseen.jsonl", "elsewhere/linked.jsonl"):
        written(tmp_path / name, row)
    written(tmp_path / "packed" / "1.jsonl.gz", gzip.compress(row.encode(), mtime=0))
    (tmp_path / "packed" / "2.jsonl.gz").symlink_to(written(tmp_path / "elsewhere/2.gz", gzip.compress(b"", mtime=0)))
    for name in ("lines.en", "lines.de", "labels.txt"):
        written(tmp_path / name, "one\ntwo\n")
    written(tmp_path / "own.jinja", "{{ messages }}")
    for name in ("tokenizer.json", "tokenizer_config.json", "README.md"):
        written(tmp_path / "tokenizer" / name, "{}")
    files.write_json(tmp_path / "model" / "config.json", OPT)
    written(tmp_path / "model" / "generation_config.json", "{}")
    written(tmp_path / "model" / "model.safetensors", bytes(1000))
    written(tmp_path / "model" / "README.md", "about")
    return tmp_path


def planned(folder: Path, name: str = "run", slurm: bool = False, **launch: Any) -> Plan:
    """What the same command means now."""
    mix = [
        {"path": f"{folder}/many"},
        {"path": f"{folder}/packed/*.jsonl.gz"},
        {"path": f"{folder}/lines.en", "target_path": f"{folder}/lines.de"},
        {"path": f"{folder}/rows.jsonl", "format": "labelled", "label_file": f"{folder}/labels.txt"},
    ]
    values: dict[str, Any] = {
        "name": name,
        "output_dir": f"{folder}/outputs",
        "data": {
            "mix": mix,
            "validation_path": f"{folder}/unseen.jsonl",
            "template": f"{folder}/own.jinja",
            "cache": f"{folder}/cache",
        },
        "model": {"path": f"{folder}/model", "tokenizer": f"{folder}/tokenizer"},
        "train": {"sequence_length": 32},
        "launch": {"name": "slurm" if slurm else "local", **launch},
    }
    return make(load(RunConfig, values), CPU)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of runs whose ranks were started, or which a rank trained."""
    names: list[str] = []
    monkeypatch.setattr(restarts, "run", lambda plan: names.append(plan.name) or 0)
    trains = type(sys)("tunefleet.runs.train")
    trains.train = lambda plan: names.append(plan.name) or 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tunefleet.runs.train", trains)
    monkeypatch.setattr(start.provenance, "record", lambda repository: None)  # what git says takes most of the time
    monkeypatch.setattr(start.provenance, "write", lambda path, provenance: None)
    return names


def another(path: Path) -> None:
    """One bit, with the size and both times that it had."""
    previous, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(previous.st_atime_ns, previous.st_mtime_ns))


def more(path: Path) -> None:
    path.write_text("{}\n")


CHANGES: list[tuple[str, Edit, str]] = [
    ("many/1.jsonl", another, "data {}: SHA-256 "),
    ("many/2.jsonl", Path.unlink, "data {}: SHA-256 "),
    ("many/3.jsonl", more, "data {}: not there then, SHA-256 "),
    ("packed/1.jsonl.gz", another, "data {}: SHA-256 "),
    ("packed/3.jsonl.gz", more, "data {}: not there then, SHA-256 "),
    ("lines.en", another, "data {}: SHA-256 "),
    ("lines.de", another, "data {}: SHA-256 "),
    ("labels.txt", another, "data {}: SHA-256 "),
    ("unseen.jsonl", another, "data {}: SHA-256 "),
    ("own.jinja", another, "template {}: SHA-256 "),
    ("tokenizer/tokenizer.json", another, "tokenizer {}: SHA-256 "),
    ("tokenizer/chat_template.jinja", more, "tokenizer {}: not there then, SHA-256 "),
    ("model/model.safetensors", another, "model {}: SHA-256 "),
    ("model/generation_config.json", another, "model {}: SHA-256 "),
]
KINDS = pytest.mark.parametrize(("name", "edit", "line"), CHANGES, ids=[f"{e.__name__}-{n}" for n, e, _ in CHANGES])


@KINDS
def test_the_same_command_after_a_change_is_refused(
    folder: Path, trained: list[str], name: str, edit: Edit, line: str
) -> None:
    start.start(planned(folder), CPU)
    edit(folder / name)
    with pytest.raises(RunError) as caught:
        start.start(planned(folder), CPU)
    message = str(caught.value)
    assert message.startswith("run: files that it reads are not what they were at its start: ")
    assert message.count("SHA-256") == (1 if edit is not another else 2)  # that one file, and no other
    assert line.format(folder / name) in message
    assert "name=ANOTHER" in message
    assert trained == ["run"]
    start.start(planned(folder, "other"), CPU)  # as the message says
    assert trained == ["run", "other"]


def test_both_digests_are_named(folder: Path, trained: list[str]) -> None:
    path = folder / "rows.jsonl"
    older = hashlib.sha256(path.read_bytes()).hexdigest()
    start.start(planned(folder), CPU)
    path.write_text('{"prompt": "c", "completion": "d"}\n')
    now = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(RunError, match=f"{path}: SHA-256 {older[:12]} then, SHA-256 {now[:12]} now"):
        start.start(planned(folder), CPU)


def test_many_changes_are_counted(folder: Path, trained: list[str]) -> None:
    start.start(planned(folder), CPU)
    for number in range(10, 30):
        more(folder / "many" / f"{number}.jsonl")
    with pytest.raises(RunError, match=r"17\.jsonl: .*; and 12 more\. Put back"):
        start.start(planned(folder), CPU)


def test_what_no_run_reads_may_change(folder: Path, trained: list[str]) -> None:
    start.start(planned(folder), CPU)
    for name in ("many/notes.md", "many/.hidden.jsonl", "tokenizer/README.md", "model/README.md", "elsewhere/new"):
        written(folder / name, "new")
    for path in folder.rglob("*.jsonl"):
        os.utime(path)  # a time is no content
    start.start(planned(folder), CPU)
    assert trained == ["run", "run"]


def test_a_link_that_points_elsewhere_is_another_file(folder: Path, trained: list[str]) -> None:
    start.start(planned(folder), CPU)
    link = folder / "packed" / "2.jsonl.gz"
    link.unlink()
    link.symlink_to(folder / "packed" / "1.jsonl.gz")
    with pytest.raises(RunError, match=f"data {link}: "):
        start.start(planned(folder), CPU)


def test_control_without_the_comparison_it_trains(
    folder: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start.start(planned(folder), CPU)
    another(folder / "rows.jsonl")
    monkeypatch.setattr(contents, "changes", lambda older, now, plan: [])
    start.start(planned(folder), CPU)
    assert trained == ["run", "run"]


def test_a_file_that_may_not_be_read_is_named(
    folder: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path, memory: Path | None = None) -> bytes:
        raise DataError(f"{path}: cannot be read: Permission denied.")

    monkeypatch.setattr(contents, "digest", forbidden)  # root may read everything
    with pytest.raises(DataError, match="Permission denied"):
        start.start(planned(folder), CPU)
    assert trained == []


# Who starts it


def resume(folder: Path) -> None:
    start.start(Plan.read(folder / "outputs" / "run"), CPU)


def same_command(folder: Path) -> None:
    start.start(planned(folder), CPU)


def queued_rank(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RANK", "0")
        rank.train_plan(Plan.read(folder / "outputs" / "run"))


def submitted(folder: Path) -> None:
    submit.submit([planned(folder, slurm=True)])


def waiting_point(folder: Path) -> None:
    """What `tunefleet.doors.grid_worker` does for a point of a grid."""
    start.start(Plan.read(folder / "outputs" / "run"), Machine())


STARTERS = [same_command, resume, queued_rank, submitted, waiting_point]


@pytest.mark.parametrize("starter", STARTERS, ids=[starter_function.__name__ for starter_function in STARTERS])
@pytest.mark.parametrize("state", [State.FINISHED, State.INTERRUPTED, State.QUEUED])
def test_nobody_starts_it_and_it_is_not_done(
    folder: Path, trained: list[str], starter: Edit, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(folder / "bin", monkeypatch)
    plan = unchanged.recorded(planned(folder))
    plan.save()
    status.write(plan.paths.status, Status(state, step=4, total_steps=9))
    another(folder / "lines.de")
    previous = plan.paths.plan.read_text(), plan.paths.status.read_text()
    with pytest.raises(RunError, match=r"lines\.de"):
        starter(folder)
    assert trained == []
    assert previous == (plan.paths.plan.read_text(), plan.paths.status.read_text())


def test_other_ranks_leave_it_to_the_first(folder: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen hundred ranks must not read every file sixteen hundred times."""
    plan = unchanged.recorded(planned(folder))
    another(folder / "lines.de")
    monkeypatch.setenv("RANK", "1")
    rank.train_plan(plan)
    assert trained == ["run"]


def test_a_point_of_a_grid_is_planned_with_what_its_files_held_at_the_start(folder: Path) -> None:
    point = Point("[1/2]", "seed=1", ("seed=1",), unchanged.recorded(planned(folder)), is_done)
    assert point.ready()
    another(folder / "rows.jsonl")
    with pytest.raises(RunError, match=r"rows\.jsonl"):
        start.start(Plan.read(point.plan.paths.root), Machine())


def test_a_job_that_waits_knows_what_its_files_held(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake: FakeSlurm = installed(folder / "bin", monkeypatch)
    fake.says("sbatch", "Submitted batch job 41")
    project = repositories.project(folder / "project")
    monkeypatch.setattr(submit, "REPOSITORY", project)
    monkeypatch.setattr(submit, "OWN_CODE", project / "src")
    monkeypatch.setattr(submit.look_ahead, "expect_readable", lambda plans: None)  # nothing of it can be loaded
    monkeypatch.chdir(folder)
    plan = planned(folder, slurm=True)
    submit.submit([plan])
    saved = Plan.read(plan.paths.root)
    assert saved.contents["data"][str(folder / "lines.de")] == hashlib.sha256(b"one\ntwo\n").hexdigest()
    unchanged.expect(saved)
    another(folder / "lines.de")
    with pytest.raises(RunError, match=r"lines\.de"):
        unchanged.expect(saved)


def test_a_dry_run_reads_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(folder / "bin", monkeypatch)
    monkeypatch.setattr(contents, "read", lambda *given: pytest.fail("read"))
    assert submit.submit([planned(folder, slurm=True, dry_run=True)]) == 0


def test_planning_reads_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a laptop, of a model that is on another machine."""
    monkeypatch.setattr(contents, "read", lambda *given: pytest.fail("read"))
    assert planned(folder).contents == {}


def test_a_run_of_an_older_version_goes_on(folder: Path, trained: list[str]) -> None:
    plan = planned(folder)
    plan.save()
    record = files.read_json(plan.paths.plan)
    for key in ("contents", "digest", "trajectory"):
        del record[key]
    files.write_json(plan.paths.plan, record)
    resume(folder)
    assert trained == ["run"]
    assert Plan.read(plan.paths.root).contents["data"]


def test_reproduce_says_what_changed_and_runs(
    folder: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = unchanged.recorded(planned(folder))
    old.save()
    another(folder / "lines.de")
    monkeypatch.setattr(control.compose, "from_overrides", lambda arguments, with_project_conf: planned(folder).config)
    monkeypatch.setattr(control, "machine_for", lambda config: CPU)
    assert control.reproduce(Run(old.paths)) == 0
    assert f"  data {folder}/lines.de: SHA-256 " in capsys.readouterr().out
    assert trained == ["run-again-1"]


# Data sets of the hub, and names


def test_a_data_set_of_the_hub_is_known_by_its_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = written(folder / "cache" / "x-train.arrow", "rows")
    monkeypatch.setattr(unchanged, "cached_hub_files", lambda name, subset, split: [rows])
    plan = planned(folder)
    plan = replace(plan, config=replace(plan.config, data=replace(plan.config.data, mix=(), path="hub:owner/name")))
    plan = unchanged.recorded(plan)
    assert plan.contents["data"]["hub:owner/name x-train.arrow"] == hashlib.sha256(b"rows").hexdigest()
    rows.write_text("newer")
    with pytest.raises(RunError, match=r"data hub:owner/name x-train\.arrow: "):
        unchanged.recorded(plan)


def test_a_newer_snapshot_of_a_model_is_another_one(folder: Path) -> None:
    """`facebook/opt-125m` stays the same name."""
    older = unchanged.recorded(planned(folder))
    newer = written(folder / "newer" / "model.safetensors", bytes(1001)).parent
    now = replace(older, sources=replace(older.sources, weights=str(newer)), contents={})
    with pytest.raises(RunError, match=f"model {newer}/model.safetensors: "):
        unchanged.expect_as_in(older, unchanged.recorded(now))


def test_another_architecture_under_the_same_path_is_another_model(folder: Path) -> None:
    older = unchanged.recorded(planned(folder))
    files.write_json(folder / "model" / "config.json", {**OPT, "ffn_dim": 128})
    with pytest.raises(RunError, match=r"model architecture: .*; model .*config\.json: "):
        unchanged.expect_as_in(older, unchanged.recorded(planned(folder)))


def test_a_relative_folder_of_a_model_is_another_one_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = planned(folder).config
    relative = replace(there, model=replace(there.model, path="model", tokenizer="./tokenizer"))
    monkeypatch.chdir(folder)
    model = make(relative, CPU).config.model
    assert (model.path, model.tokenizer) == (str(folder / "model"), str(folder / "tokenizer"))


def test_only_the_roles_that_are_asked_for_are_compared(folder: Path) -> None:
    plan = unchanged.recorded(planned(folder))
    another(folder / "lines.de")
    unchanged.expect(plan, (Role.MODEL, Role.TOKENIZER, Role.TEMPLATE))
    with pytest.raises(RunError, match="Give it back"):
        unchanged.expect(plan, (Role.DATA,), "Give it back.")


# After training

USES: dict[str, Callable[[Run], None]] = {
    "evaluate": lambda run: evaluate_door.of_run(run, evaluate_door.Options()).open() and None,
    "chat": lambda run: NamedModel("", run).open() and None,
    "export": lambda run: exported_door.export(run, exported_door.ExportRequest()),
}


@pytest.mark.parametrize(
    ("name", "exported", "refusing"),
    [
        ("lines.de", True, {"evaluate"}),
        ("unseen.jsonl", True, {"evaluate"}),
        ("own.jinja", True, {"evaluate"}),  # exports have the checkpoint's
        ("tokenizer/tokenizer.json", True, set()),  # they have the run's own
        ("model/model.safetensors", True, {"export"}),
        ("model/config.json", False, {"evaluate", "chat", "export"}),
    ],
)
def test_what_comes_after_training_refuses_what_it_would_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, exported: bool, refusing: set[str]
) -> None:
    plan = unchanged.recorded(planned(folder))
    plan.save()
    plan.paths.checkpoints.mkdir()
    if exported:
        plan.paths.export.mkdir()
    (folder / name).write_text("{}\n{}\n")
    monkeypatch.setattr(exported_door, "prepare_environment", lambda plan: None)
    done = []
    runs = type(sys)("tunefleet.runs.stand_in")
    runs.open_run = lambda plan, choice, rows: done.append("evaluate")  # type: ignore[attr-defined]
    runs.of_run = lambda plan, choice: done.append("chat") or SimpleNamespace(folder=None)  # type: ignore[attr-defined]
    runs.export = lambda plan, target, choice, form: done.append("export") or folder  # type: ignore[attr-defined]
    runs.Form = lambda dtype, shard_size: None  # type: ignore[attr-defined]
    for module in ("evaluate", "text_model", "run_summary", "checkpoint_export", "export_format"):
        monkeypatch.setitem(sys.modules, f"tunefleet.runs.{module}", runs)
        monkeypatch.setattr(f"tunefleet.runs.{module}", runs, raising=False)
    runs.ALL_SPLITS, runs.Rows, runs.source_of = None, None, None  # type: ignore[attr-defined]
    runs.results, runs.sample_lines = (lambda record: {}), (lambda plan, samples: [])  # type: ignore[attr-defined]
    for use in refusing:
        with pytest.raises(RunError, match=Path(name).name):
            USES[use](Run(plan.paths))
    for use in USES.keys() - refusing:
        USES[use](Run(plan.paths))
    assert {*done} == {*USES} - refusing


def test_an_export_that_a_run_starts_from_is_as_it_was_written(folder: Path) -> None:
    """Where it has a record of itself; others' models have none."""
    plan = planned(folder)
    export = folder / "export"
    with delivery.staging(export) as staged:
        (staged / "model.safetensors").write_bytes(b"weights")
        delivery.deliver(staged, export, {})
    of_export = replace(plan, sources=replace(plan.sources, weights=str(export)))
    unchanged.expect_whole_export(of_export)
    (export / "model.safetensors").write_bytes(b"Weights")
    with pytest.raises(RunError, match=r"model\.safetensors: changed since it was saved.*remove tunefleet\.json"):
        unchanged.expect_whole_export(of_export)
    (export / "tunefleet.json").unlink()
    unchanged.expect_whole_export(of_export)
