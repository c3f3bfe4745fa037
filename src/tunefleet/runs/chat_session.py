"""Chat session: messages of the user, and the answers of a run's exported model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import AutoTokenizer

from tunefleet.base import files
from tunefleet.data import prepare
from tunefleet.data.encode.end_of_turn import end_of_turn
from tunefleet.engine.plain_model import SingleProcess
from tunefleet.evaluation.generation import Limits, answers
from tunefleet.plan.plan import Plan
from tunefleet.runs import exported_model
from tunefleet.runs.checkpoint_export import exported
from tunefleet.runs.chosen_checkpoint import LAST

Message = dict[str, str]
NEW_CONVERSATION = "/new"


def chat(
    plan: Plan, read_message: Callable[[], str | None], print_answer: Callable[[str], None], choice: str = LAST
) -> None:
    """Answers every message that `read_message` returns, until it returns None, by the chosen checkpoint's model.

    The conversation is remembered where training had conversations of several questions; else each message is
    answered by itself, as the training rows were.
    """
    converse(_model_answers(plan, choice), read_message, print_answer, remembers=not single_turns(plan))


def single_turns(plan: Plan) -> bool:
    """Whether the run was trained on conversations of one question each; False where data.json does not say."""
    try:
        return bool(files.read_json(plan.paths.data)["questions"] == 1)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def converse(
    answer: Callable[[list[Message]], str],
    read_message: Callable[[], str | None],
    print_answer: Callable[[str], None],
    remembers: bool,
) -> None:
    """Gives `answer` every message of `read_message`, behind those before it if it `remembers`; `/new` begins anew."""
    messages: list[Message] = []
    while (message := read_message()) is not None:
        history = messages if remembers else []
        messages = [] if message == NEW_CONVERSATION else [*history, {"role": "user", "content": message}]
        if messages:
            content = answer(messages)
            messages.append({"role": "assistant", "content": content})
            print_answer(content)


def _model_answers(plan: Plan, choice: str) -> Callable[[list[Message]], str]:
    """What the exported model answers to the messages of a conversation."""
    model = exported_model.in_own_dtype(plan, choice)
    tokenizer: Any = AutoTokenizer.from_pretrained(exported(plan, choice), trust_remote_code=False)
    stops = end_of_turn(prepare.own_template(tokenizer), tokenizer).stops
    limits = Limits(1, plan.config.evaluation.max_new_tokens, plan.config.train.sequence_length, stops)

    def answer(messages: list[Message]) -> str:
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return answers(model, SingleProcess(), tokenizer, [str(prompt)], limits)[0]

    return answer
