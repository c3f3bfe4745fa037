"""Can another number of processes, another ZeRO stage, or another split of the same batch go on with a run?

fp32: losses within 1e-5 relative of the uninterrupted run, as in tests/equivalence: other splits sum in another order.
bf16: within 1e-3: weights have 8 bits of mantissa, but both runs round the same weights up to step 5.
Muon: within 1e-3, because it orthogonalises in bf16: two ranks that nobody interrupts are 1.4e-4 off one, and runs
without their moments 2e-2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.plans import tiny_plan
from tests.ranks import run_in_ranks

Shape = tuple[int, int, int]
"""(ranks, micro-batch, ZeRO stage) of a part of a run."""
Run = tuple[dict[str, Any], Shape, Shape]
"""Settings, and the shapes of the steps up to 5 and of those up to 12."""

SGD = {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}}
LION = {"optimizer": {"name": "lion", "lr": 1e-3}}
ADAGRAD = {"optimizer": {"name": "adagrad", "lr": 1e-2}}
ADAM = {"optimizer": {"name": "adam", "lr": 3e-3}}
ADAFACTOR = {"optimizer": {"name": "adafactor", "lr": 1e-2}}
MUON = {"optimizer": {"name": "muon", "lr": 1e-2}}
LORA = {"adapter": {"name": "lora", "rank": 4, "alpha": 8.0}}
FROZEN = {"model": {"name": "opt", "init": "random", "freeze": ["*embed*", "*layers.0.*"]}}
OPTIMIZERS = {"lion": LION, "sgd": SGD, "adagrad": ADAGRAD, "adam": ADAM, "lora": LORA}
BF16 = {"precision": "bf16"}
OFFLOAD = {"offload": True, "optimizer": {"name": "adamw", "lr": 3e-3, "cpu_kernel": "torch"}}

SAMPLE: Mapping[str, Run] = {
    "two go on as one": ({}, (2, 1, 0), (1, 2, 0)),
    "one goes on as two": ({"packed": False}, (1, 2, 0), (2, 1, 0)),
    "another micro-batch": ({}, (1, 1, 0), (1, 4, 0)),
    "0 of two, 3 of one": ({}, (2, 1, 0), (1, 4, 3)),
    "1 of one, 2 of two": ({}, (1, 4, 1), (2, 2, 2)),
    "2 of two, 1 of one": ({}, (2, 2, 2), (1, 1, 1)),
    "3 of two, 0 of two": ({}, (2, 1, 3), (2, 2, 0)),
    "3 of one, 1 of two": ({}, (1, 4, 3), (2, 1, 1)),
    "stage 3, one goes on as two": ({}, (1, 4, 3), (2, 1, 3)),
    "3 in bf16, two go on as one": (BF16, (2, 2, 3), (1, 4, 3)),
    "1 of two, 3 of one in bf16": (BF16, (2, 2, 1), (1, 4, 3)),
    "lion, 2 of two, 3 of one": (LION, (2, 1, 2), (1, 4, 3)),
    "sgd, 3 of two, 0 of one": (SGD, (2, 1, 3), (1, 4, 0)),
    "adagrad, 0 of one, 1 of two": (ADAGRAD, (1, 4, 0), (2, 1, 1)),
    "lora, 3 of two, 0 of one": (LORA, (2, 1, 3), (1, 4, 0)),
    "lora, 0 of one, 2 of two": (LORA, (1, 4, 0), (2, 2, 2)),
    "offloaded, 2 of two, 3 of one": (OFFLOAD, (2, 1, 2), (1, 4, 3)),
    "offloaded, 3 of one, 0 of two": (OFFLOAD, (1, 4, 3), (2, 1, 0)),
    "adafactor of two, of one": (ADAFACTOR, (2, 1, 0), (1, 4, 0)),
}
"""Every stage, before and after, with both numbers of ranks; the whole matrix is exhaustive."""


def micro(ranks: int) -> int:
    """Another split for each number of ranks."""
    return {1: 4, 2: 1, 4: 1}[ranks]


def case(settings: dict[str, Any], before: tuple[int, int], after: tuple[int, int]) -> Run:
    """A run of (ranks, stage) before and after."""
    return settings, (before[0], micro(before[0]), before[1]), (after[0], micro(after[0]), after[1])


def matrix() -> dict[str, dict[str, Run]]:
    """All stages and 1, 2 and 4 ranks to each other; optimizers and LoRA between all stages. Each part is a test."""
    shapes, stages = list(product((1, 2, 4), range(4))), list(product(range(4), range(4)))
    parts = {f"adamw {a}": {f"{a} to {b}": case({}, a, b) for b in shapes if a != b} for a in shapes}
    for name, settings in OPTIMIZERS.items():
        two = {f"{name} {a} to {b}": case(settings, (2, a), (1 if a % 2 else 2, b)) for a, b in stages if a != b}
        parts[f"{name} of two"] = two
        parts[f"{name} of one"] = {f"{name} of one {a} to {b}": case(settings, (1, a), (2, b)) for a, b in stages}
    parts["bf16"] = {f"bf16 {a} to {b}": case(BF16, (2, a), (1, b)) for a, b in product(range(1, 4), range(1, 4))}
    parts["offloaded"] = {f"offloaded {a} to {b}": case(OFFLOAD, (2, a), (1, b)) for a, b in stages}
    parts["muon"] = {f"muon {a} to {b}": case(MUON, (a, 0), (b, 0)) for a, b in ((1, 2), (2, 1))}
    return parts


FORGOTTEN = "the optimizer forgets"
CONTROLS: Mapping[str, Run] = {FORGOTTEN: ({"forget": True}, (2, 1, 3), (1, 4, 1))}


def key_of(settings: Mapping[str, Any]) -> str:
    """The uninterrupted run that a run of these settings is compared with."""
    return json.dumps({name: value for name, value in settings.items() if name != "forget"}, sort_keys=True)


def follow(folder: Path, runs: Mapping[str, Run]) -> dict[str, list[Any]]:
    """The losses of both parts of every run; and of the same in one piece, by one rank."""
    references = {key_of(settings): settings for settings, _, _ in runs.values()}

    def in_one_start(part: int, ranks: int) -> dict[str, Any]:
        names = [name for name, run in runs.items() if run[1 + part][0] == ranks]
        cases = [_case(folder, name, (5, 12)[part], runs[name][1 + part], runs[name][0]) for name in names]
        if ranks == 1 and not part:
            cases += [_case(folder, key, 12, (1, 4, 3 * ("bf16" in key)), references[key]) for key in references]
            names += references
        if not cases:
            return {}
        results = run_in_ranks("tests.checkpoint.shapes:parts_of_runs", ranks, folder, cases)[0]
        return dict(zip(names, results, strict=True))

    starts = [[in_one_start(part, ranks) for ranks in (1, 2, 4)] for part in (0, 1)]
    first, last = ({name: losses for start in part for name, losses in start.items()} for part in starts)
    return {name: [losses, last.get(name, [])] for name, losses in first.items()}


def _case(folder: Path, name: str, until: int, shape: Shape, settings: dict[str, Any]) -> dict[str, Any]:
    run_folder = folder / "".join(letter if letter.isalnum() else "-" for letter in name)
    run_folder.mkdir(exist_ok=True)
    settings = {"forget": False, **settings} if until > 5 else {**settings, "forget": False}
    return {"run": str(run_folder), "until": until, "micro": shape[1], "stage": shape[2], **settings}


def _expect_followed(followed: Mapping[str, list[Any]], name: str, settings: Mapping[str, Any]) -> None:
    first_part, second_part = followed[name]
    assert (len(first_part), len(second_part)) == (5, 7), second_part
    tolerance = 1e-3 if "precision" in settings or settings == MUON else 1e-5
    uninterrupted = followed[key_of(settings)][0]
    np.testing.assert_allclose([*first_part, *second_part], uninterrupted, rtol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    return follow(tmp_path_factory.mktemp("shapes"), {**SAMPLE, **CONTROLS})


@pytest.mark.parametrize("name", SAMPLE)
def test_a_run_goes_on_in_another_shape(followed: dict[str, list[Any]], name: str) -> None:
    _expect_followed(followed, name, SAMPLE[name][0])


def test_control_without_its_moments_the_optimizer_goes_another_way(followed: dict[str, list[Any]]) -> None:
    second_part, uninterrupted = followed[FORGOTTEN][1], followed[key_of({})][0]
    assert second_part[0] == pytest.approx(uninterrupted[5], rel=1e-5)  # the weights are right
    assert abs(second_part[-1] / uninterrupted[-1] - 1) > 1e-3


def test_control_the_losses_of_the_steps_differ(followed: dict[str, list[Any]]) -> None:
    """Else a run that began its data anew would pass."""
    uninterrupted, grouped = followed[key_of({})][0], followed[key_of({"packed": False})][0]
    assert not np.allclose(uninterrupted[:7], uninterrupted[5:], rtol=1e-2)
    assert not np.allclose(uninterrupted, grouped, rtol=1e-2)


def test_the_loss_scale_of_fp16_is_kept(tmp_path: Path) -> None:
    """DeepSpeed does not save torch's scaler: it began at 65,536 again."""
    assert run_in_ranks("tests.checkpoint.shapes:loss_scales", 1, tmp_path)[0] == [1234.0] * 3


def test_another_strategy_goes_on_where_both_can_be_sharded_otherwise(tmp_path: Path) -> None:
    plain, zero_3 = tiny_plan(tmp_path), tiny_plan(tmp_path, stage=3)
    assert plain.identity != zero_3.identity
    assert plain.goes_on_as(zero_3)
    assert zero_3.goes_on_as(plain)
    assert not plain.goes_on_as(tiny_plan(tmp_path, stage=3, seed=5))
    assert not plain.goes_on_as(tiny_plan(tmp_path, ranks=2))  # rows of a step
    tensor = {"parallel": {"name": "tensor", "tensor": 2}}
    assert not plain.goes_on_as(tiny_plan(tmp_path, ranks=2, **tensor))


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", matrix())
def test_every_stage_and_number_of_ranks_goes_on_as_every_other(tmp_path: Path, part: str) -> None:
    runs = matrix()[part]
    all_followed = follow(tmp_path, runs)
    wrong = []
    for name, (settings, _, _) in runs.items():
        try:
            _expect_followed(all_followed, name, settings)
        except AssertionError as error:
            wrong.append(f"{name}: {str(error)[:300]}")
    assert not wrong, "\n".join(wrong)
