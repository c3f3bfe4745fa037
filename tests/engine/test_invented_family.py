"""Is one file all that a new family needs: for the plan, LoRA, tensor parallelism, packing and pipeline stages?

The family is invented (`invented_family/glassfish.py`); transformers is taught its model, and nothing else is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.invented_family import CONFIG, family_file
from tests.engine.peers import STEADY, plain, plan_of
from tests.model.test_packing_families import PACKED, UNPACKED, answer, gradient_difference, relative_difference
from tests.model.test_stages import batch, cut, through
from tests.plans import tiny_plan
from tests.ranks import run_in_ranks
from tunefleet.base.errors import ConfigError
from tunefleet.config.adapter import AdapterConfig, AdapterName
from tunefleet.config.parallel import ParallelConfig
from tunefleet.data.batches.order import OrderedBatches
from tunefleet.engine.group import join
from tunefleet.model.build import build
from tunefleet.model.learner import Learner
from tunefleet.model.lora import attach
from tunefleet.plan.families import packing, sequence, tensor, tiny
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.lora_targets import lora_parameters
from tunefleet.plan.paths.model_files import Sources
from tunefleet.plan.plan import Plan
from tunefleet.runs.run_engine import engine_for
from tunefleet.runs.trajectory import rows

LORA = {"name": "lora", "rank": 4}
SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "tensor": ({"parallel": {"name": "tensor", "tensor": 2}}, "sharding its layers is exact"),
    "sequence": (
        {"parallel": {"name": "sequence", "sequence": 2}},
        "its loss on split sequences is the one on whole sequences",
    ),
    "pipeline": ({"parallel": {"name": "pipeline", "pipeline": 2}}, "which has no stages"),
    "packing": ({"data": {"packing": True}}, "its packed loss is the unpacked one"),
}


@pytest.fixture
def known() -> Iterator[None]:
    with family_file():
        yield


def planned(folder: Path, **settings: Any) -> Plan:
    data = tiny_plan(folder).config.data
    changes = {"path": data.path, "tokenizer": data.tokenizer, **settings.pop("data", {})}
    model = {"name": "mine", "init": "random", "architecture": CONFIG}
    return tiny_plan(folder, model, ranks=2, data=changes, **settings)


def built() -> Any:
    return build(Sources(None, "", Architecture(CONFIG)), seed=0)


@pytest.mark.usefixtures("known")
def test_its_memory_is_estimated_and_its_parameters_counted(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    assert plan.parameters == sum(weight.numel() for weight in built().parameters())
    assert plan.expected is not None


@pytest.mark.usefixtures("known")
def test_lora_counts_what_it_attaches(tmp_path: Path) -> None:
    plan, adapter = planned(tmp_path, adapter=LORA), AdapterConfig(name=AdapterName.LORA, rank=4)
    model = built()
    attach(model, adapter, 0, None)
    trainable = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert lora_parameters(plan.sources.architecture, adapter) == trainable > 0


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("case", SETTINGS)
def test_the_plan_allows_what_its_file_says(case: str, tmp_path: Path) -> None:
    assert planned(tmp_path, **SETTINGS[case][0]).sources.architecture.model_type == "glassfish"


@pytest.mark.parametrize("case", SETTINGS)
def test_control_without_the_file_everything_is_refused(case: str, tmp_path: Path) -> None:
    settings, reason = SETTINGS[case]
    with pytest.raises(ConfigError, match=f"is of the family glassfish.* {reason}"):
        planned(tmp_path, **settings)
    assert planned(tmp_path, data={"packing": False}).parameters is None


@pytest.mark.usefixtures("known")
def test_its_packed_loss_is_the_unpacked_one() -> None:
    assert "glassfish" in packing.exact_families()
    learner = Learner(built()).train()
    packed, alone = answer(learner, [PACKED]), answer(learner, UNPACKED)
    assert max(relative_difference(packed[0], alone[0]), gradient_difference(packed[1], alone[1])) < 1e-5


@pytest.mark.usefixtures("known")
def test_its_stages_compute_what_the_whole_model_computes(tmp_path: Path) -> None:
    assert planned(tmp_path, parallel={"name": "pipeline", "pipeline": 2}).stages == (0, 2, 4)
    model, micro_batch = built(), batch([0, 1, 2])
    assert torch.equal(through(cut(model, (0, 1, 3, 4)), micro_batch), Learner(model)(micro_batch))


@pytest.mark.usefixtures("known")
def test_two_tensor_parallel_ranks_train_what_one_process_trains(tmp_path: Path) -> None:
    assert "glassfish" in tensor.sharded_families()
    first, second = run_in_ranks("tests.engine.test_invented_family:sharded", 2, tmp_path)
    alone = plain(plan_of(tmp_path, CONFIG, 1, degree=1), rows(), 2)
    assert first == second
    assert first["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert first["norms"] == pytest.approx(alone["norms"], rel=1e-5)


def sharded(folder: Path, argument: Any) -> dict[str, Any]:
    """What a rank does: two steps of the family, sharded over all ranks."""
    torch.set_num_threads(1)
    group = join()
    with family_file():
        plan = plan_of(folder, CONFIG, group.size)
        engine = engine_for(plan, group, build(plan.sources, seed=5), STEADY)
        batches = OrderedBatches(rows(), plan.batch, 0, seed=3, pad=0, packed=True)
        results = [engine.train_step(batches.take(1)) for _ in range(2)]
        engine.close()
    group.destroy()
    return {"losses": [step.loss for step in results], "norms": [step.gradient_norm for step in results]}


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("degree", [2, 3])
def test_its_tiny_model_is_divided_by_every_degree(degree: int) -> None:
    architecture = tiny.architecture("glassfish", ParallelConfig(tensor=degree))
    assert not [size for size in tensor.divisible(architecture).values() if size % degree]
    assert architecture.parameters.total > 0
    assert sequence.refusal(architecture, 48) is None
