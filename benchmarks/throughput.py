"""How many useful tokens a CPU second: tunefleet under every stage of ZeRO, a strong loop by hand, other trainers.

Each contestant is a process of its own with one thread, and all train the same model from the same weights on the
same conversations, a step each in turns, so that whatever else the machine does meets all of them:

    tunefleet-0 ... tunefleet-3   its engine on one rank: packed, bf16
    strong                        benchmarks/strong_loop.py: the same in 150 lines of torch, with nothing between
    padded                        every row padded to the sequence length, all logits, on DeepSpeed: what step 1 of
                                  DeepSpeed-Chat does
    trl-packed, trl-unpacked, trl-deepspeed
                                  TRL's SFTTrainer (--trl PYTHON: a Python with trl, transformers and deepspeed)

Useful tokens are tokens of conversations: padding does not count. Lengths are those of Alpaca, by their quantiles,
or of `--data FILE` (input_ids and completion_mask in JSON lines). The rate of a 16-bit matrix product is taken in
every round too: a step's share of it says more than seconds do on a machine that is shared.

    python -m benchmarks.throughput [--model opt-45m] [--sequence 512] [--lora] [--rounds 5] [--trl PYTHON] [--only a,b]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import alpaca_lengths
from benchmarks.contestant import lone_rank

OURS = ("tunefleet-0", "tunefleet-1", "tunefleet-2", "tunefleet-3", "strong", "padded")
TRL = ("trl-packed", "trl-unpacked", "trl-deepspeed")
VOCABULARY = 50272
SHAPES = {"3m": (64, 2, 2), "10m": (192, 4, 3), "45m": (512, 6, 8), "125m": (768, 12, 12)}  # width, layers, heads
Turn = dict[str, float]


def main() -> None:
    """Prints a line for each contestant."""
    options = _arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, options)
        contestants = {each: Contestant(folder, each, options.trl) for each in _names(options)}
        turns, rates = race(contestants, options.rounds)
    print(table(turns, rates, matrix_flops(options)))


class Contestant:
    """A process that trains a step for each line that it reads."""

    def __init__(self, folder: Path, name: str, trl: str | None) -> None:
        here = Path(__file__).parent
        command = [sys.executable, "-m", "benchmarks.contestant", str(folder), name]
        if name in TRL:
            command = [str(trl), str(here / "rival_trl_train.py"), str(folder), name.removeprefix("trl-")]
        self._log = folder / f"{name}.log"
        environment = {**os.environ, **lone_rank(), "DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1"}
        with open(self._log, "w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        self._answer()

    def turn(self) -> Turn:
        """One step; what it cost."""
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """No more turns."""
        self._process.communicate("\n")

    def _answer(self) -> Turn:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self._log.stem} has ended:\n{self._log.read_text(encoding='utf-8')[-3000:]}")
        answer: Turn = json.loads(line)
        return answer


def race(contestants: dict[str, Contestant], rounds: int) -> tuple[dict[str, list[Turn]], list[float]]:
    """The turns of all, and the rate of matrix products (FLOP a CPU second) of every round; the first two warm up."""
    turns: dict[str, list[Turn]] = {name: [] for name in contestants}
    rates = []
    for _ in range(rounds + 2):
        rates.append(matrix_rate())
        for name, contestant in contestants.items():
            turns[name].append(contestant.turn())
    for contestant in contestants.values():
        contestant.end()
    return {name: all_turns[2:] for name, all_turns in turns.items()}, rates[2:]


def table(turns: dict[str, list[Turn]], rates: list[float], flops_per_token: float) -> str:
    """A line for each contestant: useful tokens a CPU second, seconds, share of the matrix rate, ratio, loss."""
    speeds = {name: _median(turn["useful"] / turn["cpu"] for turn in mine) for name, mine in turns.items()}
    first = next(iter(speeds.values()))
    lines = ["contestant      useful tokens/CPU s  wall s a step  of the matrix rate  tunefleet is  last loss"]
    for name, mine in turns.items():
        wall = _median(turn["wall"] for turn in mine)
        share = speeds[name] * flops_per_token / statistics.median(rates)
        lines.append(
            f"{name:<15} {speeds[name]:>19,.0f} {wall:>14.2f} {share:>19.0%} {first / speeds[name]:>11.2f} x"
            f" {mine[-1]['loss']:>10.4f}"
        )
    lines.append(f"A matrix product: {statistics.median(rates) / 1e9:.0f} GFLOP a CPU second, 16 bits, one thread.")
    return "\n".join(lines)


def matrix_rate() -> float:
    """FLOP a CPU second of a bf16 matrix product in this process, with one thread."""
    import torch

    torch.set_num_threads(1)
    left, right = torch.randn(1024, 1024).bfloat16(), torch.randn(1024, 1024).bfloat16()
    seconds = []
    for _ in range(20):
        started = time.process_time()
        left @ right
        seconds.append(time.process_time() - started)
    return 2 * 1024**3 / min(seconds)


def matrix_flops(options: argparse.Namespace) -> float:
    """FLOP of matrix products that a useful token needs: 6 a weight (Kaplan et al. 2020), the head's at labels."""
    width, layers, _ = SHAPES[options.model.partition("-")[2]]
    prompts, answers = map(sum, zip(*alpaca_lengths.lengths(), strict=True))
    labelled = answers / (answers + prompts)
    trained = 4 if options.lora else 6
    return trained * (12 * width**2 * layers + VOCABULARY * width * labelled)


def write_inputs(folder: Path, options: argparse.Namespace) -> None:
    """Weights, rows, settings and a tokenizer that only knows its special tokens."""
    settings = {"sequence": options.sequence, "micro": options.micro, "accumulation": 2, "lora": options.lora}
    (folder / "settings.json").write_text(json.dumps(settings))
    rows = options.data.read_text().splitlines() if options.data else [json.dumps(row) for row in _rows(4000)]
    fitting = (row for row in map(json.loads, rows) if len(row["input_ids"]) <= options.sequence)
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in fitting))
    _write_model(folder / "model", options)
    unknown = {"type": "WordLevel", "vocab": {"<unk>": 0, "<pad>": 1, "<eos>": 2}, "unk_token": "<unk>"}
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": unknown}))


def _write_model(folder: Path, options: argparse.Namespace) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(**architecture(options.model, options.sequence))
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def architecture(model: str, sequence: int) -> dict[str, Any]:
    """What config.json holds of `model`, as opt-45m, for sequences of so many tokens."""
    family, _, size = model.partition("-")
    width, layers, heads = SHAPES[size]
    shape = {
        "model_type": family,
        "vocab_size": VOCABULARY,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": sequence,
        "pad_token_id": 1,
        "bos_token_id": 2,
        "eos_token_id": 2,
    }
    if family == "opt":
        ours = {"word_embed_proj_dim": width, "ffn_dim": 4 * width, "dropout": 0.0, "attention_dropout": 0.0}
        return {**shape, **ours, "do_layer_norm_before": True}
    feed_forward = 8 * width // 3 // 64 * 64
    return {**shape, "intermediate_size": feed_forward, "num_key_value_heads": heads, "tie_word_embeddings": True}


def _rows(count: int) -> list[dict[str, list[int]]]:
    """Conversations of tokens that follow each other by a rule which can be learnt, with Alpaca's lengths."""
    drawn = np.random.default_rng(0)
    rows = []
    for prompt, answer in alpaca_lengths.lengths(count=count):
        tokens = (drawn.integers(4, 1000) * (1 + np.arange(prompt + answer) % 7) + 4).tolist()
        rows.append({"input_ids": tokens, "completion_mask": [0] * prompt + [1] * answer})
    return rows


def _names(options: argparse.Namespace) -> Sequence[str]:
    names = (*OURS, *(TRL if options.trl else ()))
    return [name for name in names if not options.only or name in options.only.split(",")]


def _median(values: Any) -> float:
    return float(statistics.median(values))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="opt-45m", choices=[f"{f}-{size}" for f in ("opt", "llama") for size in SHAPES]
    )
    parser.add_argument("--sequence", type=int, default=512)
    parser.add_argument("--micro", type=int, default=4)
    parser.add_argument("--lora", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--trl", metavar="PYTHON")
    parser.add_argument(
        "--only", help="names of contestants, with commas; the first is what the others are compared with"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
