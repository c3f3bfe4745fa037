"""What one training row says: who said what, and where it was read."""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.config.data import TrainOn


@dataclass(frozen=True)
class Turn:
    """One message. `role` is system, user or assistant; `learns` is asked of answers: its `weight` in the data."""

    role: str
    content: str
    learns: bool = True


@dataclass(frozen=True)
class Conversation:
    """Turns in order. `where` is file:line for messages to the person."""

    turns: tuple[Turn, ...]
    where: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """The turns as chat templates take them."""
        return [{"role": turn.role, "content": turn.content} for turn in self.turns]

    @property
    def question(self) -> list[dict[str, str]]:
        """The messages before the last answer."""
        return self.messages[: self._last_answer]

    @property
    def answer(self) -> str:
        """What the assistant said last."""
        return self.turns[self._last_answer].content

    @property
    def answers(self) -> list[int]:
        """The numbers of the turns that the assistant says."""
        return [i for i, turn in enumerate(self.turns) if turn.role == "assistant"]

    def learnt(self, train_on: TrainOn) -> list[int]:
        """The numbers of the answers that learn."""
        asked = self.answers[-1:] if train_on is TrainOn.LAST else self.answers
        return [i for i in asked if self.turns[i].learns]

    @property
    def _last_answer(self) -> int:
        return self.answers[-1]
