"""Is what we say autograd keeps what autograd keeps?"""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import torch

from tests.families import EVERY
from tunefleet.config.train import Precision
from tunefleet.model.build import build
from tunefleet.model.learner import Learner
from tunefleet.plan.activations import LOSS_BYTES, activations
from tunefleet.plan.contracts import MicroBatch
from tunefleet.plan.parameters import count
from tunefleet.plan.sources import Sources
from tunefleet.plan.spread import Spread
from tunefleet.plan.work import Work

ROWS, LENGTH = 4, 64
LARGER = {
    **{"hidden_size": 128, "n_embd": 128, "word_embed_proj_dim": 128, "head_dim": 32},
    **{"intermediate_size": 512, "ffn_dim": 512, "num_hidden_layers": 4, "n_layer": 4},
}
EXACT = ("opt", "llama", "qwen2", "gpt2", "gpt_neox")
NEAR = ("gemma2", "gemma3_text", "olmo2", "phi", "phi3", "qwen3", "stablelm", "starcoder2", "mixtral", "cohere")


def larger(name: str, **changes: Any) -> dict[str, Any]:
    """The tiny architecture, wide and deep enough that small change does not count."""
    shape = copy.deepcopy(EVERY[name])
    shape |= {key: value for key, value in LARGER.items() if key in shape}
    if "layer_types" in shape:
        shape["layer_types"] *= 2
    return shape | changes


def kept_by_autograd(shape: dict[str, Any], packed: bool, precision: str, checkpointing: bool = False) -> int:
    """Bytes of all tensors that a forward pass saves, each storage once, without weights."""
    model = build(Sources(None, "", shape), 0, checkpointing)
    learner = Learner(model.to(torch.bfloat16) if precision == "bf16" else model).train()
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    found: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        found.setdefault(tensor.untyped_storage().data_ptr(), tensor)  # held, so that no address is used again
        return tensor

    positions = torch.arange(LENGTH) % (16 if packed else LENGTH)
    segments = (torch.arange(LENGTH) // 16).expand(ROWS, LENGTH).contiguous() if packed else None
    tokens = torch.randint(3, 90, (ROWS, LENGTH))
    batch = MicroBatch(tokens, positions.expand(ROWS, LENGTH).contiguous(), tokens, segments)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16) if precision == "autocast" else contextlib.nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        learner(batch)
    return sum(tensor.untyped_storage().nbytes() for address, tensor in found.items() if address not in weights)


def foreseen(shape: dict[str, Any], packed: bool, precision: str, checkpointing: bool = False) -> int:
    """The same from the formulas: of the loss the log-softmax is kept, 4 of its bytes; autocast keeps its weights."""
    fp32 = precision == "fp32"
    work = Work(ROWS, LENGTH, packed=packed, checkpointing=checkpointing)
    task = Work(**{**vars(work), "precision": Precision.FP32 if fp32 else Precision.BF16})
    said = activations(shape, task, Spread(zero_stage=int(precision == "bf16")), on_gpu=False)
    other = ROWS * LENGTH * shape["vocab_size"] * (LOSS_BYTES - 4)
    return said.kept + said.mask + said.loss - other + (2 * count(shape).total if precision == "autocast" else 0)


@pytest.mark.parametrize(
    ("packed", "precision"),
    [(True, "fp32"), (False, "fp32"), (True, "bf16"), (True, "autocast")],
)
@pytest.mark.parametrize("family", EXACT)
def test_what_is_kept(family: str, packed: bool, precision: str) -> None:
    shape = larger(family)
    assert foreseen(shape, packed, precision) == pytest.approx(kept_by_autograd(shape, packed, precision), rel=0.05)


@pytest.mark.parametrize("family", NEAR)
def test_other_families_nearly(family: str) -> None:
    shape = larger(family)
    assert foreseen(shape, True, "bf16") == pytest.approx(kept_by_autograd(shape, True, "bf16"), rel=0.08)


def test_dropout_keeps_its_masks() -> None:
    shape = larger("opt", dropout=0.1)
    assert foreseen(shape, True, "fp32") == pytest.approx(kept_by_autograd(shape, True, "fp32"), rel=0.05)
    assert foreseen(shape, True, "fp32") > 1.1 * foreseen(larger("opt"), True, "fp32")


@pytest.mark.parametrize("family", EXACT)
def test_checkpointing_keeps_what_stands_between_layers(family: str) -> None:
    shape = larger(family)
    measured = kept_by_autograd(shape, True, "fp32", checkpointing=True)
    assert foreseen(shape, True, "fp32", checkpointing=True) == pytest.approx(measured, rel=0.1)


def test_degrees_divide() -> None:
    shape = larger("llama")
    whole = activations(shape, Work(ROWS, LENGTH), Spread(zero_stage=1), on_gpu=True)
    halves = activations(shape, Work(ROWS, LENGTH), Spread(zero_stage=1, sequence=2), on_gpu=True)
    tensor = activations(shape, Work(ROWS, LENGTH), Spread(zero_stage=1, tensor=2), on_gpu=True)
    assert halves.kept == pytest.approx(whole.kept / 2, abs=1)
    assert halves.loss == pytest.approx(whole.loss / 2, abs=1)
    assert whole.kept / 2 < tensor.kept < whole.kept  # norms are computed by every tensor peer


def test_a_pipeline_s_first_stage_has_as_many_micro_batches_as_stages() -> None:
    shape = larger("llama")
    one = activations(shape, Work(1, LENGTH, accumulation=8), Spread(zero_stage=1), on_gpu=True)
    four = activations(shape, Work(1, LENGTH, accumulation=8), Spread(zero_stage=1, pipeline=4), on_gpu=True)
    assert four.kept == one.kept  # a quarter of the layers, four times


def test_in_tiles_only_one_of_them_has_logits() -> None:
    shape = larger("llama")
    whole, tiled = (activations(shape, Work(ROWS, LENGTH, tile=t), Spread(zero_stage=1), True) for t in (None, 16))
    assert tiled.kept == whole.kept
    assert whole.loss - tiled.loss == (ROWS * LENGTH - 16) * shape["vocab_size"] * LOSS_BYTES
    assert activations(shape, Work(ROWS, LENGTH, tile=10_000), Spread(zero_stage=1), True) == whole
