"""Does every point of a grid have its own GPUs and its part of the cores, and does an error spell the product?"""

from __future__ import annotations

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.config.launch import LaunchConfig
from tunefleet.plan import Machine
from tunefleet.plan.processes.slots import share


@pytest.mark.parametrize(
    ("gpus", "settings", "points", "slots", "each", "cores"),
    [
        (0, {}, 5, 1, 0, 16),
        (0, {"parallel_runs": 4}, 5, 4, 0, 4),
        (0, {"parallel_runs": 32}, 64, 32, 0, 1),
        (0, {"parallel_runs": 4}, 2, 2, 0, 8),  # no more slots than points
        (8, {}, 5, 1, 8, 16),  # all GPUs for every point, one after another
        (8, {"gpus_per_run": 2}, 5, 4, 2, 4),
        (8, {"gpus_per_run": 3}, 5, 2, 3, 8),
        (8, {"gpus_per_run": 2, "parallel_runs": 2}, 5, 2, 2, 8),
        (8, {"gpus_per_run": 1}, 1, 1, 1, 16),
    ],
)
def test_places(gpus: int, settings: dict[str, int], points: int, slots: int, each: int, cores: int) -> None:
    places = share(LaunchConfig(**settings), Machine(gpus=gpus, cores=16), points, {})  # type: ignore[arg-type]
    assert (places.slots, places.machine.gpus, places.machine.cores) == (slots, each, cores)


def test_each_slot_has_its_own_gpus_of_those_that_are_visible() -> None:
    places = share(
        LaunchConfig(gpus_per_run=2), Machine(gpus=5, cores=16), 9, {"CUDA_VISIBLE_DEVICES": "7,1,3,0,GPU-a"}
    )
    assert [places.environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(places.slots)] == ["7,1", "3,0"]


def test_without_gpus_nothing_is_set() -> None:
    places = share(LaunchConfig(parallel_runs=2), Machine(cores=2), 3, {"CUDA_VISIBLE_DEVICES": ""})
    assert [places.environment(slot) for slot in (0, 1)] == [{}, {}]


@pytest.mark.parametrize(
    ("gpus", "settings", "words"),
    [
        (
            4,
            {"parallel_runs": 3, "gpus_per_run": 2},
            "launch: 3 parallel_runs x 2 gpus_per_run = 6 GPUs, and this machine has 4. "
            "Use launch.gpus_per_run=1, or launch.parallel_runs=2.",
        ),
        (
            4,
            {"parallel_runs": 2},
            "launch: 2 parallel_runs x 4 gpus_per_run (all, as launch.gpus_per_run is not set) = 8 GPUs, and this "
            "machine has 4. Use launch.gpus_per_run=2, or launch.parallel_runs=1.",
        ),
        (
            4,
            {"parallel_runs": 8, "gpus_per_run": 1},
            "launch: 8 parallel_runs x 1 gpus_per_run = 8 GPUs, and this machine has 4. "
            "Use launch.gpus_per_run=1 launch.parallel_runs=4, or less.",
        ),
        (4, {"gpus_per_run": 8}, "launch: 1 parallel_runs x 8 gpus_per_run = 8 GPUs, and this machine has 4."),
        (0, {"gpus_per_run": 1}, "= 1 GPUs, and this machine has 0. Leave launch.gpus_per_run out."),
        (0, {"parallel_runs": 2, "port": 4321}, "launch.port: 4321 is one port for 2 points side by side. Leave it"),
    ],
)
def test_too_much_is_refused(gpus: int, settings: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        share(LaunchConfig(**settings), Machine(gpus=gpus, cores=16), 9, {})  # type: ignore[arg-type]
    assert len(caught.value.complaints) == 1
    assert words in str(caught.value)
