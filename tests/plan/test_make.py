"""Does a plan decide the whole run, name every mistake at once, and know its own identity?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path
from typing import Any

import pytest

from tests.shared import architecture
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.config import RunConfig, load
from tunefleet.plan import Machine, Plan, make

ARCHITECTURE: dict[str, Any] = {
    "model_type": "opt",
    "vocab_size": 64,
    "hidden_size": 16,
    "ffn_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
CPU = Machine(gpus=0, cores=8)
Make = Callable[..., Plan]


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {key: merged(base[key], changes[key]) for key in base.keys() & changes if isinstance(base[key], dict)}
    return {**base, **changes, **both}


@pytest.fixture
def planned(tmp_path: Path) -> Make:
    """Plans a run that works; `group={...}` changes it."""
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{}")
    for name in ("rows.jsonl", "other.jsonl"):
        (tmp_path / name).write_text('{"prompt": "a", "completion": "b"}\n')
    base = {
        "output_dir": str(tmp_path / "outputs"),
        "data": {"path": str(tmp_path / "rows.jsonl")},
        "model": {
            "name": "tiny",
            "init": "random",
            "architecture": ARCHITECTURE,
            "tokenizer": str(tmp_path / "tokenizer"),
        },
        "optimizer": {"lr": 1e-3},
        "train": {"sequence_length": 32},
    }

    def planned(machine: Machine = CPU, **changes: Any) -> Plan:
        return make(load(RunConfig, merged(base, changes)), machine)

    return planned


def complaints(planned: Make, machine: Machine = CPU, **changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        planned(machine, **changes)
    return list(caught.value.complaints)


# What it decides


def test_the_parts(planned: Make, tmp_path: Path) -> None:
    plan = planned(Machine(gpus=2, cores=8), train={"global_batch": 32})
    degrees = {"tensor": 1, "pipeline": 1, "sequence": 1}
    expected = {"world_size": 2, "data_parallel": 2, "processes_here": 2, "device": "cuda", **degrees}
    assert asdict(plan.layout) == expected
    assert asdict(plan.batch) == {"micro": 4, "accumulation": 4, "data_parallel": 2}
    assert plan.engine["train_batch_size"] == 32
    assert plan.parameters == 6560  # 130 rows of embeddings, 2 blocks of 2,224, a norm of 32
    assert plan.threads == 4
    assert plan.sources.tokenizer == str(tmp_path / "tokenizer")


@pytest.mark.parametrize(("wanted", "threads"), [(None, 2), (3, 3)])
def test_threads_share_the_cores_out(planned: Make, wanted: int | None, threads: int) -> None:
    assert planned(launch={"processes": 4}, train={"threads": wanted}).threads == threads


def test_more_processes_than_cores_still_have_a_thread(planned: Make) -> None:
    assert planned(Machine(cores=2), launch={"processes": 5}).threads == 1


def test_the_run_lies_below_output_dir_by_its_name(planned: Make, tmp_path: Path) -> None:
    assert planned(name="mine").paths.root == tmp_path / "outputs" / "mine"
    plan = planned()
    assert plan.name == f"jsonl_tiny_ddp-{plan.identity[:8]}"


def test_paths_hold_wherever_a_rank_is_started(planned: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = planned(output_dir="out", data={"path": "rows.jsonl", "validation_path": "other.jsonl", "cache": "c"})
    assert plan.run_dir == str(tmp_path / "out" / plan.name)
    assert plan.config.data.path == str(tmp_path / "rows.jsonl")
    assert plan.config.data.validation_path == str(tmp_path / "other.jsonl")
    assert plan.config.data.cache == str(tmp_path / "c")


def test_the_built_in_data_are_no_file(planned: Make) -> None:
    assert planned(data={"path": "demo"}).config.data.path == "demo"


def test_a_plan_is_frozen(planned: Make) -> None:
    with pytest.raises(FrozenInstanceError):
        planned().threads = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"optimizer": {"lr": 2e-5}}, "optimizer.lr=2e-05 and bf16 are for fine-tuning, and this model starts from"),
        ({"optimizer": {"lr": 2e-5}, "train": {"precision": "fp32"}}, "optimizer.lr=2e-05 is for fine-tuning"),
        ({"optimizer": {"name": "sgd", "lr": 2e-5}}, ""),
        ({"optimizer": {"lr": 1e-4}}, ""),
    ],
)
def test_what_is_for_fine_tuning_is_said_of_a_model_from_scratch(planned: Make, changes: Any, note: str) -> None:
    said = "\n".join(planned(**changes).notes)
    assert note in said
    assert ("fine-tuning" in said) is bool(note)


# Identity: what changes the weights, and nothing else


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"lr": 1e-4}},
        {"optimizer": {"weight_decay": 0.1}},
        {"schedule": {"warmup": 5}},
        {"train": {"seed": 1}},
        {"train": {"micro_batch": 2}},
        {"train": {"global_batch": 8}},
        {"train": {"precision": "fp32"}},
        {"train": {"max_steps": 7}},
        {"data": {"packing": False}},
        {"data": {"group_by_length": "window"}},
        {"data": {"max_rows": 10}},
        {"data": {"path": "demo"}},
        {"model": {"num_layers": 1}},
        {"model": {"dropout": 0.0}},
        {"model": {"architecture": {"ffn_dim": 64}}},
        {"parallel": {"zero_stage": 2}},
        {"launch": {"processes": 2}},  # more ranks, more rows a step
    ],
    ids=str,
)
def test_what_changes_the_identity(planned: Make, changes: dict[str, Any]) -> None:
    assert planned(**changes).identity != planned().identity


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "mine"},
        {"output_dir": "elsewhere"},
        {"data": {"cache": "elsewhere"}},
        {"data": {"max_truncated": 0.9, "max_unfilled": 1.0}},
        {"evaluation": {"every": 3, "generate_rows": 9}},
        {"checkpoint": {"every": 3, "keep": 1, "export": False}},
        {"tracking": {"wandb": "disabled", "tags": ["a"], "log_every": 7}},
        {"launch": {"port": 4000}},
        {"launch": {"processes": 1}},
        {"train": {"threads": 1}},
        {"data": {"workers": 2}},
        {"train": {"global_batch": 4}},  # what it was without saying so
        {"train": {"micro_batch": 2, "global_batch": 4}},
        {"train": {"micro_batch": 2, "global_batch": 4}, "launch": {"processes": 2}},
        {"experiment": {"claim": "none"}},
    ],
    ids=str,
)
def test_what_does_not(planned: Make, changes: dict[str, Any]) -> None:
    assert planned(**changes).identity == planned().identity


def test_processes_count_through_the_batch_only(planned: Make) -> None:
    ours = planned(launch={"processes": 2})
    theirs = planned(Machine(cores=3, world_size=2, rank=1))
    gpus = planned(Machine(gpus=2))
    assert ours.identity == theirs.identity == gpus.identity
    assert ours.batch == theirs.batch


# There and back


def test_what_is_saved_is_read_back_equal(planned: Make) -> None:
    plan = planned(
        optimizer={"betas": [0.9, 0.98]},
        evaluation={"every": "12.5%"},
        schedule={"warmup": "0.5 epochs"},
        tracking={"tags": ["a", "b"]},
        train={"max_steps": 3, "epochs": 2, "precision": "fp16"},
    )
    assert plan.notes  # control: a tuple that is not empty makes the round trip too
    plan.save()
    assert Plan.read(plan.paths.root) == plan


def test_a_plan_of_another_version_is_refused_with_the_name_that_is_unknown(planned: Make) -> None:
    """As it was: what is now `overrides` was another name."""
    plan = planned()
    plan.save()
    plan.paths.plan.write_text(plan.paths.plan.read_text().replace('"overrides"', '"words"'))
    with pytest.raises(RunError, match=r"plan\.json: of another version of tunefleet: .*words"):
        Plan.read(plan.paths.root)


def test_no_plan_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run: it has no plan\.json"):
        Plan.read(tmp_path)


@pytest.mark.parametrize("content", [b'{"name": ', b"", b"\xff\xfe"])
def test_a_damaged_plan(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(RunError, match=r"plan\.json: damaged"):
        Plan.read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [lambda plan: plan.pop("threads"), lambda plan: plan["config"]["train"].update(x=1)],
    ids=["a key less", "a key more"],
)
def test_a_plan_of_another_version_is_no_configuration_error(planned: Make, change: Callable[[Any], Any]) -> None:
    plan = planned()
    plan.save()
    values = json.loads(plan.paths.plan.read_text())
    change(values)
    plan.paths.plan.write_text(json.dumps(values))
    with pytest.raises(RunError, match=r"plan\.json"):
        Plan.read(plan.paths.root)


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan["config"]["optimizer"].update(lr=0.5),
        lambda plan: plan.update(identity="0" * 64),
        lambda plan: plan["batch"].update(micro=plan["batch"]["micro"] + 1),
        lambda plan: plan.update(threads=64),
        lambda plan: (plan["config"]["optimizer"].update(lr=0.5), plan.pop("digest")),
        lambda plan: plan.update(digest=7),
    ],
    ids=["a rate", "the identity", "the batch", "threads", "a rate, without a digest", "the digest"],
)
def test_a_changed_plan_is_refused(planned: Make, change: Callable[[Any], Any]) -> None:
    plan = planned()
    plan.save()
    values = json.loads(plan.paths.plan.read_text())
    change(values)
    plan.paths.plan.write_text(json.dumps(values))
    with pytest.raises(RunError, match=r"plan\.json: changed since it was saved"):
        Plan.read(plan.paths.root)


def test_control_a_plan_that_was_moved_or_renamed_is_read(planned: Make, tmp_path: Path) -> None:
    plan = planned()
    plan.save()
    values = json.loads(plan.paths.plan.read_text())
    values.update(name="other", run_dir="/elsewhere")
    plan.paths.plan.write_text(json.dumps(values, sort_keys=True))
    assert Plan.read(plan.paths.root).identity == plan.identity
    del values["digest"], values["config"]["launch"]["restarts"]  # as version 0.1 saved it
    plan.paths.plan.write_text(json.dumps(values))
    assert Plan.read(plan.paths.root).identity == plan.identity


# Complaints


def test_complaints_of_every_area_arrive_together(planned: Make) -> None:
    found = complaints(
        planned,
        name="a/b",
        data={"path": "absent.jsonl", "validation_path": "also.jsonl"},
        optimizer={"betas": [0.9, 1.0]},
        train={"sequence_length": 65, "global_batch": 7},
    )
    areas = {complaint.split(":")[0] for complaint in found}
    assert areas >= {"name", "data.path", "data.validation_path", "optimizer.betas", "train.global_batch"}
    assert "train.sequence_length" in areas  # needs the architecture


def test_a_wrong_layout_does_not_hide_the_rest(planned: Make) -> None:
    found = complaints(
        planned,
        parallel={"name": "single", "max_processes": 1},
        launch={"processes": 2},
        data={"path": None},
        model={"tokenizer": "/absent"},
    )
    assert {complaint.split(":")[0] for complaint in found} == {"parallel", "data.path", "model.tokenizer"}


def test_one_mistake_is_one_complaint(planned: Make) -> None:
    (complaint,) = complaints(planned, data={"path": None})
    assert complaint == "data.path: not set. Give the file of training rows: data.path=FILE."


@pytest.mark.parametrize("betas", [[1.0, 0.9], [0.9, -0.1], [0.9, 2]])
def test_betas_are_decay_rates(planned: Make, betas: list[float]) -> None:
    (complaint,) = complaints(planned, optimizer={"betas": betas})
    assert complaint.startswith("optimizer.betas:")


@pytest.mark.parametrize(
    "name", ["a/b", "", "  ", "a\nb", "a\\b", ".", "..", "-a", "sweeps", "Cache", "sweep-1", "a" * 201]
)
def test_a_name_must_be_able_to_be_a_folder_of_its_own(planned: Make, name: str) -> None:
    (complaint,) = complaints(planned, name=name)
    assert complaint.startswith("name:")


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("rwkv", "it carries a state from token to token, which runs on into the next conversation of a sequence"),
        ("new", "it is not measured whether its packed loss is the unpacked one"),
    ],
)
def test_packing_is_for_families_where_it_is_exact(planned: Make, family: str, reason: str) -> None:
    other = {"architecture": {"model_type": family}}
    (complaint,) = complaints(planned, model=other)
    assert complaint == (
        f"data.packing: tiny cannot be packed: it is of the family {family}, and {reason}. Use data.packing=false."
    )
    assert planned(model=other, data={"packing": False}).parameters is None


def test_attention_is_by_document_where_that_is_exact(planned: Make) -> None:
    """On the card, with the reason where it is not; obeyed, or refused with the nearest that can be."""
    bloom = {"architecture": {"model_type": "bloom", "vocab_size": 99}}
    narrow = {"architecture": {**architecture("mistral"), "sliding_window": 16}}
    plan = planned()
    assert (plan.by_document, plan.summary()["attention"]) == (True, "by document")
    asked = planned(model={"attention": "mask"})
    assert (asked.by_document, asked.summary()["attention"]) == (False, "with a mask")
    assert asked.identity != plan.identity
    own = "it computes attention by code of its own"
    other = planned(model=bloom)
    assert (other.by_document, other.summary()["attention"]) == (False, f"with a mask: {own}")
    card = planned(model=narrow).summary()["attention"]
    assert card == "by document, with a mask where one has over 16 tokens"
    wanted, gpu = {"model": {"attention": "document"}}, Machine(gpus=1, cores=8)
    assert not planned(gpu).by_document  # it is not measured there
    assert planned(gpu, **wanted, train={"precision": "bf16"}).by_document
    (complaint,) = complaints(planned, gpu, **wanted, train={"precision": "fp32"})
    assert complaint.startswith("model.attention: document needs 16-bit numbers on a GPU. Use model.attention=auto")
    (complaint,) = complaints(planned, model={**bloom, "attention": "document"})
    assert complaint == (
        f"model.attention: tiny cannot attend by document: it is of the family bloom, and {own}. "
        "Use model.attention=auto."
    )


def test_a_sequence_is_no_longer_than_the_model_reads(planned: Make) -> None:
    assert planned(train={"sequence_length": 64}).config.train.sequence_length == 64
    (complaint,) = complaints(planned, train={"sequence_length": 65})
    assert complaint.startswith("train.sequence_length: 65 is more than the 64 positions of tiny.")


@pytest.mark.parametrize(("stage", "gpus", "works"), [(0, 0, True), (1, 0, False), (3, 0, False), (3, 1, True)])
def test_fp16_shares_nothing_out_on_a_cpu(planned: Make, stage: int, gpus: int, works: bool) -> None:
    changes: Any = {"train": {"precision": "fp16"}, "parallel": {"name": "zero", "zero_stage": stage}}
    if works:
        assert planned(Machine(gpus=gpus), **changes)
    else:
        (complaint,) = complaints(planned, Machine(gpus=gpus), **changes)
        assert complaint.startswith("train.precision: DeepSpeed has no fp16 for zero on a CPU.")


# Notes and summary


def test_a_plan_without_surprises_has_no_notes(planned: Make) -> None:
    assert planned().notes == ()


def test_settings_that_are_not_used_are_noted(planned: Make) -> None:
    notes = planned(train={"max_steps": 3, "epochs": 2.5}, parallel={"name": "zero3", "zero_stage": 3}).notes
    assert notes == (
        "train.epochs=2.5 is not used: train.max_steps is set.",
        "zero3 shards nothing: there is one copy of the model.",
    )


def test_sharing_out_over_two_processes_is_not_noted(planned: Make) -> None:
    assert planned(parallel={"name": "zero3", "zero_stage": 3}, launch={"processes": 2}).notes == ()


def test_a_tokenizer_that_nobody_named_is_noted(planned: Make, tmp_path: Path) -> None:
    tokenizer = str(tmp_path / "tokenizer")
    plan = planned(model={"path": tokenizer, "tokenizer": None})
    assert plan.notes == (f"the tokenizer is {tokenizer}.",)


@pytest.mark.parametrize(
    ("settings", "note", "reader"),
    [
        (
            {"data": {"max_bad_rows": 3}},
            "data.max_bad_rows is not used without data.on_bad_row=skip.",
            {"data": {"on_bad_row": "skip"}},
        ),
        (
            {"data": {"clean": {"similarity": 0.5}}},
            "data.clean.similarity is not used without data.clean.duplicates=near.",
            {"data": {"clean": {"duplicates": "near"}}},
        ),
        ({"data": {"mix_seed": 3}}, "data.mix_seed is not used without data.mix.", None),
    ],
)
def test_a_setting_without_effect_is_named(
    planned: Make, settings: Any, note: str, reader: dict[str, Any] | None
) -> None:
    assert note in planned(**settings).notes
    assert note not in planned().notes
    if reader:
        assert note not in planned(**merged(settings, reader)).notes


def test_the_summary_has_the_card_of_an_experiment(planned: Make) -> None:
    card = {"claim": "it learns", "expected": "0.9 within 0.1", "cost": ""}
    assert list(planned(experiment=card).summary().items())[-2:] == list(card.items())[:2]
    assert not card.keys() & planned().summary().keys()


def test_the_summary_tells_the_choices(planned: Make) -> None:
    summary = planned(launch={"processes": 2}, optimizer={"lr": 0.001}).summary()
    assert summary["model"] == "tiny (opt): 6.56k parameters, from scratch"
    assert summary["spread"] == "ddp on 2 cpu processes, bf16"
    assert summary["batch"] == "8 sequences = 4 micro x 1 accumulation x 2 data-parallel"
    assert summary["optimizer"] == "adamw, lr 0.001, cosine after 3% of warm-up"
