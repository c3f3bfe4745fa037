"""Training runs through the real parts: rows of a file, a tokenizer of a folder, a model from files or from scratch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tests.equivalence.plain_transformers import BETAS, CLIP, DROPOUT_SEED, INIT_SEED, LORA, LR, STEPS, WARMUP
from tests.plans import LLAMA, OPT, tiny_plan
from tests.shared import tiny_tokenizer
from tunefleet.contracts import MicroBatch, RunState
from tunefleet.engine.group import join
from tunefleet.plan.plan import Plan
from tunefleet.runs.inputs import load_inputs, training_batches
from tunefleet.runs.run_engine import build_engine

TEMPLATE = (
    "{% for m in messages %}{{ 'User: ' + m.content + '\n' if m.role == 'user' else 'Assistant: ' + m.content + "
    "eos_token }}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
IDS = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
ARCHITECTURES = {"opt": {**OPT, **IDS, "vocab_size": 320}, "llama": {**LLAMA, **IDS, "vocab_size": 320}}
_ANSWERS = ["Paris.", "four", "I have turned on the light.", "no", "turn right", "a long answer, please: " + "la " * 5]


@dataclass(frozen=True)
class Run:
    """One run of six steps of four rows; a packed row holds several conversations."""

    model: str
    parallel: str
    ranks: int
    files: bool
    micro_batch: int = 1
    packed: bool = False
    lora: bool = False
    dropout: float = 0.0

    def __str__(self) -> str:
        more = [flag for flag in ("packed", "lora", "dropout") if getattr(self, flag)]
        start = "files" if self.files else "scratch"
        return "-".join([self.model, self.parallel, f"{self.ranks}x{self.micro_batch}", start, *more])

    @property
    def architecture(self) -> dict[str, Any]:
        """What is built from scratch; config.json in the folder of its weights."""
        changed = {"dropout": self.dropout} if self.model == "opt" else {}
        return {**ARCHITECTURES[self.model], **changed}

    @property
    def weights(self) -> str:
        """The name of the folder of weights."""
        return f"{self.model}-{self.dropout}"


def inputs(folder: Path) -> None:
    """Rows and a tokenizer with a chat template."""
    rows = []
    for number, answer in enumerate(_ANSWERS * 3):
        question = {"role": "user", "content": f"What is {'so ' * (number % 4)}{number}?"}
        rows.append({"messages": [question, {"role": "assistant", "content": answer}]})
    (folder / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text_tokenizer = tiny_tokenizer()
    text_tokenizer.chat_template = TEMPLATE
    text_tokenizer.save_pretrained(folder / "words")


def plan_of(folder: Path, run: Run) -> Plan:
    """The plan as a user would ask for it."""
    start: dict[str, Any] = {"path": str(folder / run.weights)}
    if not run.files:
        start = {"init": "random", "architecture": run.architecture}
    adapter = {"name": "lora", "rank": LORA["r"], "alpha": float(LORA["lora_alpha"])} if run.lora else {}
    return tiny_plan(
        folder,
        {"name": run.model, "tokenizer": str(folder / "words"), **start},
        run.ranks,
        parallel={"name": run.parallel, "zero_stage": int(run.parallel[-1]) if run.parallel != "single" else 0},
        optimizer={"lr": LR, "weight_decay": 0.1, "betas": list(BETAS), "eps": 1e-8},
        schedule={"name": "cosine", "warmup": WARMUP},
        adapter=adapter,
        data={
            "path": str(folder / "chats.jsonl"),
            "validation_rows": 0,
            "packing": run.packed,
            "cache": str(folder / "cache"),
        },
        micro_batch=run.micro_batch,
        global_batch=4,
        max_steps=STEPS,
        sequence_length=64,
        clip=CLIP,
        seed=INIT_SEED,
    )


def all_runs(folder: Path, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Losses, norms and the tokens of every step's conversations; weights are written into `folder`."""
    torch.set_num_threads(1)
    group = join()
    results = [_run(folder, Run(**run), group) for run in runs]
    group.destroy()
    return results


def _run(folder: Path, run: Run, group: Any) -> dict[str, Any]:
    plan = plan_of(folder, run)
    read = load_inputs(plan)
    engine = build_engine(plan, group, read)
    torch.manual_seed(DROPOUT_SEED)
    batches = training_batches(plan, group, read, RunState())
    steps = [batches.take(plan.batch.accumulation) for _ in range(STEPS)]
    results = [engine.train_step(step) for step in steps]
    weights = engine.weights()
    if weights is not None:
        torch.save({name: weight.clone() for name, weight in weights.items()}, folder / f"{run}.pt")
    batches.close()
    engine.close()
    return {
        "losses": [result.loss for result in results],
        "norms": [result.gradient_norm for result in results],
        "conversations": [[tokens for batch in step for tokens in _conversations(batch)] for step in steps],
    }


def _conversations(batch: MicroBatch) -> list[list[int]]:
    """The tokens of every conversation of a micro-batch, in order; padding is token 1."""
    segments = batch.segments if batch.segments is not None else (batch.tokens != 1).long()
    rows = zip(batch.tokens, segments, strict=True)
    return [
        tokens[numbers == number].tolist() for tokens, numbers in rows for number in range(1, int(numbers.max()) + 1)
    ]


def as_argument(runs: list[Run]) -> list[dict[str, Any]]:
    """The runs as JSON."""
    return [asdict(run) for run in runs]
