"""How long TRL's SFTTrainer takes to prepare rows: the rival of benchmarks/data.py, run by a Python that has trl.

    python benchmarks/rival_trl.py ROWS.jsonl TOKENIZER TEMPLATE.jinja LENGTH PROCESSES

Rows hold `prompt` and `completion` as messages. Prints one line of JSON: seconds and CPU seconds of its preparation
alone, rows after packing, tokens, and tokens that learn. HF_DATASETS_CACHE says where it keeps what it has prepared.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import GPT2Tokenizer, OPTConfig, OPTForCausalLM
from trl import SFTConfig, SFTTrainer


class Timed(SFTTrainer):
    """Notes how long preparation takes, and nothing else."""

    seconds = cpu = 0.0

    def _prepare_dataset(self, *arguments: Any, **named: Any) -> Any:
        started, before = time.perf_counter(), sum(os.times()[:4])
        prepared = super()._prepare_dataset(*arguments, **named)
        Timed.seconds, Timed.cpu = time.perf_counter() - started, sum(os.times()[:4]) - before
        return prepared


def main() -> None:
    """Prepares, and prints."""
    rows, folder, template, length, processes = sys.argv[1:]
    datasets.disable_progress_bars()
    torch.set_num_threads(1)
    tokenizer = GPT2Tokenizer(
        vocab=f"{folder}/vocab.json",
        merges=f"{folder}/merges.txt",
        **{"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"},
    )
    tokenizer.chat_template = Path(template).read_text(encoding="utf-8").removesuffix("\n")
    shape = {"hidden_size": 16, "ffn_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = OPTForCausalLM(OPTConfig(vocab_size=len(tokenizer), word_embed_proj_dim=16, **shape))
    found = datasets.load_dataset("json", data_files=rows, split="train")
    with tempfile.TemporaryDirectory() as outputs:
        config = SFTConfig(
            output_dir=outputs,
            max_length=int(length),
            packing=True,
            completion_only_loss=True,
            dataset_num_proc=int(processes) if int(processes) > 1 else None,
            use_cpu=True,
            bf16=False,
            report_to="none",
        )
        trainer = Timed(model=model, args=config, train_dataset=found, processing_class=tokenizer)
    print(json.dumps({"seconds": Timed.seconds, "cpu": Timed.cpu, **_counted(trainer.train_dataset)}))


def _counted(prepared: Any) -> dict[str, int]:
    tokens = learning = 0
    for batch in prepared.with_format("numpy").iter(batch_size=100):
        tokens += sum(len(row) for row in batch["input_ids"])
        learning += sum(int((np.asarray(row) != -100).sum()) for row in batch["labels"])
    return {"rows": len(prepared), "tokens": tokens, "loss_tokens": learning}


if __name__ == "__main__":
    main()
