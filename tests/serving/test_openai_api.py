"""Does the real openai client get from our server what the model answers, and errors that it understands?"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests import scripted_model
from tests.serving.servers import serving
from tests.shared import tiny_model, tiny_tokenizer
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.evaluation.streamed_answer import Answer, Sampling
from tunefleet.runs import text_model
from tunefleet.runs.text_model import TextModel
from tunefleet.serving import answer_queue, request_body

CALL = '{"name":"play","arguments":{}}'
TOOL: Any = {"type": "function", "function": {"name": "play", "parameters": {"type": "object", "properties": {}}}}
TIMEOUT = 120.0


def client(address: str, key: str = "none") -> OpenAI:
    return OpenAI(base_url=address, api_key=key, max_retries=0, timeout=TIMEOUT)


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    folder = tmp_path_factory.mktemp("scripted") / "model"
    return text_model.of_folder(scripted_model.write(folder, {"a": "Hi you.", "k": "\u00e9!"}, {"z": "xq"}))


@pytest.fixture(scope="module")
def address(scripted: TextModel) -> Iterator[str]:
    with serving(scripted) as address:
        yield address


def asks(address: str, question: str, **options: Any) -> Any:
    messages: Any = [{"role": "user", "content": question}]
    return client(address).chat.completions.create(model="tiny", messages=messages, **options)


def test_a_chat(address: str) -> None:
    reply = asks(address, "a")
    choice = reply.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "Hi you.", "stop")
    assert (reply.object, reply.model, len(reply.choices)) == ("chat.completion", "tiny", 1)
    usage = reply.usage
    assert (usage.prompt_tokens, usage.total_tokens) == (1, 1 + usage.completion_tokens)


def test_a_chat_is_streamed(address: str) -> None:
    chunks = list(asks(address, "k", stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert [piece for piece in pieces if piece] == ["\u00e9", "!"]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 4)


@pytest.mark.parametrize(
    ("options", "content", "reason"),
    [
        ({"max_tokens": 3}, "xqx", "length"),
        ({"max_completion_tokens": 2}, "xq", "length"),
        ({"stop": "qx"}, "x", "stop"),
        ({"stop": ["nothing", "q"], "temperature": 0}, "x", "stop"),
        ({"max_tokens": 4, "temperature": 1, "top_p": 0.01, "seed": 7, "n": 1, "user": "me"}, "xqxq", "length"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_options_are_obeyed(address: str, stream: bool, options: Any, content: str, reason: str) -> None:
    reply = asks(address, "z", stream=stream, **options)
    choices = [chunk.choices[0] for chunk in reply] if stream else reply.choices
    texts = [choice.delta.content if stream else choice.message.content for choice in choices]
    assert ("".join(filter(None, texts)), choices[-1].finish_reason) == (content, reason)


def test_completions_of_texts_and_tokens(address: str, scripted: TextModel) -> None:
    made = client(address).completions.create(model="tiny", prompt=["za", "k"])
    assert [choice.text for choice in made.choices] == ["Hi you.", "\u00e9!"]
    assert made.usage is not None
    assert made.usage.prompt_tokens == 5  # each begins with <s>, as plain text in training does
    made = client(address).completions.create(model="tiny", prompt=scripted.ids("a"))
    assert made.choices[0].text == "Hi you."
    chunks = client(address).completions.create(model="tiny", prompt="z", max_tokens=2, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "xq"


def test_the_model_is_listed(address: str) -> None:
    assert [model.id for model in client(address).models.list()] == ["tiny"]
    assert client(address).models.retrieve("tiny").owned_by == "tunefleet"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tools": [TOOL]}, "tools: the chat template of this model writes none"),
        ({"temperature": 9}, "temperature: 9 is not allowed. Allowed: a number from 0 to 5."),
        ({"top_p": 0}, "top_p: 0 is not allowed"),
        ({"max_tokens": 0}, "max_tokens: 0 is not allowed"),
        ({"n": 2}, "n: 2 is not supported here"),
        ({"logprobs": True}, "logprobs: true is not supported here"),
        ({"stop": [""]}, "stop: is a text, or a list"),
        ({"extra_body": {"top_k": 3}}, "top_k: is no option here"),
        ({"messages": []}, "messages: holds none"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages: a content is a text"),
        ({"messages": [{"role": "user", "content": "a" * 4096}]}, "the prompt has 4096 tokens"),
    ],
)
def test_what_is_not_obeyed_is_refused(address: str, options: Any, message: str) -> None:
    options = {"messages": [{"role": "user", "content": "a"}], **options}
    with pytest.raises(openai.BadRequestError) as refused:
        client(address).chat.completions.create(model="tiny", **options)
    assert message in refused.value.message
    assert refused.value.type == "invalid_request_error"
    if "4096" in message:
        assert refused.value.code == "context_length_exceeded"


def test_another_model_is_not_found(address: str) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client(address).chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "a"}])
    assert refused.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("content", "headers", "code"),
    [
        (b"{", {"content-type": "application/json"}, 400),
        (b"[]", {"content-type": "application/json"}, 400),
        (b"[" * 100_000, {"content-type": "application/json"}, 400),
        (b"\xff", {"content-type": "application/json"}, 400),
        (b'{"model":"tiny","messages":[{"role":"user","content":"a"}]}', {"content-type": "text/plain"}, 400),
        (b" " * (17 << 20), {"content-type": "application/json"}, 413),
    ],
    ids=["cut off", "a list", "deep", "no UTF-8", "of a page of another site", "large"],
)
def test_other_bodies_are_refused(address: str, content: bytes, headers: dict[str, str], code: int) -> None:
    reply = httpx.post(f"{address}/chat/completions", content=content, headers=headers, timeout=TIMEOUT)
    assert reply.status_code == code
    assert httpx.get(f"{address}/nothing").json()["error"]["message"] == "Not Found."


def test_a_key_is_asked_for(scripted: TextModel) -> None:
    with serving(scripted, key="secret") as address:
        with pytest.raises(openai.AuthenticationError):
            client(address).models.list()
        assert [model.id for model in client(address, "secret").models.list()] == ["tiny"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.1"])
def test_another_host_is_refused(address: str, host: str) -> None:
    """A page of another site whose name leads to this machine is asked for nothing, and told nothing."""
    reply = httpx.get(f"{address}/models", headers={"host": host}, timeout=TIMEOUT)
    assert (reply.status_code, "tiny" in reply.text) == (400, False)


def test_as_many_wait_as_may(scripted: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_queue, "LIMIT", 1)
    model = _Watched(scripted)
    with serving(model) as address, hanging_up(address, stream=True):
        assert model.begun.wait(60)
        with pytest.raises(openai.RateLimitError) as refused:  # two wait behind the one that is answered
            client(address).completions.create(model="tiny", prompt=["z", "z"])
        assert refused.value.code == "queue_full"


# Controls: each defence switched off lets through what the test above of it refuses


def test_control_without_a_key_everybody_is_answered(scripted: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hmac.compare_digest", lambda given, key: True)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_a_key_is_asked_for(scripted)


def test_control_without_its_names_every_host_is_answered(scripted: TextModel) -> None:
    with serving(scripted, hosts=("*",)) as address, pytest.raises(AssertionError):
        test_another_host_is_refused(address, "evil.example")


@pytest.mark.parametrize(
    ("name", "off", "content", "headers", "code"),
    [
        (
            "CONTENT_TYPE",
            "text/plain",
            b'{"model":"tiny","messages":[{"role":"user","content":"a"}]}',
            "text/plain",
            200,
        ),
        ("LARGEST", 1 << 40, b" " * (17 << 20), "application/json", 400),
    ],
)
def test_control_other_bodies_are_read(
    address: str, monkeypatch: pytest.MonkeyPatch, name: str, off: object, content: bytes, headers: str, code: int
) -> None:
    monkeypatch.setattr(request_body, name, off)
    reply = httpx.post(
        f"{address}/chat/completions", content=content, headers={"content-type": headers}, timeout=TIMEOUT
    )
    assert reply.status_code == code


def test_control_without_a_limit_everybody_waits(scripted: TextModel) -> None:
    with serving(_Saying(scripted, "Hi.")) as address:
        assert len(client(address).completions.create(model="tiny", prompt=["z", "z", "z"]).choices) == 3


def test_control_without_room_being_asked_for_a_long_prompt_is_taken(
    address: str, scripted: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TextModel, "expect_room", lambda self, ids: None)
    with pytest.raises((AssertionError, openai.InternalServerError, pytest.fail.Exception)):
        test_what_is_not_obeyed_is_refused(
            address, {"messages": [{"role": "user", "content": "a" * 4096}], "max_tokens": 1}, "the prompt has 4096"
        )


def test_functions_are_called_through_the_templates_own_tools(tmp_path: Path) -> None:
    folder = scripted_model.write(tmp_path / "tools", {"\n": "<"}, template=scripted_model.TOOL_TEMPLATE)
    model = _Saying(text_model.of_folder(folder), f"<tool_call>\n{CALL}\n</tool_call>")
    with serving(model) as address:
        for stream in (False, True):
            reply = asks(address, "a\n", tools=[TOOL], stream=stream)
            choices = [chunk.choices[0] for chunk in reply] if stream else reply.choices
            [call] = choices[0].delta.tool_calls if stream else choices[0].message.tool_calls
            assert (call.function.name, json.loads(call.function.arguments)) == ("play", {})
            assert choices[-1].finish_reason == "tool_calls"
        assert asks(address, "a\n").choices[0].message.content.startswith("<tool_call>")  # without tools it is text
        assert asks(address, "a\n", tools=[TOOL], tool_choice="none").choices[0].finish_reason == "stop"


class _Saying:
    """A model that says one text, whatever it is asked: no tiny one writes JSON."""

    def __init__(self, model: TextModel, text: str) -> None:
        self._model, self._text = model, text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def answer(self, prompt: Any, sampling: Sampling, put: Any, cancelled: Any) -> Answer:
        put(self._text)
        return Answer(self._text, 9, "stop")


# Many, and those who leave


def random_model() -> TextModel:
    tokenizer = tiny_tokenizer()
    network = tiny_model("llama", vocab_size=320, max_position_embeddings=64).eval()
    return TextModel(network, tokenizer, ChatTemplate(scripted_model.TEMPLATE, {}), (2,), 64, Path())


@pytest.mark.parametrize("stream", [False, True])
def test_fifty_at_once_get_what_each_alone_gets(stream: bool) -> None:
    model = random_model()
    questions = [f"User: say {number} and {number * 7}" for number in range(50)]
    expected = [model.answer(model.ids(text), Sampling(max_tokens=8)).text.lstrip() for text in questions]
    assert len(set(expected)) > 10
    barrier = threading.Barrier(len(questions))

    def ask(question: str) -> str:
        barrier.wait()
        messages: Any = [{"role": "user", "content": question}]
        reply: Any = shared.chat.completions.create(model="tiny", messages=messages, stream=stream)
        pieces = [chunk.choices[0].delta.content for chunk in reply] if stream else [reply.choices[0].message.content]
        return "".join(filter(None, pieces))

    with serving(model, max_tokens=8) as address, ThreadPoolExecutor(len(questions)) as threads:
        shared = client(address)
        assert list(threads.map(ask, questions)) == expected


class _Watched:
    """A model that answers until nobody wants more, and says so."""

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self.begun, self.left = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def answer(self, prompt: Any, sampling: Sampling, put: Any, cancelled: Any) -> Answer:
        self.begun.set()
        for _ in range(6000):
            if cancelled():
                self.left.set()
                break
            put("x")
            time.sleep(0.01)
        return Answer("x", 1, "interrupted")


@contextmanager
def hanging_up(address: str, stream: bool) -> Iterator[None]:
    body = {"model": "tiny", "stream": stream, "messages": [{"role": "user", "content": "z"}]}
    with httpx.Client(timeout=TIMEOUT) as http:
        if stream:
            with http.stream("POST", f"{address}/chat/completions", json=body) as reply:
                next(reply.iter_lines())
                yield
            return
        thread = threading.Thread(target=_post_until_closed, args=(http, f"{address}/chat/completions", body))
        thread.start()
        yield
    thread.join(60)


def _post_until_closed(http: httpx.Client, url: str, body: Any) -> None:
    try:
        http.post(url, json=body, timeout=1.0)
    except httpx.TransportError:
        return


@pytest.mark.parametrize("stream", [True, False])
def test_who_hangs_up_ends_the_generation(scripted: TextModel, stream: bool) -> None:
    model = _Watched(scripted)
    with serving(model) as address:
        with hanging_up(address, stream):
            assert model.begun.wait(60)
            if stream:
                assert not model.left.is_set()
        assert model.left.wait(60)


def test_who_leaves_the_queue_is_not_answered(scripted: TextModel) -> None:
    """Behind the first answer wait requests whose clients have left; the next one comes at once."""
    model = _Watched(scripted)
    with serving(model) as address:
        with hanging_up(address, stream=True):
            assert model.begun.wait(60)
            for _ in range(3):
                with pytest.raises(openai.APITimeoutError):
                    client(address).with_options(timeout=0.2).completions.create(model="tiny", prompt="z")
            time.sleep(1.5)  # the server looks for them twice a second
        assert model.left.wait(60)
        model.begun.clear()
        time.sleep(1)
        assert not model.begun.is_set()


def test_an_error_of_the_model_is_told_and_the_next_is_answered(scripted: TextModel) -> None:
    class Failing(_Saying):
        def answer(self, prompt: Any, sampling: Sampling, put: Any, cancelled: Any) -> Answer:
            if len(prompt) > 1:
                raise RuntimeError("no memory")
            return super().answer(prompt, sampling, put, cancelled)

    with serving(Failing(scripted, "Hi.")) as address:
        with pytest.raises(openai.InternalServerError, match="no memory"):
            asks(address, "aa")
        with pytest.raises(openai.APIError, match="no memory"):
            list(asks(address, "aa", stream=True))
        assert asks(address, "a").choices[0].message.content == "Hi."
