"""What ranks do in the tests of the pipeline: every case in one process group of two stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests.engine.stages import TOKENS, poison_gradient, poison_loss
from tests.plans import ARCHITECTURES, tiny_plan
from tunefleet.checkpoint import rng
from tunefleet.checkpoint.retention import Retention
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import RunState
from tunefleet.data.batches.order import OrderedBatches, in_order
from tunefleet.engine.group import DataParallelGroup, join
from tunefleet.evaluation.loss import mean_loss
from tunefleet.model import tokenizer
from tunefleet.model.export import export
from tunefleet.plan.paths.model_files import BUILT_IN_TOKENIZERS
from tunefleet.plan.plan import Plan
from tunefleet.runs.trajectory import engine
from tunefleet.runs.trajectory import rows as data

CASES = {
    "opt-fp32": ("deep", 0, "fp32", {"dropout": 0.1}),
    "llama-bf16": ("llama", 1, "bf16", {"tie_word_embeddings": True}),
    "gpt2-fp32": ("gpt2", 1, "fp32", {"resid_pdrop": 0.1}),
    "neox-autocast": ("gpt_neox", 0, "bf16", {"hidden_dropout": 0.1}),
    "mistral-fp32": ("mistral", 1, "fp32", {"sliding_window": 5, "attention_dropout": 0.1}),
}
NEW_TOKENS = 9


DIVIDED = ("opt-fp32", "llama-bf16")


def plan(folder: Path, case: str, tensor: int = 1, **settings: Any) -> Plan:
    """The plan of two stages of `case`, with dropout; `tensor` peers compute each."""
    name, stage, precision, changes = CASES[case]
    model = {"name": name, "init": "random", "architecture": {**ARCHITECTURES[name], **changes}}
    parallel = {"name": "pipeline", "zero_stage": stage, "pipeline": 2, "tensor": tensor}
    settings = {"global_batch": 4, "micro_batch": 2, **settings}
    return tiny_plan(folder, model, ranks=2 * tensor, parallel=parallel, precision=precision, **settings)


def batches(wanted: Plan) -> OrderedBatches:
    """The rows of the only copy of the model."""
    return OrderedBatches(data(), wanted.batch, 0, seed=3, pad=0, packed=True)


def everything(folder: Path, argument: Any) -> dict[str, dict[str, Any]]:
    """All that is asked below, in one start of the ranks."""
    torch.set_num_threads(1)
    group = join()
    found: dict[str, dict[str, Any]] = {"cases": used(folder, group, tuple(CASES)), "losses": wrong(folder, group)}
    found["messages"] = stopped(folder, group, ("opt-fp32", "llama-bf16", "gpt2-fp32"))
    group.destroy()
    return found


def divided(folder: Path, argument: Any) -> dict[str, dict[str, Any]]:
    """The same of two stages of two peers each."""
    torch.set_num_threads(1)
    group = join()
    found = {"cases": used(folder, group, DIVIDED, tensor=2), "messages": stopped(folder, group, DIVIDED, tensor=2)}
    group.destroy()
    return found


def used(folder: Path, group: Any, cases: Sequence[str], tensor: int = 1) -> dict[str, dict[str, Any]]:
    """Of every case: what it measures, answers and exports, and whether it resumes bit-equal."""
    found = {}
    words = tokenizer.load(str(BUILT_IN_TOKENIZERS["demo"]), "opt")
    for case in cases:
        wanted = plan(folder, case, tensor)
        built = engine(wanted, group)
        rng.seed_all(1, wanted.layout.rng_rank(group.rank))
        first = {name: weight.clone() for name, weight in (built.weights() or {}).items()}
        rows = batches(wanted)
        for _ in range(2):
            built.train_step(rows.take(2))
        copies = DataParallelGroup(group, wanted.layout)
        loss = mean_loss(built, copies, in_order(data(), 13, 2, copies.rank, copies.size, 0, packed=True))
        prompt = torch.tensor(TOKENS)
        built.model.eval()
        with torch.no_grad(), built.precision():
            logits = built.model(input_ids=prompt).logits
            said = built.model.generate(prompt, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=-1)
        built.model.train()
        weights = built.weights()
        if weights is not None:
            torch.save({"first": first, "logits": logits}, folder / f"{case}.pt")
            export(folder / case, built.model, weights, words, "template")
        found[case] = {"loss": loss, "said": said.tolist(), "resumed": _resumes(folder / "kept", wanted, group, built)}
        built.close()
    return found


def _resumes(folder: Path, wanted: Plan, group: Any, built: Any) -> list[float]:
    """Largest difference of loss, norm and any weight between a step after saving and one after restoring."""
    store = CheckpointStore(folder / wanted.identity, wanted.identity, group, Retention(1))
    store.save(built, RunState(step=2))
    rows = batches(wanted)
    straight = built.train_step(rows.take(2))
    expected = built.weights()
    other = engine(wanted, group)
    store.restore(other)
    resumed = other.train_step(batches(wanted).take(2))
    weights = other.weights()
    other.close()
    apart = [float((expected[n] - w).abs().max()) for n, w in weights.items()] if weights is not None else [0.0]
    return [straight.loss - resumed.loss, straight.gradient_norm - resumed.gradient_norm, max(apart)]


def stopped(folder: Path, group: Any, cases: Sequence[str], tensor: int = 1) -> dict[str, str]:
    """What is said to a NaN in the last stage's loss, and to an infinite gradient alone."""
    found = {}
    for case in cases:
        for where, poison in (("loss", poison_loss), ("gradient norm", poison_gradient)):
            wanted = plan(folder, case, tensor)
            built = engine(wanted, group)
            poison(built)
            before = built._stage.model.state_dict()
            before = {name: weight.clone() for name, weight in before.items()}
            refusal = built.train_step(batches(wanted).take(2)).refusal
            message = refusal.reason if refusal else "applied"
            kept = all(torch.equal(weight, before[name]) for name, weight in built._stage.model.state_dict().items())
            found[f"{case} {where}"] = f"{message} {'untouched' if kept else 'touched'}"
    return found


def wrong(folder: Path, group: Any) -> dict[str, float]:
    """The first loss as it should be, and where the last stage mixes conversations or takes rows in another order.

    Of an OPT: it does not tell conversations apart by their positions.
    """
    found = {}
    spoils = {
        "right": lambda rows: rows,
        "mixed": lambda rows: [replace(batch, segments=None) for batch in rows],
        "shuffled": lambda rows: list(reversed(rows)),
    }
    for name, spoil in spoils.items():
        parallel = {"name": "pipeline", "pipeline": 2}
        wanted = tiny_plan(folder, "opt", ranks=2, parallel=parallel, global_batch=4, micro_batch=2)
        built = engine(wanted, group)
        load = built._stage.load
        built._stage.load = lambda rows, load=load, spoil=spoil: load(spoil(rows) if group.rank else rows)
        found[name] = built.train_step([_padded(batch) for batch in batches(wanted).take(2)]).loss
        built.close()
    return found


def _padded(batch: Any) -> Any:
    """One width for all, so that only what is in them can differ."""
    fills = {"tokens": 0, "positions": 0, "labels": -100, "segments": 0}
    short = 48 - batch.tokens.shape[1]
    pad = torch.nn.functional.pad
    return replace(batch, **{name: pad(getattr(batch, name), (0, short), value=v) for name, v in fills.items()})
