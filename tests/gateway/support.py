"""A gateway with a database behind it and a scripted model server before it, and steps that call through it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai

from activities.gateway import identity
from activities.gateway.gateway import Gateway
from activities.gateway.session import StepSession
from activities.gateway.tools import JournaledTools
from activities.tools.functions import Tool, from_function
from activities.tools.registry import ToolRegistry
from models.repositories.journal import StepKey
from models.tables import JournalEntry
from omium_core.settings import Settings
from tests.support.database import Rows
from tests.support.loopback import wait_until
from tests.support.model_server import ModelServer

PROVIDER_KEY = "provider-secret"
DEFAULT_MODEL = "default-model"


class Scene:
    """The parts, and the moves that tests make with them."""

    def __init__(self, gateway: Gateway, rows: Rows, model: ModelServer) -> None:
        self.gateway = gateway
        self.rows = rows
        self.model = model

    def new_step(self, lineage: int = 0, index: int = 0) -> StepKey:
        """A step of a new execution."""
        return StepKey(self.rows.new_execution(), lineage, index)

    @contextmanager
    def attempt(self, step: StepKey, on_decided: Callable[[], None] = lambda: None) -> Iterator[StepSession]:
        """A new attempt: from here on the ones before are stale."""
        with self.gateway.session(self.rows.tenant_id, step, self.rows.begin_attempt(step), on_decided) as session:
            yield session

    @contextmanager
    def step(self) -> Iterator[tuple[StepKey, StepSession]]:
        """The first attempt of a new step."""
        key = self.new_step()
        with self.attempt(key) as session:
            yield key, session

    def journal(self, step: StepKey) -> list[JournalEntry]:
        return self.rows.journal(step.execution_id)

    def wait_for_journal(self, step: StepKey, n: int = 1) -> list[JournalEntry]:
        return self.rows.wait_for_journal(step.execution_id, n)

    def client(self, session: StepSession, **options: Any) -> openai.OpenAI:
        """A client as a framework makes it: of its defaults, retries included, nothing is changed."""
        return openai.OpenAI(**self._endpoint(session), **options)

    def async_client(self, session: StepSession, **options: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(**self._endpoint(session), **options)

    def wait_for_request(self, session: StepSession, n: int = 1) -> None:
        """Returns when n calls of this attempt have reached the gateway."""
        wait_until(lambda: session.seen.total() >= n, seconds=60, what=f"{n} calls of the attempt")

    def wait_for_outcome(self, session: StepSession) -> None:
        wait_until(lambda: session.outcome is not None, seconds=60, what="the outcome of the attempt")

    def tools(self, session: StepSession) -> JournaledTools:
        return self.gateway.tools(session)

    def asked(self) -> list[str]:
        """The last message of each call that the model server has seen."""
        return [call.body["messages"][-1]["content"] for call in self.model.calls]

    def _endpoint(self, session: StepSession) -> dict[str, Any]:
        endpoint = self.gateway.endpoint(session)
        return {"base_url": endpoint.base_url, "api_key": "key-of-the-caller"}


@contextmanager
def running_scene(
    rows: Rows,
    model: ModelServer,
    url: str,
    *,
    tools: Sequence[Callable[..., Any] | Tool] = (),
    **settings: Any,
) -> Iterator[Scene]:
    """A gateway in this process, installed as a worker does it; the environment is put back at the end."""
    chosen = {
        "llm_base_url": model.base_url,
        "llm_api_key": PROVIDER_KEY,
        "llm_model": DEFAULT_MODEL,
        "model_prices": {"priced": {"input": "1", "output": "2"}},
        **settings,
    }
    registry = ToolRegistry([tool if isinstance(tool, Tool) else from_function(tool) for tool in tools])
    gateway = Gateway(Settings(database_url=url, **chosen), registry)
    before = dict(os.environ)
    identity.install(gateway.host, gateway.port)
    gateway.start()
    try:
        yield Scene(gateway, rows, model)
    finally:
        gateway.stop()
        os.environ.clear()
        os.environ.update(before)


def chat(client: openai.OpenAI, text: str = "hello", **options: Any) -> Any:
    return client.chat.completions.create(**chat_request(text, **options))


def chat_request(text: str = "hello", **options: Any) -> Any:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **options}


def text_of(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def streamed_text(chunks: Any) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


@contextmanager
def odd_provider(
    body: bytes, *, status: int = 200, content_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Iterator[tuple[str, list[Any]]]:
    """A provider that gives every call this answer; its base URL, and what it got: bodies, and the paths of GETs."""
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self._answer()

        def do_GET(self) -> None:
            got.append(self.path)
            self._answer()

        def _answer(self) -> None:
            self.send_response(status)
            for name, value in {"content-type": content_type, **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def completion(**fields: Any) -> bytes:
    """A chat completion in as few words as a client accepts."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "fine"}}
    return json.dumps({"id": "c", "object": "chat.completion", "created": 1, "choices": [choice], **fields}).encode()


def in_thread(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
