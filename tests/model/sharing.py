"""What ranks do in the test of Ulysses: families on parts of rows, against whole rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import distributed

from tests.families import EVERY
from tests.model.test_packing_families import (
    PACKED,
    PADDED,
    Answer,
    answer,
    built,
    gradient_difference,
    relative_difference,
)
from tunefleet.contracts import MicroBatch
from tunefleet.engine.group import ProcessGroup, join
from tunefleet.engine.sequence_shard import sequence_shard
from tunefleet.model.learner import Learner


def differences(folder: Path, names: list[str]) -> dict[str, dict[str, float] | str]:
    """How far loss or gradients of shared rows are from those of whole ones, for each family; or the error."""
    torch.set_num_threads(1)
    group = join()
    by_family: dict[str, dict[str, float] | str] = {}
    for name in names:
        try:
            by_family[name] = _measured(name, group)
        except (RuntimeError, ValueError, AssertionError) as error:
            by_family[name] = f"{type(error).__name__}: {error}"
    group.destroy()
    return by_family


def _measured(name: str, group: ProcessGroup) -> dict[str, float]:
    reference, model = Learner(built(EVERY[name])).train(), built(EVERY[name])
    if model.supports_gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    parts = Learner(model, sp_group=group.adjacent_ranks(group.size)).train()
    alone = Learner(model, sp_group=group.adjacent_ranks(group.size), by_document=True).train()
    assert PACKED.segments is not None
    one_segment = replace(PACKED, segments=torch.ones_like(PACKED.segments))
    packed = answer(reference, [PACKED])
    padded = answer(reference, [PADDED])
    return {
        "packed": _difference(_sharded_answer(parts, PACKED, group), packed),
        "no segments": _difference(_sharded_answer(parts, one_segment, group), packed),
        "padded": _difference(_sharded_answer(parts, PADDED, group), padded),
        "packed, by document": _difference(_sharded_answer(alone, PACKED, group), packed),
        "padded, by document": _difference(_sharded_answer(alone, PADDED, group), padded),
        "no segments, by document": _difference(_sharded_answer(alone, one_segment, group), packed),
    }


def _difference(answer_1: Answer, answer_2: Answer) -> float:
    return max(relative_difference(answer_1[0], answer_2[0]), gradient_difference(answer_1[1], answer_2[1]))


def _sharded_answer(parts: Learner, batch: MicroBatch, group: ProcessGroup) -> Answer:
    """The loss and the gradients of all ranks, each with its part of the rows."""
    loss, gradients = answer(parts, [sequence_shard(batch, group.rank, group.size)])
    for gradient in gradients.values():
        distributed.all_reduce(gradient)
    return group.total([loss])[0], gradients
