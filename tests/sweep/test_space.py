"""Is a space what the sweep file and the command line say, and is every mistake in them named at once?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.sweep.studies import definition
from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig, load
from tunefleet.config.sweep import SweepConfig
from tunefleet.sweep.point_filter import settings_of
from tunefleet.sweep.space import Space
from tunefleet.sweep.space_reader import read

GROUPS = {"adapter": ["none", "lora"], "model": ["gpt2", "opt-tiny", "opt-125m"], "optimizer": ["adamw", "muon"]}


def complaints(sweep: SweepConfig, *typed: str) -> str:
    """All of them, in one text."""
    with pytest.raises(ConfigError) as caught:
        read(sweep, typed, GROUPS)
    return str(caught.value)


def texts(space: Space, key: str) -> Sequence[str]:
    return list(dict.fromkeys(point[key] for point in space.grid() if key in point))


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("1e-5,0.0001,3e-4", ["1e-5", "0.0001", "3e-4"]),
        ("choice(1e-5, 1e-4)", ["1e-5", "1e-4"]),
        ("sort(1e-4,1e-5)", ["1e-5", "1e-4"]),
        ("range(2,9,3)", ["2", "5", "8"]),
        ("range(3)", ["0", "1", "2"]),
        ("range(0.1,0.6,0.2)", ["0.1", "0.3", "0.5"]),
        ("range(0,2.1,0.7)", ["0.0", "0.7", "1.4"]),
        ("range(8,2,-3)", ["8", "5"]),
        ("5e-6", ["5e-6"]),
    ],
)
def test_values_stay_as_they_were_typed(typed: str, expected: list[str]) -> None:
    assert texts(read(definition({"optimizer.lr": typed})), "optimizer.lr") == expected


@pytest.mark.parametrize(
    ("key", "typed", "expected"),
    [
        ("optimizer.betas", "[0.9,0.95],[0.9,0.99]", ["[0.9,0.95]", "[0.9,0.99]"]),
        ("schedule.warmup", "3%,'10 steps'", ["3%", "'10 steps'"]),
        ("data.columns", "{prompt:a},{prompt:b}", ["{prompt:a}", "{prompt:b}"]),
        ("model", "glob(opt*)", ["opt-tiny", "opt-125m"]),
        ("model", "glob(*,exclude=opt*)", ["gpt2"]),
        ("optimizer.decay_embeddings", "true,false", ["true", "false"]),
    ],
)
def test_lists_texts_groups_and_switches_are_values_too(key: str, typed: str, expected: list[str]) -> None:
    assert texts(read(definition({key: typed}), (), GROUPS), key) == expected


def test_a_setting_inside_a_list_is_a_key() -> None:
    assert texts(read(definition({"data.mix.0.weight": "1,4"}), (), GROUPS), "data.mix.0.weight") == ["1", "4"]


def test_a_grid_has_the_order_of_hydras_own() -> None:
    entries = {"train.max_steps": "10,20", "model": "gpt2,opt-tiny", "optimizer.momentum": "range(0,1,0.25)"}
    overrides = OverridesParser.create().parse_overrides([f"{key}={text}" for key, text in entries.items()])
    hydras = BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]
    ours = [[f"{key}={value}" for key, value in point.items()] for point in read(definition(entries)).grid()]
    assert [point[:2] for point in ours] == [point[:2] for point in hydras]
    assert [float(point[2].partition("=")[2]) for point in ours] == pytest.approx(
        [float(point[2].partition("=")[2]) for point in hydras]
    )


def test_paired_values_move_together() -> None:
    sweep = definition(
        {"train.max_steps": "10,20"}, paired={"size": {"model": "gpt2,opt-tiny", "optimizer.lr": "1e-3,5e-4"}}
    )
    pairs = {(point["model"], point["optimizer.lr"]) for point in read(sweep).grid()}
    assert pairs == {("gpt2", "1e-3"), ("opt-tiny", "5e-4")}
    assert len(read(sweep).grid()) == 4


def test_a_condition_brings_keys_only_where_it_is_met() -> None:
    sweep = definition(
        {"adapter": "none,lora", "optimizer.weight_decay": "0,0.1"},
        conditional={"adapter=lora": {"adapter.rank": "4,8"}, "adapter.rank=8": {"adapter.dropout": "0.1,0.2"}},
    )
    shapes = {tuple(point) for point in read(sweep).grid()}
    head = ("adapter", "optimizer.weight_decay")
    assert shapes == {head, (*head, "adapter.rank"), (*head, "adapter.rank", "adapter.dropout")}
    assert len(read(sweep).grid()) == 2 * (1 + 1 + 2)


def test_a_key_may_have_other_values_under_each_value_of_another() -> None:
    rates = {"adapter=lora": {"optimizer.lr": "1e-3,1e-4"}, "adapter=none": {"optimizer.lr": "1e-5"}}
    space = read(definition({"adapter": "none,lora"}, conditional=rates))
    assert [tuple(point.values()) for point in space.grid()] == [("none", "1e-5"), ("lora", "1e-3"), ("lora", "1e-4")]


def test_a_filter_is_asked_of_every_point() -> None:
    sweep = definition(
        {"optimizer.lr": "1e-3,1e-2", "train.max_steps": "10,100"}, filter=["optimizer.lr * train.max_steps < 0.5"]
    )
    products = [float(p["optimizer.lr"]) * float(p["train.max_steps"]) for p in read(sweep).grid()]
    assert len(products) == 3
    assert max(products) < 0.5
    assert len(read(definition(sweep.space)).grid()) == 4  # the control: without it all are there


def test_a_filter_over_a_composed_setting_waits_for_it() -> None:
    text = "optimizer.lr < schedule.floor and train.max_steps == 5 and schedule.warmup == '3%'"
    space = read(definition({"optimizer.lr": "1e-3,1e-2"}, filter=[text]), ["train.max_steps=5"])
    assert len(space.grid()) == 2
    composed = settings_of(load(RunConfig, {"schedule": {"floor": 5e-3}}))
    assert [space.refusal(point, composed) for point in space.grid()] == ["", f"filter: not {text}"]


def test_a_typed_group_and_a_typed_setting_are_known_to_filters_without_composing() -> None:
    sweep = definition({"optimizer.lr": "1e-3,1e-2"}, filter=["model != 'gpt2' or optimizer.lr < schedule.floor"])
    assert len(read(sweep, ["model=gpt2", "schedule.floor=5e-3"], GROUPS).grid()) == 1
    assert len(read(sweep, ["model=opt-tiny", "schedule.floor=5e-3"], GROUPS).grid()) == 2


FILE = definition(
    {"optimizer.lr": "1e-5,1e-4", "adapter": "none,lora"},
    paired={"size": {"model": "gpt2,opt-tiny", "train.max_steps": "10,20"}},
    conditional={"adapter=lora": {"adapter.rank": "4,8"}},
)


@pytest.mark.parametrize(
    ("typed", "keys", "count", "common"),
    [
        ((), "optimizer.lr adapter model train.max_steps adapter.rank", 2 * 2 * 3, ()),
        (("optimizer.lr=3e-4",), "adapter model train.max_steps adapter.rank", 2 * 3, ("optimizer.lr=3e-4",)),
        (("optimizer.lr=1,2,3",), "optimizer.lr adapter model train.max_steps adapter.rank", 3 * 2 * 3, ()),
        (("adapter=none",), "optimizer.lr model train.max_steps", 2 * 2, ("adapter=none",)),
        (("adapter=lora",), "optimizer.lr model train.max_steps adapter.rank", 2 * 2 * 2, ("adapter=lora",)),
        (("model=gpt2",), "optimizer.lr adapter train.max_steps adapter.rank", 2 * 2 * 3, ("model=gpt2",)),
        (("schedule.floor=0,0.1",), "optimizer.lr adapter model train.max_steps adapter.rank schedule.floor", 24, ()),
        (("sweep.trials=3", "sweeps=x"), "optimizer.lr adapter model train.max_steps adapter.rank", 12, ()),
        (("tracking=files",), "optimizer.lr adapter model train.max_steps adapter.rank", 12, ("tracking=files",)),
    ],
)  # fmt: skip
def test_what_is_typed_replaces_the_same_key(
    typed: tuple[str, ...], keys: str, count: int, common: tuple[str, ...]
) -> None:
    space = read(FILE, typed, GROUPS)
    assert space.keys == tuple(keys.split())
    assert len(space.grid()) == count
    assert space.common == common


@pytest.mark.parametrize(
    ("space", "part"),
    [
        ({"optimzer.lr": "1,2"}, "sweep.space.optimzer.lr: unknown key. Did you mean 'optimizer.lr'?"),
        ({"optimizer.lrate": "1,2"}, "sweep.space.optimizer.lrate: unknown key. Did you mean 'optimizer.lr'?"),
        ({"seed.x": "1,2"}, "sweep.space.seed.x: unknown key: seed is one value."),
        ({"seed.0": "1,2"}, "sweep.space.seed.0: unknown key: seed is one value."),
        ({"data.mix.0.waits": "1,2"}, "sweep.space.data.mix.0.waits: unknown key. Did you mean"),
        ({"adapter": "lora,loar"}, "sweep.space.adapter: no choice named 'loar'. Did you mean 'lora'?"),
        ({"optimizer.lr": "1,(2"}, "sweep.space.optimizer.lr: 'optimizer.lr=1,(2' is not in Hydra's override grammar"),
        ({"optimizer.lr": "range(5,1)"}, "range(5,1,1) gives no value"),
        ({"optimizer.lr": "range(1,5,0)"}, "range(1,5,0) gives no value"),
        ({"train.max_steps": "range(0,10000000)"}, "10,000,000 values. Type int(interval(low,high))."),
        ({"optimizer.lr": "interval(2,1)"}, "has no number between its bounds. Type interval(1,2)."),
        ({"optimizer.lr": "interval(2,2)"}, "has no number between its bounds. Type the value: 2."),
        ({"optimizer.lr": "tag(log,interval(0,1))"}, "begins at or below 0"),
        ({"optimizer.lr": "tag(lin,interval(0,1))"}, "tag(lin, ...) means nothing here: an interval may be tagged log"),
        ({"optimizer.lr": "tag(log,range(1,5))"}, "Type tag(log,interval(low,high))"),
        ({"optimizer.lr": "shuffle(1,2)"}, "shuffle() has another order each time"),
        ({"optimizer.lr": "1,range(1,5)"}, "cannot be one of several values"),
        ({"optimizer.lr": "1,1"}, "1 is there twice"),
        ({"optimizer.lr": "interval(1,2)"}, "an interval has no end of values for sweep.sampler.name=grid. Type"),
        ({"model": "glob(x*)"}, "sweep.space.model: gives no value"),
        ({"output_dir": "a,b"}, "output_dir: is one for all trials"),
        ({"seed": "1,2"}, "seed: seeds are not searched over: the best would be the luckiest. Type sweep.seeds="),
        ({}, "sweep.space: empty: there is nothing to search"),
        ({f"data.columns.{i}": "range(1000)" for i in "abc"}, "1,000,000,000 points at most. Take"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_space_is_named_with_the_next_move(space: dict[str, str], part: str) -> None:
    assert part in complaints(definition(space))


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"paired": {"a": {"model": "gpt2,opt-tiny", "optimizer.lr": "1,2,3"}}}, "model has 2, optimizer.lr has 3"),
        ({"paired": {"a": {"model": "gpt2", "optimizer.lr": "interval(1,2)"}}}, "no first and second value"),
        ({"paired": {"a": {"train.max_steps": "1,2"}}}, "sweep.paired.a.train.max_steps: is in sweep.space too"),
        ({"conditional": {"adaptor=lora": {"adapter.rank": "1,2"}}}, "adaptor is not in the space"),
        ({"conditional": {"adapter=qlora": {"adapter.rank": "1,2"}}}, "adapter is never qlora. Did you mean 'lora'?"),
        ({"conditional": {"adapter=lora": {"adapter.rnk": "1,2"}}}, "unknown key. Did you mean 'adapter.rank'?"),
        ({"conditional": {"adapter=lora": {"train.max_steps": "1,2"}}}, "is in sweep.space too"),
        ({"conditional": {"adapter=lora,none": {"schedule.floor": "0,1"}, "adapter=lora": {"schedule.floor": "0"}}},
         "sweep.conditional.adapter=lora.schedule.floor: is in sweep.conditional.adapter=lora,none too"),
        ({"filter": ["train.max_stps < 3"]}, "names train.max_stps: unknown key. Did you mean 'train.max_steps'?"),
        ({"filter": ["model == 'gpt2'"]}, "names model: a group whose choice is not drawn. Name"),
        ({"filter": ["open('x')"]}, "sweep.filter: \"open('x')\": \"open('x')\" is not allowed. Allowed: settings"),
        ({"filter": ["1 <"]}, "sweep.filter: '1 <': invalid syntax"),
        ({"filter": ["train.max_steps > 1000"]}, "leaves no point of the space"),
        ({"seeds": [1, 2, 1]}, "sweep.seeds: 1 is there twice"),
        ({"objective": {}}, "sweep.objective: empty"),
        ({"objective": {"validation/loss": "min", "evaluation/validation/loss": "min"}}, "loss is there twice"),
        ({"objective": {"a": "min", "b": "max"}, "pruner": {"name": "asha"}}, "needs one objective to tell"),
        ({"objective": {"a": "min", "b": "max"}, "sampler": {"name": "cma_es"}}, "cma_es: takes one objective"),
        ({"sampler": {"name": "cma_es"}, "trials": 20}, "cma_es: moves in numbers"),
        ({"sampler": {"name": "tpe"}}, "sweep.trials: missing: sweep.sampler.name=tpe has no end of points by itself."),
        ({"sampler": {"name": "tpe"}, "trials": 5}, "all 5 trials would be drawn at random"),
        ({"pruner": {"name": "median"}, "trials": 3}, "none of 3 trials would be pruned"),
    ],
)  # fmt: skip
def test_what_cannot_be_combined_is_named_with_the_next_move(settings: dict[str, object], part: str) -> None:
    space = {"adapter": "none,lora"} if settings.get("sampler") else {"adapter": "none,lora", "train.max_steps": "9,90"}
    assert part in complaints(definition(space, **settings))


def test_all_mistakes_are_named_at_once() -> None:
    sweep = definition(
        {"optimzer.lr": "1", "train.max_steps": "range(3,1)"}, filter=["foo < 1"], sampler={"name": "random"}
    )
    assert len(complaints(sweep, "schedule.floor=1,(").splitlines()) == 5


def test_seeds_and_a_typed_seed_exclude_each_other() -> None:
    assert "each run of a trial has its own of sweep.seeds" in complaints(
        definition(FILE.space, seeds=[1, 2]), "seed=3"
    )


def test_what_is_printed_names_every_axis() -> None:
    sweep = definition(
        {"optimizer.lr": "tag(log,interval(1e-5,1e-2))", "adapter": "none,lora"},
        conditional={"adapter=lora": {"adapter.rank": "int(interval(2,64))"}},
        filter=["optimizer.lr < 1"],
        sampler={"name": "random"},
        trials=3,
    )
    assert read(sweep).describe() == [
        "optimizer.lr: numbers from 1e-05 to 0.01, log",
        "adapter: none, lora",
        "adapter.rank (where adapter=lora): whole numbers from 2 to 64",
        "only where optimizer.lr < 1",
    ]


def test_every_grid_of_one_key_fewer_is_a_part() -> None:
    """The number of points is a product, whatever the order."""
    entries = {"optimizer.lr": "1,2", "train.max_steps": "range(3)", "model": "gpt2,opt-tiny"}
    for order in itertools.permutations(entries):
        assert len(read(definition({key: entries[key] for key in order})).grid()) == 12
