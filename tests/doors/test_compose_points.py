"""Is a point of a grid, composed from one that shares its groups, what Hydra itself composes for it?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from tunefleet.base.errors import ConfigError
from tunefleet.doors import arguments, compose
from tunefleet.doors.hydra_loader import Loader

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


def plain(config: DictConfig) -> object:
    settings = config.copy()
    with open_dict(settings):
        del settings["hydra"]
    return OmegaConf.to_container(settings, resolve=True)


def test_every_point_is_what_hydra_composes(reference: ConfigLoader) -> None:
    loader, base = ours()
    found = compose.points(GRID, loader, lambda words: loader.load_sweep_config(base, words))
    assert [plain(one) for one in found] == [plain(hydra(reference, words)) for words in GRID]


def test_hydra_composes_once_for_each_choice_of_groups() -> None:
    loader, base = ours()
    composed = []

    def counted(words: list[str]) -> DictConfig:
        composed.append(words)
        return loader.load_sweep_config(base, words)

    points = [[f"seed={seed}", f"parallel={how}"] for seed in range(6) for how in ("ddp", "zero2")]
    found = compose.points(points, loader, counted)
    assert composed == [["parallel=ddp"], ["parallel=zero2"]]
    assert [one.seed for one in found] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [one.parallel.name for one in found] == ["ddp", "zero2"] * 6


def test_a_point_knows_its_number() -> None:
    points = compose.grid(["seed=4,5", "name=run-${hydra:job.num}"])
    assert [compose.typed(config).name for _, config in points] == ["run-0", "run-1"]


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
    assert [OmegaConf.select(config, key) for _, config in compose.grid(words)] == values


def test_a_shuffled_sweep_has_the_same_points() -> None:
    assert sorted(config.seed for _, config in compose.grid(["seed=shuffle(range(1,6))"])) == [1, 2, 3, 4, 5]


def test_what_is_typed_replaces_the_same_key_of_a_files_sweep(tmp_path: Path) -> None:
    """Hydra's rule for `hydra.sweeper.params`; the words of a point hold each key once."""
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      optimizer.lr: 1e-1,1e-2\n      seed: 1,2\n"
    (tmp_path / "experiment" / "rates.yaml").write_text(text)
    words = [f"--config-dir={tmp_path}", "experiment=rates"]
    rates = [(config.optimizer.lr, config.seed) for _, config in compose.grid(words)]
    assert rates == [(0.1, 1), (0.1, 2), (0.01, 1), (0.01, 2)]
    points = compose.grid([*words, "optimizer.lr=3e-3"])
    assert [(config.optimizer.lr, config.seed) for _, config in points] == [(3e-3, 1), (3e-3, 2)]
    assert [sum(word.startswith("optimizer.lr") for word in point) for point, _ in points] == [1, 1]


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
