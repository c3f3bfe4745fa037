"""Do the stages of a model, one after another, compute what the whole model computes?"""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from tests.plans import DEEP
from tests.shared import TINY, dataset_of, tiny_model
from tunefleet.contracts import MicroBatch
from tunefleet.data.batches.collate import collate
from tunefleet.model.build import build
from tunefleet.model.learner import Learner
from tunefleet.model.stages import Stage
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.registry import with_stages
from tunefleet.plan.paths.model_files import Sources

torch.set_num_threads(1)

ROWS = dataset_of(
    [(list(range(3, 3 + n)), [i >= n // 2 for i in range(n)]) for n in (9, 20, 5, 14, 7)], [[0, 1, 2], [3], [4, 0]]
)
FAMILIES = with_stages()
DEPTH = {"gpt2": "n_layer"}
WINDOWED = {"mistral": {"sliding_window": 4}, "qwen2": {"use_sliding_window": True, "sliding_window": 4}}


def whole_model(family: str, **changes: Any) -> Any:
    if family == "deep":
        return build(Sources(None, "", Architecture(DEEP | changes)), 0)
    deeper = {DEPTH.get(family, "num_hidden_layers"): 4}
    return tiny_model(family, **deeper, **WINDOWED.get(family, {}), **changes)


def cut(model: Any, boundaries: tuple[int, ...], tile: int | None = None, by_document: bool = False) -> list[Stage]:
    return [Stage(copy.deepcopy(model), first, end, tile, by_document) for first, end in pairwise(boundaries)]


def batch(rows: list[int], packed: bool = True) -> MicroBatch:
    return collate(ROWS, rows, 1, packed)


def through(stages: list[Stage], rows: MicroBatch) -> Any:
    """The loss of `rows`; DeepSpeed would carry the hidden states."""
    value = None
    for stage in stages:
        value = stage.compute(rows, value)
    return value


def gradients(parts: list[Any]) -> dict[str, Any]:
    """Of every weight, by its name in the whole model; copies of a tied one are added up."""
    by_name: dict[str, Any] = {}
    for part in parts:
        for name, weight in part.model.named_parameters():
            shared_name = "head" if name in ("lm_head.weight", "embed_out.weight") else name
            by_name[shared_name] = by_name.get(shared_name, 0) + weight.grad
    return by_name


def test_every_family_with_stages_is_tested() -> None:
    assert set(FAMILIES) <= set(TINY)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("boundaries", [(0, 1, 4), (0, 2, 3, 4), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize("family", [*FAMILIES, "deep"])
def test_the_loss_is_the_whole_models(family: str, boundaries: tuple[int, ...], packed: bool) -> None:
    model, rows = whole_model(family), batch([0, 1, 2] if packed else [1], packed)
    assert torch.equal(through(cut(model, boundaries), rows), Learner(model)(rows))


@pytest.mark.parametrize("by_document", [False, True])
@pytest.mark.parametrize(("checkpointing", "tile"), [(False, None), (True, None), (True, 3)])
@pytest.mark.parametrize("family", [*FAMILIES, "deep"])
def test_gradients_are_the_whole_models(family: str, checkpointing: bool, tile: int | None, by_document: bool) -> None:
    """With two micro-batches on their way, as in a pipeline: what is computed again belongs to the older one."""
    model = whole_model(family).train()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    stages, learner = cut(model, (0, 2, 4), tile, by_document), Learner(model)
    for stage in stages:
        stage.train()
    waiting = [through(stages, batch(rows)) for rows in ([0], [1, 2])]
    for loss in waiting:
        loss.backward()
    sum(learner(batch(rows)) for rows in ([0], [1, 2])).backward()
    actual, expected = gradients(stages), gradients([learner])
    if stages[0].is_tied:  # the whole model counts both uses of the weight at once
        name = next(n for n, w in stages[0].model.named_parameters() if w is stages[0].tied_weight)
        actual[name] = actual[name] + actual.pop("head")
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("family", "tied"), [("opt", True), ("llama", False), ("gpt2", True)])
def test_a_stage_holds_its_own_weights_under_their_own_names(family: str, tied: bool) -> None:
    model = whole_model(family)
    stages = cut(model, (0, 1, 3, 4))
    names = [set(stage.model.state_dict()) for stage in stages]
    assert set.union(*names) == set(model.state_dict())
    assert sum(map(len, names)) == len(set.union(*names))
    assert [stage.tied_weight is not None for stage in stages] == ([True, False, True] if tied else [False] * 3)
    for stage in stages:
        for name, weight in stage.model.state_dict().items():
            assert torch.equal(weight, model.state_dict()[name])


def test_stages_that_are_given_different_rows_say_so() -> None:
    first, last = cut(whole_model("llama"), (0, 2, 4))
    hidden = first.compute(batch([0]), None)
    with pytest.raises(AssertionError, match="different micro-batches"):
        last.compute(batch([1]), hidden)


def test_control_segments_matter_in_every_stage() -> None:
    """What isolates conversations is each stage's own mask: an OPT without it in one stage has another loss."""
    stages, rows = cut(whole_model("opt"), (0, 2, 4)), batch([0, 2])
    with torch.no_grad():
        mixed = stages[1].compute(replace(rows, segments=None), stages[0].compute(rows, None))
        right = through(stages, rows)
    assert abs(float(mixed / right) - 1) > 1e-3
