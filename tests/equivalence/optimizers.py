"""The table of optimizers, and what ranks do with a row: follow it, save, go on, and again from what was saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from tests.plans import tiny_plan
from tunefleet.checkpoint import part
from tunefleet.checkpoint.find_checkpoint import Checkpoint
from tunefleet.contracts import RunState
from tunefleet.data.batches.order import OrderedBatches
from tunefleet.engine.group import join
from tunefleet.plan.deepspeed.config import engine_config
from tunefleet.plan.plan import Plan
from tunefleet.runs import trajectory
from tunefleet.runs.saved_weights import saved_weights

STEPS = 5
MORE = 2  # steps after what was saved
_CONF = Path(__file__).parents[2] / "conf"
ELEMENTWISE = ("adamw", "adam", "lion", "adagrad", "sgd")
UNSHARDED = ("adafactor", "muon")
SHARED_OUT = ("zero1", "zero2", "zero3", "zero2_offload", "zero3_offload")
LR = {"sgd": 0.1, "adagrad": 0.03, "lion": 3e-4, "adafactor": 0.03}


@dataclass(frozen=True)
class Row:
    """An optimizer of conf/optimizer with a strategy of conf/parallel; `cpu_kernel` computes what is offloaded."""

    optimizer: str
    parallel: str
    cpu_kernel: str = "torch"
    precision: str = "fp32"
    saves: bool = False
    masters: bool = True

    def __str__(self) -> str:
        kernel = f"-{self.cpu_kernel}" if "offload" in self.parallel else ""
        return f"{self.optimizer}-{self.parallel}{kernel}-{self.precision}{'' if self.masters else '-alone'}"

    @property
    def redundant(self) -> bool:
        """AdamW meets every strategy, the others two of five each; these cells add nothing to them."""
        if self.optimizer == "adamw" or self.optimizer not in ELEMENTWISE or self.parallel not in SHARED_OUT:
            return False
        if self.precision != "fp32" or self.cpu_kernel != "torch":
            return False
        return (ELEMENTWISE.index(self.optimizer) + SHARED_OUT.index(self.parallel)) % 5 not in (0, 2)

    def plan(self, folder: Path, ranks: int = 2, parallel: str | None = None) -> Plan:
        """The plan of this row, or of the same optimizer with another strategy."""
        optimizer = yaml.safe_load((_CONF / "optimizer" / f"{self.optimizer}.yaml").read_text())
        settings = {"lr": LR.get(self.optimizer, 3e-3), "weight_decay": 0.1, "cpu_kernel": self.cpu_kernel}
        return tiny_plan(
            folder,
            ranks=ranks,
            parallel=yaml.safe_load((_CONF / "parallel" / f"{parallel or self.parallel}.yaml").read_text()),
            optimizer={**optimizer, **settings},
            micro_batch=4 // ranks,
            global_batch=4,
            precision=self.precision,
            master_weights=self.masters or parallel == "single",
        )


ROWS = (
    *(Row(optimizer, strategy) for optimizer in ELEMENTWISE for strategy in SHARED_OUT),
    *(Row(optimizer, "ddp") for optimizer in ELEMENTWISE),
    *(Row(optimizer, "ddp", saves=True) for optimizer in UNSHARDED),
    Row("adamw", "zero2_offload", saves=True, precision="bf16"),
    Row("lion", "zero3_offload", saves=True, precision="bf16"),
    *(Row("adamw", strategy, saves=True, precision="bf16", masters=False) for strategy in ("zero1", "zero2", "zero3")),
)
COMPILED = (
    Row("adam", "zero2_offload", "deepspeed"),
    Row("adamw", "zero2_offload", "deepspeed", saves=True),
    Row("adamw", "zero3_offload", "deepspeed", saves=True),
    Row("adamw", "zero3_offload", "deepspeed", precision="bf16", saves=True),
)


def reference(row: Row, folder: Path) -> trajectory.Trajectory:
    """The plain loop of one process, with the same optimizer."""
    return trajectory.plain(row.plan(folder, ranks=1, parallel="single"), STEPS)


def followed(folder: Path, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every row, one engine after another."""
    torch.set_num_threads(1)
    group = join()
    results = [_follow(Row(**row), folder / str(number), group) for number, row in enumerate(rows)]
    group.destroy()
    return results


def _follow(row: Row, folder: Path, group: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    print(row, flush=True)
    plan = row.plan(folder)
    built = trajectory.engine(plan, group)
    results = _steps(plan, group, built, 0, STEPS)
    report = {"losses": [r.loss for r in results], "norms": [r.gradient_norm for r in results]}
    weights = {name: weight.clone() for name, weight in (built.weights() or {}).items()}  # it trains on
    report |= {"weights": trajectory.sampled(weights)}
    if row.saves:
        return report | _saved(row, folder, group, built, weights)
    built.close()
    return report


def _saved(row: Row, folder: Path, group: Any, built: Any, weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    plan = row.plan(folder)
    part.write(folder / "saved", built.shards("shards"))
    went_on = _steps(plan, group, built, STEPS, MORE)
    built.close()
    restored = trajectory.engine(plan, group)
    restored.restore(folder / "saved", "shards", STEPS)
    went_on_again = _steps(plan, group, restored, STEPS, MORE)
    restored.close()
    saved = Checkpoint(folder / "saved", RunState(step=STEPS), group.size)
    return {
        "went_on": [[r.loss, r.gradient_norm] for r in went_on],
        "went_on_again": [[r.loss, r.gradient_norm] for r in went_on_again],
        "exports_differ": _differences(weights, saved_weights(plan, saved)) if weights else [],
    }


def _steps(plan: Plan, group: Any, built: Any, first: int, count: int) -> list[Any]:
    rank = plan.layout.data_rank(group.rank)
    at = first * plan.batch.total
    batches = OrderedBatches(trajectory.rows(), plan.batch, rank, seed=3, pad=0, packed=True, position=at)
    return [built.train_step(batches.take(plan.batch.accumulation)) for _ in range(count)]


def _differences(live: dict[str, torch.Tensor], saved: dict[str, torch.Tensor]) -> list[str]:
    """Names of weights that are not the same in the engine and in the export of its checkpoint."""
    return [name for name, weight in live.items() if not torch.equal(weight, saved[name])]


def on_parts(folder: Path, argument: Any) -> list[float]:
    """Control: the losses of Adafactor under zero2, which the plan refuses."""
    torch.set_num_threads(1)
    group = join()
    plan = Row("adafactor", "ddp").plan(folder)
    parallel = replace(plan.config.parallel, name="zero2", zero_stage=2)
    config = replace(plan.config, parallel=parallel)
    engine = engine_config(parallel, config.train, plan.batch, plan.layout)
    results = trajectory.trained(replace(plan, config=config, engine=engine), group, STEPS)
    group.destroy()
    return results["losses"]
