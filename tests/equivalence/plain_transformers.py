"""A fine-tuning loop that anyone could write: transformers, torch and peft, and nothing of this project.

Rows are rendered by `apply_chat_template`, the loss is the model's own with labels, the optimizer torch's AdamW, and
the schedule written out. What ours is compared with must not be built of ours.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

LR, WARMUP, STEPS = 3e-3, 2, 6
WEIGHT_DECAY, BETAS, EPS, CLIP = 0.1, (0.9, 0.95), 1e-8, 1.0
INIT_SEED, DROPOUT_SEED = 7, 1234
LORA = {"r": 4, "lora_alpha": 8}


def rendered(rows: Path, tokenizer: Path) -> list[tuple[list[int], list[int]]]:
    """(tokens, labels) of every row; the answer is what the prompt does not begin with."""
    loaded_tokenizer = AutoTokenizer.from_pretrained(tokenizer)
    pairs = []
    for line in rows.read_text().splitlines():
        messages = json.loads(line)["messages"]
        prompt, text = (
            _encoded(loaded_tokenizer, part, add_prompt)
            for part, add_prompt in ((messages[:-1], True), (messages, False))
        )
        length = len(prompt["input_ids"])
        assert text["input_ids"][:length] == prompt["input_ids"]
        pairs.append((text["input_ids"], [-100] * length + text["input_ids"][length:]))
    return pairs


def _encoded(tokenizer: Any, messages: list[dict[str, str]], add_prompt: bool) -> Any:
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=add_prompt, tokenize=False)
    return tokenizer(text, add_special_tokens=False)


def learning_rate(step: int) -> float:
    """Up in a straight line, down along half a cosine."""
    if step < WARMUP:
        return LR * (step + 1) / WARMUP
    return LR * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP))) / 2


def first_model(architecture: dict[str, Any], files: str | None) -> Any:
    """From files, or from scratch with the seed."""
    if files:
        return AutoModelForCausalLM.from_pretrained(files)
    torch.manual_seed(INIT_SEED)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**architecture))


def with_lora(model: Any) -> Any:
    """peft's own wrapping; its first weights drawn again, because a seed before it would count peft's own draws."""
    wrapped = get_peft_model(model, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM", **LORA))
    torch.manual_seed(INIT_SEED)
    for layer in wrapped.modules():
        if isinstance(layer, LoraLayer):
            layer.reset_lora_parameters("default", init_lora_weights=True)
    return wrapped


def optimizer_of(model: Any) -> torch.optim.AdamW:
    """Matrices decay, but not embeddings (a tied head is one), biases and norms."""
    trainable = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    decays = [weight for name, weight in trainable if weight.ndim > 1 and "embed" not in name]
    undecayed = [weight for name, weight in trainable if not (weight.ndim > 1 and "embed" not in name)]
    groups = [{"params": decays, "weight_decay": WEIGHT_DECAY}, {"params": undecayed, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=BETAS, eps=EPS)


def trained(
    pairs: Sequence[tuple[list[int], list[int]]],
    steps: Sequence[Sequence[int]],
    architecture: dict[str, Any],
    files: str | None,
    lora: bool,
) -> dict[str, Any]:
    """Losses, gradient norms and the final weights of `steps`, each of which is the numbers of its rows in order."""
    model = first_model(architecture, files)
    model = with_lora(model) if lora else model
    model.train()
    optimizer = optimizer_of(model)
    torch.manual_seed(DROPOUT_SEED)
    losses, norms = [], []
    for number, step_rows in enumerate(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(number)
        loss = model(**_padded([pairs[row] for row in step_rows])).loss
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    bare = model.get_base_model() if lora else model
    return {"losses": losses, "norms": norms, "weights": bare.state_dict()}


def _padded(pairs: Sequence[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    """One batch, padded on the right; the model's loss is the mean over all labels of it."""
    width = max(len(tokens) for tokens, _ in pairs)
    return {
        "input_ids": torch.tensor([tokens + [0] * (width - len(tokens)) for tokens, _ in pairs]),
        "labels": torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in pairs]),
        "attention_mask": torch.tensor([[1] * len(tokens) + [0] * (width - len(tokens)) for tokens, _ in pairs]),
    }
