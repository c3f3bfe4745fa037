"""Uses a finished run: measures its exported model again, and talks with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from tunefleet.base import files
from tunefleet.data import prepare
from tunefleet.engine.dtypes import torch_dtype
from tunefleet.engine.plain import Alone, PlainModel
from tunefleet.evaluation.generate import Limits, answers
from tunefleet.model.build import attention
from tunefleet.model.learner import Learner
from tunefleet.plan.families.lora import exported_alone
from tunefleet.plan.plan import Plan
from tunefleet.plan.precision import is_slow
from tunefleet.plan.processes.machine import Machine
from tunefleet.runs import examine, parts, words
from tunefleet.runs.export import exported


def evaluate(plan: Plan) -> tuple[dict[str, str], dict[str, Any], list[examine.Sample]]:
    """What is measured; losses and exact matches of every validation split; answers.

    The exported model computes as it did in training: same precision, same rows, in one process.
    """
    model, read, alone = _as_trained(plan), parts.material(plan), Alone()
    record = examine.losses(plan, model, alone, read)
    matches, said = examine.exact_matches(plan, model, alone, read)
    return words.measured(plan, read), record | matches, said


def single_turns(plan: Plan) -> bool:
    """Whether the run was trained on conversations of one question each; False where nobody wrote it down."""
    try:
        return bool(files.read_json(plan.paths.data)["questions"] == 1)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def chat(plan: Plan, ask: Callable[[], str | None], say: Callable[[str], None]) -> None:
    """Answers every message that `ask` returns, until it returns None.

    The conversation is remembered where training had conversations of several questions; else each message is
    answered by itself, as it was learnt.
    """
    model, tokenizer = _model(plan), AutoTokenizer.from_pretrained(exported(plan), trust_remote_code=False)
    stops = parts.stops(prepare.own_template(tokenizer), tokenizer)
    limits = Limits(1, plan.config.evaluation.max_new_tokens, plan.config.train.sequence_length, stops)
    messages: list[dict[str, str]] = []
    alone = single_turns(plan)
    while (message := ask()) is not None:
        before = [] if alone else messages
        messages = [] if message == "/new" else [*before, {"role": "user", "content": message}]
        if messages:
            prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            said = answers(model, Alone(), tokenizer, [str(prompt)], limits)[0]
            messages.append({"role": "assistant", "content": said})
            say(said)


def _as_trained(plan: Plan) -> PlainModel:
    """The exported model with the weights and products of training: stage 0 keeps fp32 weights and autocasts."""
    precision = torch_dtype(plan.config.train.precision)
    if plan.config.parallel.zero_stage:
        return PlainModel(_learner(plan, precision))
    return PlainModel(_learner(plan, torch.float32), None if precision is torch.float32 else precision)


def _model(plan: Plan) -> PlainModel:
    """The exported model in its own dtype, or in fp32 where this machine is slow in 16 bits."""
    return PlainModel(_learner(plan, torch.float32 if is_slow(Machine.this()) else "auto"))


def _learner(plan: Plan, dtype: torch.dtype | str) -> Learner:
    folder = exported(plan)
    alone = exported_alone(plan.config.adapter)  # transformers then reads the model that the adapter names, too
    config = AutoConfig.from_pretrained(plan.sources.weights if alone else folder, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation=attention(config), dtype=dtype, trust_remote_code=False
    )
    return Learner(model, tile=plan.config.train.loss_tile)
