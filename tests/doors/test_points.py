"""Is a point of a grid, composed from one that shares its groups, what Hydra itself composes for it?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from tunefleet.doors import compose, overrides

GRID = [
    ["optimizer.lr=1e-5", "seed=1"],
    ["optimizer.lr=2e-5", "seed=1", "parallel=zero3", "train.max_steps=7"],
    ["parallel=zero3", "train.max_steps=8", "model=opt-tiny", "model.num_layers=1"],
    ["train.micro_batch=3", "model=opt-tiny"],  # the recipe of opt-tiny sets it too: what is typed wins
    ["experiment=zero3-smoke", "train.max_steps=2", "data.max_rows=null"],
    ["optimizer.betas=[0.9,0.95]", "launch.extra={licenses: a}", "name='a b'", "launch.nope=3"],
    ["seed=1", "optimizer.lr=1e-5", "experiment=null", "train.seed=${seed}"],
]


@pytest.fixture
def composed_by_hydra() -> Iterator[list[int]]:
    """How often Hydra composed."""
    compose.register_defaults()
    with initialize_config_dir(str(compose.CONF), version_base="1.3"):
        yield []


def hydra(words: list[str]) -> DictConfig:
    loader = GlobalHydra.instance().config_loader()
    base = loader.load_configuration(compose.CONFIG_NAME, overrides=[], run_mode=RunMode.MULTIRUN)
    return loader.load_sweep_config(base, words)


def plain(config: DictConfig) -> object:
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {key: value for key, value in values.items() if key != "hydra"}


def test_every_point_is_what_hydra_composes(composed_by_hydra: list[int]) -> None:
    points = [overrides.accept(words, compose.CONF) for words in GRID]
    found = compose.points(points, hydra)
    assert [plain(one) for one in found] == [plain(hydra(words)) for words in points]


def test_hydra_composes_once_for_each_choice_of_groups(composed_by_hydra: list[int]) -> None:
    def counted(words: list[str]) -> DictConfig:
        composed_by_hydra.append(1)
        return hydra(words)

    points = [
        overrides.accept([f"seed={seed}", f"parallel={how}"], compose.CONF)
        for seed in range(6)
        for how in ("ddp", "zero2")
    ]
    found = compose.points(points, counted)
    assert len(composed_by_hydra) == 2
    assert [one.seed for one in found] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [one.parallel.name for one in found] == ["ddp", "zero2"] * 6
