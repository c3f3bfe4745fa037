"""TRL's SFTTrainer as a contestant of benchmarks/throughput.py, run by a Python that has trl.

    python benchmarks/rival_trl_train.py FOLDER packed|unpacked|deepspeed

FOLDER holds `model/` and `rows.jsonl` (input_ids, completion_mask), and `settings.json` (sequence, micro, accumulation,
lora). `deepspeed` is transformers' Trainer under DeepSpeed ZeRO 0, which TRL's is, without packing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import SFTConfig, SFTTrainer
from turns import Turns

folder, way = Path(sys.argv[1]), sys.argv[2]
settings = json.loads((folder / "settings.json").read_text())


class Turn(TrainerCallback):
    """A step waits for its turn, and says what it cost."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.useful = 0
        self.loss = float("nan")

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """All is loaded."""
        self._turns.ready()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Waits."""
        if not self._turns.wait():
            sys.exit()
        self.useful = 0

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """The loss of a step is known."""
        self.loss = logs.get("loss", self.loss)
        self._turns.done(self.useful, self.loss)


class Counted(SFTTrainer):
    """Counts the tokens of conversations that a step has."""

    def training_step(self, model: Any, inputs: Any, *args: Any) -> Any:
        """As in the original."""
        mask = inputs.get("attention_mask")
        turn.useful += int(mask.sum()) if mask is not None else inputs["input_ids"].numel()
        return super().training_step(model, inputs, *args)


torch.set_num_threads(1)
datasets.disable_progress_bars()
turn = Turn(Turns())
rows = datasets.load_dataset("json", data_files=str(folder / "rows.jsonl"), split="train")
model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32, attn_implementation="sdpa")
peft = None
if settings["lora"]:
    from peft import LoraConfig

    peft = LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM")
extra: dict[str, Any] = {}
if way == "deepspeed":
    extra["deepspeed"] = {
        "train_micro_batch_size_per_gpu": settings["micro"],
        "gradient_accumulation_steps": settings["accumulation"],
        "torch_autocast": {"enabled": True, "dtype": "bfloat16"},
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": 0},
    }
config = SFTConfig(
    output_dir=str(folder / f"trl-{way}"),
    max_length=settings["sequence"],
    packing=way == "packed",
    completion_only_loss=True,
    per_device_train_batch_size=settings["micro"],
    gradient_accumulation_steps=settings["accumulation"],
    max_steps=1000,
    learning_rate=1e-4,
    lr_scheduler_type="constant",
    gradient_checkpointing=False,
    use_cpu=True,
    bf16=True,
    logging_steps=1,
    report_to=[],
    disable_tqdm=True,
    save_strategy="no",
    **extra,
)
tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>", eos_token="<eos>")
Counted(
    model=model, args=config, train_dataset=rows, processing_class=tokenizer, callbacks=[turn], peft_config=peft
).train()
