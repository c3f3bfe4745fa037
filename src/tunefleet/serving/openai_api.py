"""OpenAI's API for one model: /v1/chat/completions, /v1/completions and /v1/models, as a Starlette application."""

from __future__ import annotations

import asyncio
import hmac
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tunefleet.base.errors import DataError
from tunefleet.evaluation.streamed_answer import Answer, Sampling
from tunefleet.runs.text_model import TextModel, TooLong
from tunefleet.serving import request_body
from tunefleet.serving.answer_bodies import ChatReply, Reply, TextReply, event, usage
from tunefleet.serving.answer_queue import AnswerQueue, Closing, Job, QueueFull
from tunefleet.serving.completion_request import ApiError, CompletionRequest, chat_request, completion_request

_LOOK = 0.5  # seconds between two looks for a client that left
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Served:
    """The model that is served as `name`; `defaults` hold where a request says nothing, `key` is asked for if set."""

    model: TextModel
    name: str
    defaults: Sampling
    key: str = ""


def application(served: Served, hosts: Sequence[str] = ("*",)) -> Starlette:
    """The application; it answers requests that name one of `hosts`, so that no page of another site is answered.

    Its `state.end_answers()` ends all answers where they are.
    """
    api = _Api(served)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(api.queue.close)

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", api.guarded(api.chat), methods=["POST"]),
            Route("/v1/completions", api.guarded(api.completions), methods=["POST"]),
            Route("/v1/models", api.guarded(api.models)),
            Route("/v1/models/{name:path}", api.guarded(api.models)),
            Route("/health", _health),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
        exception_handlers={HTTPException: _http_error, ApiError: _api_error, Exception: _server_error},
        lifespan=lifespan,
    )
    app.state.end_answers = api.queue.end
    return app


class _Api:
    def __init__(self, served: Served) -> None:
        self._served, self._model = served, served.model
        self._rendering = threading.Lock()  # rendering sets a limit of the whole process
        self._writes_system, self._writes_tools = served.model.writes_system(), served.model.writes_tools()
        self.queue = AnswerQueue(served.model)

    def guarded(self, handler: Handler) -> Handler:
        """`handler` for those who know the key."""

        async def guard(request: Request) -> Response:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            if self._served.key and not hmac.compare_digest(token.encode(), self._served.key.encode()):
                raise ApiError("The API key is missing or wrong.", status=401, code="invalid_api_key")
            return await handler(request)

        return guard

    async def models(self, request: Request) -> Response:
        """The model; of another name an error 404."""
        entry = {"id": self._served.name, "object": "model", "created": 0, "owned_by": "tunefleet"}
        if name := request.path_params.get("name"):
            self._expect_name(name)
            return JSONResponse(entry)
        return JSONResponse({"object": "list", "data": [entry]})

    async def chat(self, request: Request) -> Response:
        """The answer to a conversation."""
        ordered = chat_request(await request_body.read_json(request), self._served.defaults)
        self._expect_name(ordered.model)
        ids = await asyncio.to_thread(self._chat_ids, ordered)
        reply = ChatReply(self._served.name, ordered)
        return await self._answered(request, ordered, [ids], reply)

    async def completions(self, request: Request) -> Response:
        """What follows each of the prompts."""
        ordered = completion_request(await request_body.read_json(request), self._served.defaults)
        self._expect_name(ordered.model)
        ids = await asyncio.to_thread(self._prompt_ids, ordered)
        return await self._answered(request, ordered, ids, TextReply(self._served.name, ordered))

    def _expect_name(self, name: str) -> None:
        if name != self._served.name:
            message = f"The model {name[:80]!r} is not served here; {self._served.name!r} is."
            raise ApiError(message, "model", 404, "model_not_found")

    def _chat_ids(self, request: CompletionRequest) -> list[int]:
        """The tokens of the prompt. Raises `ApiError` where the template or the model cannot take it."""
        if request.tools and not self._writes_tools:
            raise ApiError("tools: the chat template of this model writes none, so it would not see them.", "tools")
        if not self._writes_system and any(message["role"] == "system" for message in request.messages):
            raise ApiError("messages: the chat template of this model writes no system prompt.", "messages")
        try:
            with self._rendering:
                prompt = self._model.chat_prompt(request.messages, request.tools)
                return self._with_room(self._model.ids(prompt), "messages")
        except DataError as error:
            raise ApiError(f"messages: the chat template refuses them: {error}", "messages") from None

    def _prompt_ids(self, request: CompletionRequest) -> list[list[int]]:
        with self._rendering:
            texts_or_tokens = [self._model.plain_ids(p) if isinstance(p, str) else p for p in request.prompts]
        rows = self._model.vocab_rows
        if any(token >= rows for ids in texts_or_tokens for token in ids):
            raise ApiError(f"prompt: this model has {rows} tokens, from 0 to {rows - 1}.", "prompt")
        return [self._with_room(ids, "prompt") for ids in texts_or_tokens]

    def _with_room(self, ids: list[int], param: str) -> list[int]:
        try:
            self._model.expect_room(ids)
        except TooLong as error:
            raise ApiError(f"{param}: {error}", param, code="context_length_exceeded") from None
        return ids

    async def _answered(
        self, request: Request, ordered: CompletionRequest, prompts: Sequence[list[int]], reply: Reply
    ) -> Response:
        jobs: list[Job] = []
        try:
            for ids in prompts:
                jobs.append(self.queue.submit(ids, ordered.sampling))
        except QueueFull:
            for job in jobs:
                job.cancelled.set()
            raise ApiError("Too many requests wait. Try again later.", status=429, code="queue_full") from None
        if ordered.stream:
            return StreamingResponse(self._events(jobs, reply), media_type="text/event-stream")
        answers = [await self._complete_answer(request, job) for job in jobs]
        return JSONResponse(reply.response_body(answers) | {"usage": usage(prompts, answers)})

    async def _complete_answer(self, request: Request, job: Job) -> Answer:
        """The whole answer. Raises `ClientDisconnect` where nobody waits for it any more."""

        async def last() -> Any:
            return [item async for item in self.queue.stream(job)][-1]

        task = asyncio.ensure_future(last())
        try:
            while not (await asyncio.wait({task}, timeout=_LOOK))[0]:
                if await request.is_disconnected():
                    raise ClientDisconnect
            answer: Answer = task.result()
            return answer
        except Closing as error:
            raise ApiError(str(error), status=503) from None
        finally:
            task.cancel()
            job.cancelled.set()

    async def _events(self, jobs: Sequence[Job], reply: Reply) -> AsyncIterator[str]:
        """Server-sent events: chunks as text grows, an end for each prompt, the usage if asked for, [DONE]."""
        answers = []
        try:
            for number, job in enumerate(jobs):
                async for item in self.queue.stream(job):
                    for chunk in reply.chunks(number, item):
                        yield event(chunk)
                    answers += [item] if isinstance(item, Answer) else []
            if reply.request.include_usage:
                counts = usage([job.prompt for job in jobs], answers)
                yield event({**reply.chunk(0, {}), "choices": [], "usage": counts})
        except Exception as error:  # the head of the response is gone
            yield event(ApiError(f"{type(error).__name__}: {error}", status=500).body())
        finally:
            for job in jobs:
                job.cancelled.set()
        yield "data: [DONE]\n\n"


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse(ApiError(f"{error.detail}.", status=error.status_code).body(), error.status_code)


async def _server_error(_: Request, error: Exception) -> Response:
    return JSONResponse(ApiError(f"{type(error).__name__}: {error}", status=500).body(), 500)
