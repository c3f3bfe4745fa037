"""Chat session: a conversation with one model, or the same questions to several beside each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunefleet.base import files
from tunefleet.base.errors import ConfigError
from tunefleet.evaluation.streamed_answer import Answer, Sampling
from tunefleet.plan.plan import Plan
from tunefleet.runs.text_model import TextModel

Message = dict[str, str]


def single_turns(plan: Plan) -> bool:
    """Whether the run was trained on conversations of one question each; False where data.json does not say."""
    try:
        return bool(files.read_json(plan.paths.data)["questions"] == 1)
    except (OSError, ValueError, KeyError, TypeError):
        return False


@dataclass
class ChatSession:
    """What was said so far to each of `models`, by label.

    A session that does not `remember` asks each question by itself, as training rows of one question did.
    """

    models: Mapping[str, TextModel]
    sampling: Sampling
    remembers: bool = True
    system: str = ""
    exchanges: list[tuple[Message, dict[str, Message]]] = field(default_factory=list)

    def answer(self, question: str, put: Callable[[str, str], None]) -> dict[str, Answer]:
        """Every model's answer, of which `put` gets (label, piece). Raises `TooLong`, `DataError`; nothing is then
        remembered.
        """
        answers = {label: self._answer(label, question, put) for label in self.models}
        contents = {label: {"role": "assistant", "content": answer.text.strip()} for label, answer in answers.items()}
        self.exchanges.append(({"role": "user", "content": question}, contents))
        return answers

    def _answer(self, label: str, question: str, put: Callable[[str, str], None]) -> Answer:
        model = self.models[label]
        history = self.messages(label) if self.remembers else self._system_messages()
        prompt = model.chat_prompt([*history, {"role": "user", "content": question}])
        begun = False

        def put_stripped(piece: str) -> None:
            nonlocal begun
            piece = piece if begun else piece.lstrip()
            begun = begun or bool(piece)
            if piece:
                put(label, piece)

        return model.answer(model.ids(prompt), self.sampling, put_stripped)

    def messages(self, label: str) -> list[Message]:
        """The conversation with the model `label`, as a row of training data has it."""
        turns = [message for question, answers in self.exchanges for message in (question, answers[label])]
        return [*self._system_messages(), *turns]

    def _system_messages(self) -> list[Message]:
        return [{"role": "system", "content": self.system}] if self.system else []

    def set_system(self, text: str) -> None:
        """From now on the conversation begins with `text`; empty for none.

        Raises `ConfigError` where the chat template writes no system prompt: the model would not see it.
        """
        if text and not all(model.writes_system() for model in self.models.values()):
            raise ConfigError("the chat template of this model writes no system prompt, so the model would not see it.")
        self.system = text

    def undo(self) -> bool:
        """Forgets the last question and its answers; whether there was one."""
        return bool(self.exchanges and self.exchanges.pop())

    def clear(self) -> None:
        """Begins a new conversation, with the same system prompt."""
        self.exchanges.clear()

    def rows(self) -> list[dict[str, Any]]:
        """A row of training data for each model, with its label where there are several."""
        labelled = len(self.models) > 1
        return [{"messages": self.messages(label), **({"model": label} if labelled else {})} for label in self.models]
