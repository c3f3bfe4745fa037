"""Does loading turn plain values into typed ones, and name every mistake at once?"""

from __future__ import annotations

import ast
import json
from collections import Counter
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from omegaconf import OmegaConf

import tunefleet.config
from tunefleet.base.errors import ConfigError
from tunefleet.base.units import Cadence, Duration, Unit, percent, steps
from tunefleet.config import RunConfig
from tunefleet.config.evaluation import EvaluationConfig
from tunefleet.config.fields import ranged
from tunefleet.config.load import dump, load
from tunefleet.config.model import Init, ModelConfig
from tunefleet.config.optimizer import OptimizerConfig, ScheduleConfig, ScheduleName
from tunefleet.config.parallel import ParallelConfig
from tunefleet.config.sweep import SweepConfig
from tunefleet.config.tracking import TrackingConfig
from tunefleet.config.train import Precision, TrainConfig

SOURCES = sorted(Path(tunefleet.config.__file__).parent.glob("*.py"))


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    share: float = ranged(0.5, above=0, at_most=1)
    rows: int | None = ranged(None, at_least=1)


@dataclass(frozen=True)
class Outer:
    name: str
    on: bool = True
    color: Color = Color.RED
    every: Duration | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    tags: tuple[str, ...] = ()
    free: dict[str, Any] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()


def complaints(values: Any, cls: type[Any] = RunConfig) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(cls, values)
    return list(caught.value.complaints)


def only_complaint(values: Any, cls: type[Any] = RunConfig) -> str:
    (complaint,) = complaints(values, cls)
    return complaint


def test_reads_every_kind_of_value() -> None:
    values = {
        "name": "x",
        "on": False,
        "color": "blue",
        "every": "2 epochs",
        "pair": [0, 0.5],
        "tags": ["a", "b"],
        "free": {"a": [1, {"b": None}]},
        "words": {"a": "b", "c": 0},
        "inner": {"share": 1, "rows": 3.0},
        "several": [{"rows": 1}, {}],
    }
    assert load(Outer, values) == Outer(
        "x",
        False,
        Color.BLUE,
        Duration(2, Unit.EPOCHS),
        (0.0, 0.5),
        ("a", "b"),
        {"a": [1, {"b": None}]},
        {"a": "b", "c": "0"},
        Inner(1.0, 3),
        (Inner(rows=1), Inner()),
    )


def test_groups_in_a_list_come_back_from_their_plain_values() -> None:
    value = Outer("x", several=(Inner(rows=1), Inner(0.25)))
    assert dump(value)["several"] == [{"share": 0.5, "rows": 1}, {"share": 0.25, "rows": None}]
    assert load(Outer, json.loads(json.dumps(dump(value)))) == value


@pytest.mark.parametrize(
    ("several", "complaint"),
    [
        ([{}, {"row": 1}], "several[1].row: unknown key. Did you mean 'several[1].rows'?"),
        ([{"share": 2}], "several[0].share: 2 is not allowed. Allowed: a number above 0 and at most 1."),
        ([3], "several[0]: 3 is not a group of settings."),
        ({"rows": 1}, "several: {'rows': 1} is not allowed. Allowed: a list of groups of settings."),
    ],
)
def test_a_mistake_in_a_list_of_groups_names_its_place(several: Any, complaint: str) -> None:
    assert only_complaint({"name": "x", "several": several}, Outer) == complaint


@pytest.mark.parametrize("words", [{"a": None}, {"a": ["b"]}, ["a"]])
def test_a_group_of_words_holds_texts(words: Any) -> None:
    assert only_complaint({"name": "x", "words": words}, Outer).endswith("Allowed: a group of words, each with a text.")


def test_converted_numbers_have_the_declared_type() -> None:
    inner = load(Outer, {"name": 5, "inner": {"share": 1, "rows": 3.0}})
    assert inner.name == "5"
    assert type(inner.inner.share) is float
    assert type(inner.inner.rows) is int


@pytest.mark.parametrize("written", ["12:00:00", "1:00", "1e5", "2024_11_28", ".5"])
def test_a_text_that_yaml_reads_as_a_number_is_refused(written: str) -> None:
    """12:00:00 would be 43200, which SLURM takes for minutes; in quotes it is what was written."""
    for text in (f"name: {written}", f"name: x\ntags: [{written}]", f"name: x\nwords: {{a: {written}}}"):
        (said,) = complaints(OmegaConf.to_container(OmegaConf.create(text)), Outer)
        assert "write such a text in quotes" in said, text
    assert load(Outer, dict(OmegaConf.create(f"name: '{written}'"))).name == written


def test_what_is_left_out_keeps_its_default() -> None:
    assert load(Outer, {"name": "x"}) == Outer("x")
    assert load(RunConfig, {}) == RunConfig()


def test_a_field_without_default_must_be_there() -> None:
    assert only_complaint({}, Outer) == "name: missing."


def test_every_complaint_arrives_at_once() -> None:
    found = complaints(
        {
            "train": {"micro_batch": 0, "precision": "int4", "max_stepps": 1},
            "optimizer": {"lr": "fast", "betas": [0.9]},
            "schedule": {"warmup": "soon"},
            "data": "alpaca",
            "nonsense": 1,
        }
    )
    expected = [
        "data",
        "nonsense",
        "optimizer.betas",
        "optimizer.lr",
        "schedule.warmup",
        "train.max_stepps",
        "train.micro_batch",
        "train.precision",
    ]
    assert sorted(complaint.split(":")[0] for complaint in found) == expected


# Unknown keys


def test_a_misspelt_key_names_its_neighbour_with_the_group() -> None:
    complaint = only_complaint({"train": {"micro_bach": 2}})
    assert complaint == "train.micro_bach: unknown key. Did you mean 'train.micro_batch'?"


def test_a_misspelt_group_names_the_group() -> None:
    assert only_complaint({"optimzer": {"lr": 1}}) == "optimzer: unknown key. Did you mean 'optimizer'?"


def test_a_key_like_no_other_lists_what_there_is() -> None:
    complaint = only_complaint({"parallel": {"qqqq": 1}})
    known = ", ".join(declared.name for declared in fields(ParallelConfig))
    assert complaint == f"parallel.qqqq: unknown key. Known: {known}."


def members() -> dict[str, str]:
    """Keys that one group alone has, and that are no top-level key: where each belongs."""
    groups = {name: kind for name, kind in get_type_hints(RunConfig).items() if is_dataclass(kind)}
    homes = [(f.name, f"{group}.{f.name}") for group, kind in groups.items() for f in fields(kind)]
    taken = Counter(name for name, _ in homes) + Counter(f.name for f in fields(RunConfig))
    return {name: home for name, home in homes if taken[name] == 1}


@pytest.mark.parametrize(("key", "home"), members().items())
def test_a_key_without_its_group_names_the_group(key: str, home: str) -> None:
    assert only_complaint({key: 1}).endswith(f"unknown key. Did you mean '{home}'?")


def test_there_are_such_keys() -> None:
    assert members()["lr"] == "optimizer.lr"
    assert members()["max_steps"] == "train.max_steps"
    assert "name" not in members()


# Types

WRONG: list[tuple[str, str, Any, str]] = [
    ("train", "micro_batch", True, "a whole number at least 1, or auto"),
    ("train", "micro_batch", "4", "a whole number at least 1, or auto"),
    ("train", "micro_batch", 1.5, "a whole number at least 1, or auto"),
    ("train", "micro_batch", None, "a whole number at least 1, or auto"),
    ("train", "micro_batch", float("nan"), "a whole number at least 1, or auto"),
    ("train", "micro_batch", float("inf"), "a whole number at least 1, or auto"),
    ("train", "micro_batch", [4], "a whole number at least 1, or auto"),
    ("train", "epochs", float("nan"), "a number above 0"),
    ("train", "epochs", float("inf"), "a number above 0"),
    ("train", "epochs", "many", "a number above 0"),
    ("train", "epochs", True, "a number above 0"),
    ("train", "max_steps", "none", "a whole number at least 1, or null"),
    ("train", "gradient_checkpointing", 1, "true or false"),
    ("train", "gradient_checkpointing", "true", "true or false"),
    ("train", "precision", "int4", "auto | fp32 | bf16 | fp16"),
    ("train", "precision", None, "auto | fp32 | bf16 | fp16"),
    ("train", "precision", "BF16", "auto | fp32 | bf16 | fp16"),
    ("data", "name", True, "text"),
    ("data", "name", ["a"], "text"),
    ("data", "path", False, "text, or null"),
    ("schedule", "warmup", "soon", "a duration such as 100 (steps), 0.5 epochs or 3%"),
    ("schedule", "warmup", None, "a duration such as 100 (steps), 0.5 epochs or 3%"),
    ("schedule", "warmup", True, "a duration such as 100 (steps), 0.5 epochs or 3%"),
    (
        "evaluation",
        "every",
        "-1%",
        "a cadence such as 100 (steps), 0.5 epochs, 20%, 30 minutes, or `20% or 1 epoch`, or null",
    ),
    ("schedule", "warmup", "3 minutes", "a duration such as 100 (steps), 0.5 epochs or 3%"),  # a step would not tell
    ("optimizer", "betas", [0.9], "a list of a number"),
    ("optimizer", "betas", [0.9, "x"], "a list of a number"),
    ("optimizer", "betas", [0.9, True], "a list of a number"),
    ("optimizer", "betas", [float("nan"), 0.9], "a list of a number"),
    ("optimizer", "betas", 0.9, "a list of a number"),
    ("tracking", "tags", "voice", "a list of text"),
    ("tracking", "tags", [True], "a list of text"),
    ("model", "architecture", [1], "a group of settings"),
]


@pytest.mark.parametrize(("group", "key", "value", "allowed"), WRONG)
def test_a_wrong_type_names_key_value_and_what_is_allowed(group: str, key: str, value: Any, allowed: str) -> None:
    complaint = only_complaint({group: {key: value}})
    assert complaint == f"{group}.{key}: {value!r} is not allowed. Allowed: {allowed}."


# Ranges

EDGES: list[tuple[str, str, Any, Any, str]] = [
    ("optimizer", "lr", 1e-30, 0, "above 0"),
    ("optimizer", "momentum", 0, -0.1, "at least 0 and below 1"),
    ("optimizer", "momentum", 0.999, 1, "at least 0 and below 1"),
    ("schedule", "floor", 1, 1.01, "at least 0 and at most 1"),
    ("schedule", "floor", 0, -0.01, "at least 0 and at most 1"),
    ("train", "sequence_length", 8, 7, "at least 8"),
    ("train", "clip", 0, -1.0, "at least 0"),
    ("parallel", "zero_stage", 3, 4, "at least 0 and at most 3"),
    ("parallel", "zero_stage", 0, -1, "at least 0 and at most 3"),
    ("launch", "port", 65535, 65536, "at least 1024 and at most 65535"),
    ("launch", "port", 1024, 1023, "at least 1024 and at most 65535"),
    ("model", "dropout", 0, 1.0, "at least 0 and below 1"),
]


@pytest.mark.parametrize(("group", "key", "inside", "outside", "words"), EDGES)
def test_a_range_ends_where_it_says(group: str, key: str, inside: Any, outside: Any, words: str) -> None:
    assert getattr(getattr(load(RunConfig, {group: {key: inside}}), group), key) == inside
    complaint = only_complaint({group: {key: outside}})
    assert complaint.startswith(f"{group}.{key}: {outside!r} is not allowed.")
    assert words in complaint


def test_null_passes_a_range_where_it_is_allowed() -> None:
    assert load(RunConfig, {"train": {"max_steps": None}}).train.max_steps is None


# There and back

CHANGED = replace(
    RunConfig(),
    name="run",
    seed=7,
    model=ModelConfig(init=Init.RANDOM, num_layers=2, dropout=0.0, architecture={"rope": {"factor": 8.0}, "x": None}),
    optimizer=OptimizerConfig(lr=1e-30, betas=(0.0, 0.1234567890123)),
    schedule=ScheduleConfig(name=ScheduleName.LINEAR, warmup=steps(2_000_000)),
    train=TrainConfig(precision=Precision.FP16, max_steps=3, clip=0.0),
    evaluation=EvaluationConfig(every=Cadence((percent(12.5),), 7.5), max_rows=9),
    tracking=TrackingConfig(tags=("a", "b c")),
)


@pytest.mark.parametrize("config", [RunConfig(), CHANGED], ids=["defaults", "changed"])
def test_dump_and_load_are_inverse_through_json(config: RunConfig) -> None:
    assert load(RunConfig, json.loads(json.dumps(dump(config)))) == config


def test_dump_is_plain_words() -> None:
    values = dump(CHANGED)
    assert values["train"]["precision"] == "fp16"
    assert values["evaluation"]["every"] == "12.5% or 7.5 minutes"
    assert values["optimizer"]["betas"] == [0.0, 0.1234567890123]
    assert values["tracking"]["tags"] == ["a", "b c"]
    assert values["data"]["path"] is None


# Every setting explains itself


def undocumented(source: str) -> list[str]:
    """Fields of dataclasses in `source` without a string under them."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(mark) for mark in node.decorator_list):
            followers = [*node.body[1:], None]
            for statement, follower in zip(node.body, followers, strict=True):
                if isinstance(statement, ast.AnnAssign) and not _explains(follower):
                    found.append(f"{node.name}.{ast.unparse(statement.target)}")
    return found


def _explains(node: ast.stmt | None) -> bool:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return False
    return isinstance(node.value.value, str) and node.value.value.endswith(".")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_setting_has_a_docstring_under_it(path: Path) -> None:
    groups = {  # a group's docstring is its class's
        f"{top.__name__}.{f.name}" for top in (RunConfig, SweepConfig) for f in fields(top) if is_dataclass(f.default)
    }
    found = undocumented(path.read_text(encoding="utf-8"))
    assert [name for name in found if name not in groups] == []


def test_a_bare_field_is_found() -> None:
    assert undocumented('@dataclass\nclass A:\n    a: int = 1\n    """One."""\n    b: int = 2\n') == ["A.b"]
    assert len(SOURCES) > 8
