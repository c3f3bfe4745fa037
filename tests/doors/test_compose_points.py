"""Is a point of a grid, composed from one that shares its groups, what Hydra itself composes for it?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig, load
from tunefleet.config.load import dump
from tunefleet.doors import arguments, compose, points
from tunefleet.doors.hydra_loader import Loader
from tunefleet.plan import Machine, make

GRID = [
    ["optimizer.lr=1e-5", "seed=1"],
    ["optimizer.lr=2e-5", "seed=1", "parallel=zero3", "train.max_steps=7"],
    ["parallel=zero3", "train.max_steps=8", "model=opt-tiny", "model.num_layers=1"],
    ["train.micro_batch=3", "model=opt-tiny"],  # the recipe of opt-tiny sets it too: what is typed wins
    ["experiment=zero3-smoke", "train.max_steps=2", "data.max_rows=null"],
    ["optimizer.betas=[0.9,0.95]", "launch.extra={licenses: a}", "name='a b'", "launch.nope=3"],
    ["seed=1", "optimizer.lr=1e-5", "experiment=null", "train.seed=${seed}"],
]


# What Hydra calls an error on a plain key that it does not know, tunefleet names with all others: Hydra adds it here.
AS_HYDRA_ADDS = {"launch.extra={licenses: a}": "++launch.extra={licenses: a}", "launch.nope=3": "++launch.nope=3"}
NO_CHOICE = {"experiment=null": "~experiment"}


PLAIN = ["train.max_steps=9"]
CHANGING = [
    ["seed=8", "train.seed=5"],
    ["optimizer.betas=[0.5,0.6]", "optimizer.betas.0=0.4"],
    ["~model.architecture.hidden_size"],
    ["model.architecture.hidden_size=64", "+model.architecture.new={a: 1}"],
    ["~train.seed"],
    ["~name"],
    ["train=null"],
    ["launch.setup=[a,b]", "data.mix=[{path: demo}]", "data.mix.0.weight=2"],
    ["nope=1", "train.nope=2", "train.max_steps=3", "train.max_steps=4"],
    ["name=${nowhere}"],
    ["~nowhere.at_all"],
]
"""Values that change what other points of the same groups have, or are refused in the midst of it."""


@pytest.fixture
def reference() -> Iterator[ConfigLoader]:
    """Hydra as it comes, on the same folder."""
    compose.register_defaults()
    with initialize_config_dir(str(compose.CONF), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def hydra(loader: ConfigLoader, words: list[str]) -> DictConfig:
    base = loader.load_configuration(arguments.CONFIG_NAME, overrides=[], run_mode=RunMode.MULTIRUN)
    return loader.load_sweep_config(base, [{**AS_HYDRA_ADDS, **NO_CHOICE}.get(word, word) for word in words])


def ours() -> tuple[Loader, DictConfig]:
    loader = compose.opened(arguments.parse([], with_project_conf=False))
    return loader, loader.load_configuration(arguments.CONFIG_NAME, [], RunMode.MULTIRUN)


def configs(typed: Iterator[RunConfig | ConfigError] | Sequence[RunConfig | ConfigError]) -> list[RunConfig]:
    """All of them, and none is refused."""
    right = []
    for point in typed:
        assert isinstance(point, RunConfig), point
        right.append(point)
    return right


def grid_configs(words: list[str]) -> list[RunConfig]:
    return configs([point for _, point in compose.grid(words)])


def plain(config: DictConfig) -> dict[str, object]:
    settings = config.copy()
    with open_dict(settings):
        del settings["hydra"]
    values = OmegaConf.to_container(settings, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def loaded(config: DictConfig) -> RunConfig | ConfigError:
    try:
        return load(RunConfig, plain(config))
    except ConfigError as error:
        return error


def comparable(point: RunConfig | ConfigError) -> object:
    return point.complaints if isinstance(point, ConfigError) else dump(point)


def test_every_point_is_what_hydra_composes(reference: ConfigLoader) -> None:
    loader, base = ours()
    typed = compose.typed_points(GRID, loader, lambda groups: loader.load_sweep_config(base, groups))
    assert [comparable(point) for point in typed] == [comparable(loaded(hydra(reference, words))) for words in GRID]


def test_a_point_leaves_nothing_behind_for_the_next(reference: ConfigLoader) -> None:
    """Values are set on what the points of a choice share: whatever one does, the next is as if it were alone."""
    loader, base = ours()
    grid = [words for changing in CHANGING for words in (changing, PLAIN)]
    typed = list(compose.typed_points(grid, loader, lambda groups: loader.load_sweep_config(base, groups)))
    alone = comparable(loaded(hydra(reference, PLAIN)))
    assert [comparable(point) for point in typed[1::2]] == [alone] * len(CHANGING)
    assert list(dump(typed[-1])["model"]["architecture"]) == list(dump(typed[1])["model"]["architecture"])
    assert alone not in [comparable(point) for point in typed[::2]]  # control: they do change it


def test_control_without_putting_back_a_point_has_the_values_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points.Choice, "put_back", lambda choice, originals: None)
    loader, base = ours()
    grid = [["train.max_steps=7"], ["seed=1"]]
    first, second = configs(compose.typed_points(grid, loader, lambda groups: loader.load_sweep_config(base, groups)))
    assert (first.train.max_steps, second.train.max_steps) == (7, 7)


@pytest.mark.parametrize("override", ["copied.lr=0.5", "copied.betas.0=0.5", "~copied.lr", "copied.new.key=1"])
def test_what_reaches_through_an_interpolation_isput_back_where_it_is(override: str) -> None:
    """OmegaConf replaces an interpolation that a value is set below, and deletes through one."""
    loader, base = ours()
    with open_dict(base):
        base.copied = "${optimizer}"
    choice, before = points.Choice(base, loader), plain(base)
    with pytest.raises(ConfigError, match="copied: unknown key"):
        choice.point(0, [override], loader.values_apart([override])[1])
    assert plain(base) == before


def test_interpolations_follow_what_a_point_sets() -> None:
    words = ["seed=4,5", "train.max_steps=7", "name=run-${hydra:job.num}-${train.seed}", "data.max_rows=${seed}"]
    followed = [(point.name, point.train.seed, point.data.max_rows) for point in grid_configs(words)]
    assert followed == [("run-0-4", 4, 4), ("run-1-5", 5, 5)]


def test_hydra_composes_once_for_each_choice_of_groups() -> None:
    loader, base = ours()
    composed = []

    def counted(words: list[str]) -> DictConfig:
        composed.append(words)
        return loader.load_sweep_config(base, words)

    grid = [[f"seed={seed}", f"parallel={how}"] for seed in range(6) for how in ("ddp", "zero2")]
    typed = configs(compose.typed_points(grid, loader, counted))
    assert composed == [["parallel=ddp"], ["parallel=zero2"]]
    assert [point.seed for point in typed] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [point.parallel.name for point in typed] == ["ddp", "zero2"] * 6


def test_a_choice_that_cannot_be_composed_is_tried_once_and_costs_its_own_points_alone() -> None:
    loader, base = ours()
    composed = []

    def counted(words: list[str]) -> DictConfig:
        composed.append(words)
        return loader.load_sweep_config(base, words)

    grid = [["model=nope", "seed=1"], ["seed=1"], ["model=nope", "seed=2"], ["seed=2", "train.max_steps=["]]
    first, right, second, grammar = compose.typed_points(grid, loader, counted)
    assert composed == [["model=nope"], []]
    assert isinstance(right, RunConfig)
    assert isinstance(first, ConfigError)
    assert isinstance(grammar, ConfigError)
    assert isinstance(second, ConfigError)
    assert first.complaints == second.complaints
    assert first.complaints[0].startswith("model: no choice named 'nope'.")
    assert grammar.complaints[0].startswith("train.max_steps: '[' opens a bracket")


def test_what_points_do_not_change_is_one_object_in_all_of_them() -> None:
    """Ten thousand points are held at once."""
    first, *others = grid_configs(["optimizer.lr=range(1,20)"])
    shared = ("data", "model", "adapter", "parallel", "schedule", "evaluation", "checkpoint", "tracking", "launch")
    assert all(getattr(point, name) is getattr(first, name) for point in others for name in shared)


def test_plans_are_those_of_points_composed_one_by_one() -> None:
    words = ["parallel=ddp,zero2", "optimizer=adamw,lion", "train.max_steps=2,3", "seed=1,2", "launch.port=7777,null"]
    machine = Machine(gpus=0, cores=8)
    grid = compose.grid(words)
    assert len(grid) == 32
    for overrides, point in grid[::5]:
        assert isinstance(point, RunConfig)
        alone = make(compose.from_overrides(overrides), machine, overrides)
        assert dump(make(point, machine, overrides)) == dump(alone)


def test_composing_and_planning_is_fast() -> None:
    """A sweep may have 10,000 points. Each takes about 4 ms of this process's time; a copy of what was composed for
    each would take 16 more. The bound leaves room for a slow or shared machine, and none for that.
    """
    words = ["train.max_steps=range(1,61)", "seed=range(0,5)"]
    compose.grid(["seed=1,2"])  # imports
    machine, started = Machine(gpus=0, cores=8), time.process_time()
    plans = [
        make(point, machine, overrides) for overrides, point in compose.grid(words) if isinstance(point, RunConfig)
    ]
    assert len({plan.run_dir for plan in plans}) == 300
    assert time.process_time() - started < 300 * 0.012 + 1


def test_a_point_knows_its_number() -> None:
    assert [point.name for point in grid_configs(["seed=4,5", "name=run-${hydra:job.num}"])] == ["run-0", "run-1"]


# Which points


@pytest.mark.parametrize(
    ("words", "key", "values"),
    [
        (["seed=range(1,4)"], "seed", [1, 2, 3]),
        (["seed=sort(3,1,2)"], "seed", [1, 2, 3]),
        (["seed=choice(7,8)"], "seed", [7, 8]),
        (["optimizer.lr=tag(rates,choice(1e-3,1e-4))"], "optimizer.lr", [1e-3, 1e-4]),
        (["parallel=glob(zero*,exclude=*_*)"], "parallel.name", ["zero1", "zero2", "zero3", "zeropp"]),
        (["name=2024_11_28,1e5,007,on"], "name", ["2024_11_28", "1e5", "007", "on"]),
        (["experiment=null,zero3-smoke"], "train.max_steps", [None, 3]),
        (["++optimizer.lr=1,2"], "optimizer.lr", [1, 2]),
    ],
)
def test_what_a_sweep_makes(words: list[str], key: str, values: list[object]) -> None:
    assert [attrgetter(key)(point) for point in grid_configs(words)] == values


def test_a_shuffled_sweep_has_the_same_points() -> None:
    assert sorted(point.seed for point in grid_configs(["seed=shuffle(range(1,6))"])) == [1, 2, 3, 4, 5]


def test_what_is_typed_replaces_the_same_key_of_a_files_sweep(tmp_path: Path) -> None:
    """Hydra's rule for `hydra.sweeper.params`; the words of a point hold each key once."""
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      optimizer.lr: 1e-1,1e-2\n      seed: 1,2\n"
    (tmp_path / "experiment" / "rates.yaml").write_text(text)
    words = [f"--config-dir={tmp_path}", "experiment=rates"]
    rates = [(point.optimizer.lr, point.seed) for point in grid_configs(words)]
    assert rates == [(0.1, 1), (0.1, 2), (0.01, 1), (0.01, 2)]
    typed = compose.grid([*words, "optimizer.lr=3e-3"])
    assert [(point.optimizer.lr, point.seed) for point in configs([point for _, point in typed])] == [
        (3e-3, 1),
        (3e-3, 2),
    ]
    assert [sum(word.startswith("optimizer.lr") for word in point) for point, _ in typed] == [1, 1]


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("seed=range(5,1)", "seed: range(5,1) gives no value, so the grid has no point."),
        ("parallel=glob(q*)", "parallel: glob(q*) gives no value, so the grid has no point."),
        ("seed=interval(0,1)", "seed: interval(0,1) has no end of values between. Use range(start,stop,step) or"),
        ("hydra.mode=RUN,MULTIRUN", "hydra.mode: Hydra's own settings are the same for all points of a grid."),
        ("model=opt-125m,nope", "model: no choice named 'nope'. Known:"),
        ("hydra.sweeper.max_batch_size=2", "hydra.sweeper.max_batch_size: does nothing here."),
        ("hydra/launcher=basic", "hydra/launcher: does nothing here."),
        ("hydra/sweeper=basic", "hydra/sweeper: does nothing here."),
    ],
)
def test_a_grid_that_cannot_be_is_refused(word: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose.grid([word])
    assert caught.value.complaints[-1].startswith(complaint)
    assert all("does nothing here" in other for other in caught.value.complaints[:-1])  # `hydra.launcher._target_`
