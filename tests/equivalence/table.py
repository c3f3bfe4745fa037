"""The table: which strategies follow the plain loop, with which models, ranks and splits of the batch.

A new strategy is one row.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.plans import tiny_plan, tokenizer_folder
from tests.selection import with_marks
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.machine import devices

GLOBAL_BATCH = 4
RANKS = (1, 2, 4)
MODELS = ("opt", "llama")
FAMILIES = ("gpt2", "gpt_neox", "mistral", "qwen2")
_CARDS = Path(__file__).parents[2] / "conf" / "parallel"


@dataclass(frozen=True)
class Strategy:
    """A file of conf/parallel, the ranks and precisions that it is followed with, and changes of its settings.

    `splits` are micro-batches: in fp32 each of them that fits, in bf16 the widest; `train` changes settings of the
    training loop.
    """

    name: str
    ranks: tuple[int, ...] = RANKS
    precisions: tuple[str, ...] = ("fp32", "bf16")
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: tuple[str, ...] = MODELS
    splits: tuple[int, ...] = (1, 2, 4)
    train: Mapping[str, Any] = field(default_factory=dict)
    gpu_only: bool = False

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{name}{value}" for name, value in {**self.settings, **self.train}.items())])

    @property
    def parallel(self) -> dict[str, Any]:
        """The group `parallel` of a configuration."""
        return {**yaml.safe_load((_CARDS / f"{self.name}.yaml").read_text()), **self.settings}

    def copies(self, ranks: int) -> int:
        """Copies of the model that `ranks` processes hold."""
        degrees = [self.parallel.get(name, 1) for name in ("tensor", "pipeline", "sequence")]
        return ranks // (degrees[0] * degrees[1] * degrees[2])


_STAGED_AND_SHARDED = ("gpt_neox", "mistral", "qwen2")  # families that have stages and are divided
_EXACT = {"quantized_weights": False, "quantized_gradients": False}

TABLE = (
    Strategy("zero1"),
    Strategy("zero2"),
    Strategy("zero3"),
    Strategy("zero3", ranks=(2,), precisions=("fp32",), splits=(1,), train={"loss_tile": 5}),  # uneven tiles
    Strategy("sequence", ranks=(2, 4), splits=(2,)),
    Strategy("sequence", ranks=(2,), splits=(2,), settings={"zero_stage": 2}, models=("llama",)),
    Strategy("sequence", ranks=(4,), splits=(2,), settings={"zero_stage": 1}, models=("opt",)),
    Strategy("sequence", ranks=(2,), precisions=("fp32",), splits=(2,), settings={"zero_stage": 0}, models=("opt",)),
    Strategy("sequence", ranks=(4,), precisions=("fp32",), splits=(4,), settings={"sequence": 4}, models=("llama",)),
    Strategy("sequence", ranks=(2,), precisions=("fp32",), splits=(2,), train={"loss_tile": 5}, models=("llama",)),
    Strategy("zero2_offload", ranks=(2,), splits=(2,)),
    Strategy("zero3_offload", ranks=(2,), splits=(2,)),
    Strategy("zeropp", ranks=(4,), splits=(1,), settings={**_EXACT, "hierarchical": 2}, models=("llama",)),
    Strategy("zeropp", ranks=(2, 4), gpu_only=True),
    Strategy("zero3_nvme", ranks=(2,), settings={"nvme_path": "/tmp"}, gpu_only=True),
    Strategy("tensor", ranks=(2,), precisions=("fp32",), splits=(2,)),
    Strategy("tensor_zero1", ranks=(4,), splits=(1,)),
    Strategy("tensor_zero2", ranks=(4,), precisions=("fp32",), splits=(2,)),
    Strategy("pipeline_zero1", ranks=(2, 4), splits=(1,)),
    Strategy("tensor_pipeline", ranks=(4,), splits=(1, 2)),
    Strategy("tensor_pipeline", (4,), ("fp32",), splits=(1,), models=_STAGED_AND_SHARDED, settings={"zero_stage": 0}),
    Strategy("tensor_pipeline", ranks=(8,), precisions=("fp32",), splits=(1,)),
    Strategy("zero2_offload", ranks=(2,), precisions=("fp32",), splits=(2,), settings={"tensor": 2}, models=("llama",)),
    Strategy("single", ranks=(1,)),
    Strategy("tensor", ranks=(4,), splits=(2,)),
    Strategy("pipeline", ranks=(2,), precisions=("fp32",), models=FAMILIES, splits=(1,)),
    Strategy("pipeline", ranks=(4,), settings={"pipeline": 4}, models=("deep",), splits=(1,)),
    Strategy("ddp"),  # last, with single: DeepSpeed's autocast (stage 0, bf16) is global to the process
)


@dataclass(frozen=True)
class Case:
    """One run of the same steps as all others."""

    row: int
    model: str
    ranks: int
    micro_batch: int
    precision: str
    files: bool
    """Whether its first weights are read from a file, as a pretrained model's."""
    redundant: bool = False

    def __str__(self) -> str:
        start = "files" if self.files else "scratch"
        return f"{self.model}-{self.ranks}ranks-{TABLE[self.row]}-micro{self.micro_batch}-{self.precision}-{start}"

    def plan(self, folder: Path) -> Plan:
        """The plan of this run; `folder` holds the weights of every model under its name."""
        return tiny_plan(
            folder,
            model=self._filed(folder) if self.files else self.model,
            ranks=self.ranks,
            parallel=TABLE[self.row].parallel,
            micro_batch=self.micro_batch,
            global_batch=GLOBAL_BATCH,
            precision=self.precision,
            **TABLE[self.row].train,
        )

    def _filed(self, folder: Path) -> dict[str, str]:
        return {"name": self.model, "path": str(folder / self.model), "tokenizer": str(tokenizer_folder(folder))}


def gpus() -> int:
    """GPUs of this machine: rows that need them are left out where there are fewer."""
    return len(devices(os.environ))


def cases(ranks: int) -> list[Case]:
    """Every case for `ranks` processes; in fp32 its splits of the global batch, in bf16 the widest micro-batch.

    Where a strategy has OPT and Llama, every second of its cases is redundant, chosen so that each model, split,
    precision and start (from scratch or files) meets each other one, with other numbers of ranks the other ones.
    """
    cases = []
    for number, strategy in enumerate(TABLE):
        if ranks in strategy.ranks and (gpus() >= ranks or not strategy.gpu_only):
            widest = GLOBAL_BATCH // strategy.copies(ranks)
            splits = [micro for micro in strategy.splits if micro <= widest]
            runs = [(p, micro) for p in strategy.precisions for micro in (splits if p == "fp32" else splits[-1:])]
            place = strategy.ranks.index(ranks)
            halved = strategy.models == MODELS and len(runs) > 1
            for i, (precision, micro) in enumerate(runs):
                for j, model in enumerate(strategy.models):
                    files = (i + i // 2 + j * (not halved) + number // 2 + place) % 2 == 0
                    redundant = halved and (i + j + number + place) % 2 == 1
                    cases.append(Case(number, model, ranks, micro, precision, files, redundant))
    return cases


def parameters(ranks: int) -> list[Any]:
    """`cases` for pytest."""
    return with_marks(cases(ranks), lambda case: case.redundant)
