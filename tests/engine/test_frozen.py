"""Does the number of frozen weights see every change, and no difference of sharing; do they stay out of states?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tunefleet.engine.frozen import combine, fingerprint, without_frozen

DTYPES = (torch.float32, torch.bfloat16, torch.uint8)


def model(dtype: torch.dtype = torch.float32) -> Any:
    """Two frozen weights, tied ones among them, and one that learns."""
    torch.manual_seed(0)
    made: Any = nn.ModuleDict({name: nn.Linear(5, 3, bias=False) for name in ("one", "two", "learns")})
    made["tied"] = nn.Module()
    for name in ("one", "two"):
        value = (made[name].weight.detach() * 100).to(dtype)
        made[name].weight = nn.Parameter(value, requires_grad=False)
    made["tied"].register_parameter("weight", made["one"].weight)
    return made


def number(made: Any, ranks: int = 1) -> int:
    return combine([fingerprint(made, rank, ranks) for rank in range(ranks)])


class Quantised(nn.Linear):
    """A frozen layer of which bitsandbytes' state has more than its weight."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.requires_grad_(requires_grad=False)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)  # type: ignore[no-untyped-call]
        for name in ("weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__nf4"):
            destination[prefix + name] = torch.zeros(1)


def test_nothing_of_a_quantised_weight_is_in_the_state() -> None:
    """Of a layer in the model, of the model itself, and not what only begins with the same letters."""
    made = nn.ModuleDict({"base": Quantised(), "weight": nn.Linear(1, 1, bias=False)})
    assert "base.weight.absmax" in made.state_dict()  # the control
    with without_frozen(made):
        assert set(made.state_dict()) == {"weight.weight"}
    alone = Quantised()
    with without_frozen(alone):
        assert not alone.state_dict()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_and_every_place_counts(dtype: torch.dtype) -> None:
    first = number(model(dtype))
    assert number(model(dtype)) == first
    changed, swapped, exchanged = model(dtype), model(dtype), model(dtype)
    changed["two"].weight.data.view(torch.uint8)[2, 1] ^= 1
    swapped["two"].weight.data[0] = swapped["two"].weight.data[1]
    one, two = exchanged["one"].weight.data.clone(), exchanged["two"].weight.data.clone()
    exchanged["one"].weight.data, exchanged["two"].weight.data = two, one
    assert len({first, number(changed), number(swapped), number(exchanged)}) == 4


def test_what_learns_does_not_count() -> None:
    made = model()
    before = number(made)
    made["learns"].weight.data += 1
    assert number(made) == before


@pytest.mark.parametrize("ranks", [2, 4])
def test_it_does_not_matter_how_weights_are_shared_out(ranks: int) -> None:
    assert number(model(), ranks) == number(model())
    parts = []
    for rank in range(ranks):
        made = model()
        for name in ("one", "two"):
            weight = made[name].weight
            size = -(-weight.numel() // ranks)
            padded = nn.functional.pad(weight.detach().flatten(), (0, size * ranks - weight.numel()), value=7.0)
            weight.ds_tensor, weight.ds_numel = padded[rank * size : (rank + 1) * size], weight.numel()
        parts.append(fingerprint(made, rank, ranks))
    assert combine(parts) == number(model())


def test_frozen_weights_stay_out_of_a_state_under_both_names() -> None:
    made = model()
    with without_frozen(made):
        assert list(made.state_dict()) == ["learns.weight"]
    assert len(made.state_dict()) == 4
