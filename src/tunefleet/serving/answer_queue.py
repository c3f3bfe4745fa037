"""Answer queue: requests wait their turn for the one model, and each answer comes back to its own event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunefleet.evaluation.streamed_answer import Answer, Sampling
from tunefleet.runs.text_model import TextModel

LIMIT = 1000
"""Requests that may wait; one more is refused."""


class Closing(Exception):
    """No more answers are made."""


class QueueFull(Exception):
    """As many requests wait as may."""


@dataclass
class Job:
    """One prompt; `pieces` brings its text, and at last the `Answer` or what went wrong."""

    prompt: Sequence[int]
    sampling: Sampling
    loop: asyncio.AbstractEventLoop
    pieces: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def put(self, item: str | Answer | Exception) -> None:
        """From the thread of the model into the loop of the client, which may be gone."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.pieces.put_nowait, item)


class AnswerQueue:
    """Answers jobs one after another in a thread of its own: what an answer is does not depend on what waits."""

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self._jobs: queue.Queue[Job] = queue.Queue(LIMIT)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="answers", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Ends the answer that is being made, and refuses those that wait."""
        self._closed.set()

    def close(self, seconds: float = 10.0) -> None:
        """As `end`, and waits so long for it."""
        self.end()
        self._thread.join(seconds)

    def submit(self, prompt: Sequence[int], sampling: Sampling) -> Job:
        """Waits in the queue from now on; called in the loop that will read the answer. Raises `QueueFull`."""
        job = Job(prompt, sampling, asyncio.get_running_loop())
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise QueueFull from None
        return job

    async def stream(self, job: Job) -> AsyncIterator[str | Answer]:
        """Pieces of text, and the `Answer` at the end. Whoever leaves early ends its generation.

        Raises what the model raises.
        """
        try:
            while True:
                item = await job.pieces.get()
                if isinstance(item, Exception):
                    raise item
                yield item
                if isinstance(item, Answer):
                    return
        finally:
            job.cancelled.set()

    def _work(self) -> None:
        while not self._closed.is_set():
            try:
                job = self._jobs.get(timeout=0.2)
            except queue.Empty:
                continue
            if not job.cancelled.is_set():
                job.put(self._answer(job))
        while not self._jobs.empty():
            self._jobs.get_nowait().put(Closing("The server ends."))

    def _answer(self, job: Job) -> Answer | Exception:
        def unwanted() -> bool:
            return job.cancelled.is_set() or self._closed.is_set()

        try:
            return self._model.answer(job.prompt, job.sampling, job.put, unwanted)
        except Exception as error:  # whatever it is, its client is told, and the next one is answered
            return error
