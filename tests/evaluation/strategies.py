"""What ranks of test_decoding.py do: every kind of answer under every strategy that shards, and in a plain model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.plans import LLAMA, tiny_plan
from tests.shared import tiny_tokenizer
from tunefleet.engine.group import DataParallelGroup, join
from tunefleet.engine.plain_model import PlainModel, SingleProcess
from tunefleet.evaluation.answer_trie import AnswerTrie
from tunefleet.evaluation.decoding import Decoding, Sampling
from tunefleet.evaluation.generation import Limits, generate
from tunefleet.model.learner import Learner
from tunefleet.plan.horizon import Horizon
from tunefleet.runs.run_engine import engine_for
from tunefleet.runs.trainable_model import build_model

STRATEGIES = {"zero3": {"zero_stage": 3}, "tensor": {"tensor": 2}, "pipeline": {"pipeline": 2, "zero_stage": 1}}
PROMPTS = ["turn on the light", "a", "no"]
LIMITS = Limits(2, 5, 40)


def answers_of_every_strategy(folder: Path, argument: Any) -> dict[str, Any]:
    """The answers as [text, log-probability], by strategy and by kind."""
    torch.set_num_threads(1)
    group, tokenizer, answers = join(), tiny_tokenizer(), {}
    model = {"name": "m", "init": "random", "architecture": {**LLAMA, "vocab_size": 320, "initializer_range": 0.3}}
    for name, parallel in STRATEGIES.items():
        plan = tiny_plan(folder, model, group.size, parallel={"name": name, **parallel}, micro_batch=2)
        if not answers:
            plain = PlainModel(Learner(build_model(plan, tokenizer)))
            answers["plain"] = _kinds(plain, SingleProcess(), tokenizer)
        built = engine_for(plan, group, build_model(plan, tokenizer), Horizon(6, 1, steps_per_epoch=1))
        answers[name] = _kinds(built, DataParallelGroup(group, plan.layout), tokenizer)
        built.close()
    group.destroy()
    return answers


def _kinds(model: Any, group: Any, tokenizer: Any) -> dict[str, Any]:
    allowed = AnswerTrie([*tokenizer(text, add_special_tokens=False)["input_ids"], 2] for text in ("on", "off", "one"))
    kinds = {
        "greedy": Decoding(),
        "sampled": Decoding(Sampling(seed=1)),
        "beam": Decoding(beams=3),
        "labels": Decoding(allowed=allowed),
    }
    return {
        kind: [[a.text, a.log_probability] for a in generate(model, group, tokenizer, PROMPTS, LIMITS, decoding)]
        for kind, decoding in kinds.items()
    }
