"""How many useful tokens a second: tunefleet against a padding loop and a hand-written packing loop.

Three contestants train the same 45M-parameter OPT (6 layers x 512, vocabulary 50,272, bf16 autocast) on
conversations of the same lengths, in turns, in one process:

    tunefleet   packed rows, logits only where a label is, DeepSpeed engine (stage 0)
    padded      every conversation padded to the sequence length, loss over all tokens, the same DeepSpeed
                engine: what DeepSpeed-Chat's step 1 does
    by hand     a plain torch loop with the same packing and label-only logits, no DeepSpeed

Useful tokens are tokens of conversations: padding does not count. A step is taken to have as many as its rows have on
the mean of all data: the longest rows come first in a run. The lengths are those of Alpaca, from the file where
`--data` and `--tokenizer` name it, else drawn from its quantiles below.

    python -m benchmarks.throughput [--data alpaca_data.json --tokenizer FOLDER] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SEQUENCE, MICRO, ACCUMULATION = 512, 4, 2
ARCHITECTURE: dict[str, Any] = {
    "model_type": "opt",
    "vocab_size": 50272,
    "hidden_size": 512,
    "word_embed_proj_dim": 512,
    "ffn_dim": 2048,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "max_position_embeddings": SEQUENCE,
    "do_layer_norm_before": True,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 2,
}
# Tokens of Alpaca's prompts (alpaca template) and answers under the OPT tokenizer, at 0, 10, ... 100 %.
PROMPT_QUANTILES = (30, 36, 38, 39, 41, 42, 44, 48, 55, 65, 300)
ANSWER_QUANTILES = (2, 8, 15, 24, 35, 46, 59, 77, 97, 133, 450)


def main() -> None:
    """Prints one line for each contestant and the two ratios."""
    chosen = _arguments()
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=_port())
    import torch

    if not torch.cuda.is_available():
        os.environ["DS_ACCELERATOR"] = "cpu"
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    speeds = measure(_lengths(chosen.data, chosen.tokenizer), chosen.rounds)
    for name, values in speeds.items():
        told = ", ".join(f"{value:,.0f}" for value in values)
        print(f"{name:<10} {statistics.median(values):>9,.0f} useful tokens/s (rounds: {told})")
    ours = statistics.median(speeds["tunefleet"])
    for rival in ("padded", "by hand"):
        print(f"tunefleet / {rival} = {ours / statistics.median(speeds[rival]):.2f}")


def measure(lengths: Sequence[tuple[int, int]], rounds: int) -> dict[str, list[float]]:
    """Useful tokens a second of every contestant in every round; the first, unmeasured round warms up."""
    from tunefleet.engine.group import join

    group = join()
    with tempfile.TemporaryDirectory() as folder:
        steps = contestants(Path(folder), lengths, group)
        speeds: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(rounds + 1):
            for name, step in steps.items():
                started = time.perf_counter()
                useful = step()
                if number:
                    speeds[name].append(useful / (time.perf_counter() - started))
    group.destroy()
    return speeds


def contestants(folder: Path, lengths: Sequence[tuple[int, int]], group: Any) -> dict[str, Callable[[], float]]:
    """What each does in one optimizer step of MICRO x ACCUMULATION rows; it returns the useful tokens."""
    packed = _dataset(lengths, packed=True)
    plan = _plan(folder, packing=True)
    return {
        "tunefleet": _tunefleet(plan, packed, group),
        "padded": _padded(_plan(folder, packing=False), _dataset(lengths, packed=False)),
        "by hand": _by_hand(plan, packed),
    }


def _tunefleet(plan: Any, data: Any, group: Any) -> Callable[[], float]:
    from tunefleet.engine.zero import ZeroEngine
    from tunefleet.model.learner import Learner
    from tunefleet.optim.build_optimizer import build_optimizer

    learner = Learner(_model())
    engine = ZeroEngine(plan, group, learner, build_optimizer(plan.config.optimizer, learner), lambda step: 1e-4)
    batches = _batches(plan, data, packed=True)

    def step() -> float:
        taken = batches.take(ACCUMULATION)
        engine.train_step(taken)
        return _useful(data)

    return step


def _padded(plan: Any, data: Any) -> Callable[[], float]:
    """As in DeepSpeed-Chat: labels are the padded input, all logits, transformers' own mean loss."""
    import deepspeed
    import torch
    from torch.nn.functional import pad

    from tunefleet.optim.build_optimizer import build_optimizer

    model = _model()
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=build_optimizer(plan.config.optimizer, model), config=plan.engine
    )
    batches = _batches(plan, data, packed=False)

    def step() -> float:
        taken = batches.take(ACCUMULATION)
        for batch in taken:
            width = SEQUENCE - batch.tokens.shape[1]
            tokens = pad(batch.tokens, (0, width), value=1).to(engine.device)
            attention = pad(torch.ones_like(batch.tokens), (0, width)).to(engine.device)
            loss = engine(input_ids=tokens, attention_mask=attention, labels=tokens, use_cache=False).loss
            engine.backward(loss)
            engine.step()
        _wait()
        return _useful(data)

    return step


def _by_hand(plan: Any, data: Any) -> Callable[[], float]:
    """A good torch loop: autocast, packing with a block-diagonal mask, output projection at labels only."""
    import torch
    from torch.nn.functional import cross_entropy
    from torch.nn.utils import clip_grad_norm_
    from torch.optim import AdamW

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = _model().to(device)
    optimizer = AdamW(model.parameters(), lr=1e-4)
    batches = _batches(plan, data, packed=True)

    def step() -> float:
        taken = batches.take(ACCUMULATION)
        learning = sum(int((batch.labels >= 0).sum()) for batch in taken)
        for batch in taken:
            tokens, positions = batch.tokens.to(device), batch.positions.to(device)
            segments, labels = batch.segments.to(device), batch.labels.to(device)
            causal = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=device).tril()
            mask = (segments[:, None, :, None] == segments[:, None, None, :]) & causal
            with torch.autocast(device, dtype=torch.bfloat16):
                hidden = model.model(input_ids=tokens, position_ids=positions, attention_mask=mask, use_cache=False)[0]
                chosen = labels >= 0
                loss = cross_entropy(model.lm_head(hidden[chosen]).float(), labels[chosen], reduction="sum") / learning
            loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        _wait()
        return _useful(data)

    return step


def _model() -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**ARCHITECTURE), attn_implementation="sdpa").train()


def _plan(folder: Path, packing: bool) -> Any:
    from tests.plans import tiny_plan

    return tiny_plan(
        folder,
        model={"name": "opt-45m", "init": "random", "architecture": ARCHITECTURE},
        data={"path": "demo", "packing": packing, "tokenizer": "demo"},
        sequence_length=SEQUENCE,
        micro_batch=MICRO,
        global_batch=MICRO * ACCUMULATION,
        precision="bf16",
    )


def _dataset(lengths: Sequence[tuple[int, int]], packed: bool) -> Any:
    """Conversations of random tokens with the given (prompt, answer) lengths."""
    from tunefleet.data.store.dataset import Card, Dataset
    from tunefleet.data.store.packing import pack

    drawn = np.random.default_rng(0)
    cut = [min(prompt + answer, SEQUENCE) for prompt, answer in lengths]
    learns = [np.arange(n) >= min(prompt, n - 1) for n, (prompt, _) in zip(cut, lengths, strict=True)]
    rows = pack(cut, SEQUENCE) if packed else [[i] for i in range(len(cut))]
    tokens = drawn.integers(4, 50265, size=sum(cut)).astype(np.int32)
    card = Card("train", len(cut), len(rows), sum(cut), 0, 0, 0, max(cut), SEQUENCE)
    bounds = np.cumsum([0] + [len(row) for row in rows])
    return Dataset(card, tokens, np.concatenate(learns), np.cumsum([0, *cut]), np.concatenate(rows), bounds, [])


def _batches(plan: Any, data: Any, packed: bool) -> Any:
    from tunefleet.data.batches.order import OrderedBatches

    return OrderedBatches(data, plan.batch, 0, seed=0, pad=1, packed=packed)


def _useful(data: Any) -> float:
    """Tokens of a step that are not padding, on the mean."""
    return float(data.card.tokens / data.card.rows * MICRO * ACCUMULATION)


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _lengths(data: Path | None, tokenizer: Path | None, count: int = 4000) -> list[tuple[int, int]]:
    """(prompt, answer) tokens of `count` conversations."""
    if data and tokenizer:
        return _measured_lengths(data, tokenizer, count)
    drawn = np.random.default_rng(0)
    places = np.linspace(0, 1, 11)
    prompts = np.interp(drawn.random(count), places, PROMPT_QUANTILES).astype(int)
    answers = np.interp(drawn.random(count), places, ANSWER_QUANTILES).astype(int)
    return list(zip(prompts.tolist(), answers.tolist(), strict=True))


def _measured_lengths(data: Path, folder: Path, count: int) -> list[tuple[int, int]]:
    from tunefleet.config.data import DataConfig, SourceConfig, TrainOn
    from tunefleet.data.encode.loss_mask import encode
    from tunefleet.data.formats.collect import collect
    from tunefleet.data.prepare import chat_template
    from tunefleet.data.read.bad_rows import BadRows
    from tunefleet.data.read.sources import Source
    from tunefleet.model.tokenizer import load

    words = load(str(folder), "opt")
    rows = collect(Source("train", SourceConfig(path=str(data), max_rows=count)), BadRows(Path(os.devnull), cap=count))
    encoded = encode(rows, chat_template(DataConfig(template="alpaca"), words), words, TrainOn.RESPONSE, 1 << 20)
    return [(int((~e.loss_mask).sum()), int(e.loss_mask.sum())) for e in encoded]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def _port() -> str:
    from tunefleet.launch.local import free_port

    return str(free_port())


if __name__ == "__main__":
    main()
