"""Can the tiny models be divided by every degree that a strategy may have?"""

from __future__ import annotations

import pytest

from tunefleet.config.parallel import ParallelConfig
from tunefleet.plan.families import tensor
from tunefleet.plan.families.registry import countable
from tunefleet.plan.families.tiny import architecture


@pytest.mark.parametrize("degree", [1, 2, 3, 8, 12])
@pytest.mark.parametrize("family", countable())
def test_every_degree_divides_the_tiny_models(family: str, degree: int) -> None:
    divided = architecture(family, ParallelConfig(tensor=degree))
    assert not [size for size in tensor.divisible(divided).values() if size % degree]
    assert architecture(family, ParallelConfig(sequence=degree)).dimensions.heads % degree == 0
    assert architecture(family, ParallelConfig(pipeline=degree)).dimensions.layers >= degree
