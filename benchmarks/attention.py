"""How does the cost of a step grow with the length of packed sequences, with a mask and by document?

Forward and backward pass of one micro-batch, CPU seconds of one thread, bf16 autocast: two equal models, one of each
way, in turns in one process, on the same packed rows. The lengths of conversations are those of Alpaca under the OPT
tokenizer, from the quantiles of `benchmarks.throughput`. The models: the 45M OPT of that benchmark (6 layers x 512,
8 heads, vocabulary 50,272), and a Llama of the same width whose 8 query heads share 2 key heads.

    python -m benchmarks.attention [--lengths 512 2048] [--models opt llama] [--rounds 3]
    python -m benchmarks.attention --kernel

With `--kernel`: one conversation, 8 heads x 64, in bf16 and by way of fp32.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks import alpaca_lengths
from benchmarks.throughput import architecture

LENGTHS = (512, 1024, 2048, 4096, 8192)
AT_LEAST = 2048
"""Tokens of a micro-batch: shorter rows are taken together."""
KERNEL_LENGTHS = (64, 128, 256, 512, 1024, 2048)
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "opt": architecture("opt-45m", max(LENGTHS)),
    "llama": {
        "model_type": "llama",
        "vocab_size": 50272,
        "hidden_size": 512,
        "intermediate_size": 1376,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "max_position_embeddings": max(LENGTHS),
        "tie_word_embeddings": True,
    },
}


def main() -> None:
    """A line for each model and length: CPU milliseconds for 1,000 tokens with a mask, by document, and their ratio."""
    import torch

    torch.set_num_threads(1)
    chosen = _arguments()
    if chosen.kernel:
        return _kernels(chosen.rounds)
    print("model   length  rows  conversations  with a mask  by document  ratio   (CPU ms for 1,000 tokens, medians)")
    for name in chosen.models:
        learners = [_learner(name, by_document) for by_document in (False, True)]
        for learner in learners:
            _step(learner, _batch(min(LENGTHS)))  # warms up
        for length in chosen.lengths:
            batch = _batch(length)
            masked, alone = _in_turns([partial(_step, learner, batch) for learner in learners], chosen.rounds)
            documents = int(batch.segments.amax(1).sum())
            scaled = [1e6 * seconds / batch.tokens.numel() for seconds in (masked, alone)]
            cells = f"{length:>7}  {len(batch.tokens):>4}  {documents:>13}  {scaled[0]:>11.0f}  {scaled[1]:>11.0f}"
            print(f"{name:<6} {cells}  {masked / alone:>5.2f}", flush=True)
    return None


def _in_turns(acts: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """The median CPU seconds of each."""
    taken = [[_timed(act) for act in acts] for _ in range(rounds)]
    return [statistics.median(seconds) for seconds in zip(*taken, strict=True)]


def _step(learner: Any, batch: Any) -> None:
    import torch

    with torch.autocast("cpu", torch.bfloat16):
        loss = learner(batch)
    loss.backward()
    learner.zero_grad()


def _learner(name: str, by_document: bool) -> Any:
    from tunefleet.model.build import build
    from tunefleet.model.learner import Learner
    from tunefleet.plan.families.architecture import Architecture
    from tunefleet.plan.paths.model_files import Sources

    model = build(Sources(None, "", Architecture(ARCHITECTURES[name])), seed=0)
    return Learner(model, by_document=by_document).train()


def _batch(length: int) -> Any:
    """Packed rows of `length` tokens, AT_LEAST tokens of them or one; answers alone are in the loss."""
    from tunefleet.data.batches.collate import collate

    drawn = np.random.default_rng(0)
    rows = alpaca_lengths.random_rows(alpaca_lengths.lengths(), min(LENGTHS))
    data = alpaca_lengths.dataset(rows, length, packed=True)
    numbers = drawn.permutation(data.card.sequences)[: max(1, AT_LEAST // length)]
    return collate(data, numbers.tolist(), pad=1, packed=True)


def _kernels(rounds: int) -> None:
    """A line for each length: CPU milliseconds of forward and backward."""
    import torch

    print("length     bf16     fp32   (CPU ms, medians)")
    for length in KERNEL_LENGTHS:
        inputs = [torch.randn(1, 8, length, 64, dtype=torch.bfloat16) for _ in range(3)]
        acts = [partial(_kernel, inputs, dtype) for dtype in (torch.bfloat16, torch.float32)]
        _in_turns(acts, 1)  # warms up
        bf16, fp32 = (1e3 * seconds for seconds in _in_turns(acts, rounds))
        print(f"{length:>6}  {bf16:>7.2f}  {fp32:>7.2f}", flush=True)


def _kernel(inputs: list[Any], dtype: Any) -> None:
    from tunefleet.libraries import torch_private

    inputs = [tensor.to(dtype) for tensor in inputs]
    output, normalizer = torch_private.causal_attention(inputs, None)
    for gradient in torch_private.causal_attention_gradients(output, inputs, output, normalizer, None):
        gradient.bfloat16()


def _timed(act: Callable[[], None]) -> float:
    started = time.process_time()
    act()
    return time.process_time() - started


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--models", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kernel", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
