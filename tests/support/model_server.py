"""A scripted OpenAI-compatible model server: the model provider of every test.

In a test: `with ModelServer(rules) as server: ...server.base_url...` (a thread of its own). As a process:
`python -m tests.support.model_server --port 8080 --script rules.json`, which prints `{"base_url": ..., "pid": ...}` when
it is ready. What it answers is told in `tests.support.model_script`; what it was asked is in `server.calls`.

Over HTTP: `GET /__log`, `POST /__script {"rules": [...], "hold_call": k}`, `POST /__release {"gate": name}`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.support import model_answers
from tests.support.model_log import Call, CallLog
from tests.support.model_script import Asked, Reply, Rule, Script, read_request, say


class _Protocol(HttpToolsProtocol):
    """Gives the application the connection itself, which is the only way to break it as a crashed server does."""

    ears: ModelServer

    def data_received(self, data: bytes) -> None:
        if not self.ears.overhears(self, data):
            super().data_received(data)

    def on_headers_complete(self) -> None:
        self.scope["extensions"] = {"connection": {"transport": self.transport}}
        super().on_headers_complete()


class ModelServer:
    """The server, its script and its log. Safe to use from any thread.

    `hold_call` holds the k-th call (from 1) at the gate `call-<k>`. A released gate stays open until the script changes.
    """

    def __init__(
        self, script: Iterable[Rule | Mapping[str, Any]] = (), *, port: int = 0, hold_call: int | None = None
    ) -> None:
        self.log = CallLog()
        self._open_gates: set[str] = set()
        self._is_deaf = False
        self._unheard: list[tuple[_Protocol, bytes]] = []
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.set_script(script, hold_call=hold_call)
        # With the protocol named, asyncio sets TCP_NODELAY on every accepted connection.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self.control_url = f"http://127.0.0.1:{self.port}"
        self.base_url = f"{self.control_url}/v1"
        config = uvicorn.Config(
            self._application(),
            http=type("_OfServer", (_Protocol,), {"ears": self}),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.run, name="model-server", daemon=True)

    def run(self) -> None:
        """Serves in the calling thread until `stop`."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._socket])

    def start(self) -> Self:
        self._socket.listen(128)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends the server at once; calls that are held are cut."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(timeout=60)
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def calls(self) -> list[Call]:
        """All calls so far, in order of arrival."""
        return self.log.calls

    def set_script(self, rules: Iterable[Rule | Mapping[str, Any]], *, hold_call: int | None = None) -> None:
        """Replaces the rules and closes all gates. The log is kept, and so is its count."""
        self._script = Script(rules)
        self._hold_call = hold_call
        self._open_gates.clear()

    def release(self, gate: str) -> None:
        """Opens a gate for the calls that wait at it and for those to come."""
        self._open_gates.add(gate)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def wait_for(self, condition: Callable[[list[Call]], bool], timeout: float = 60.0) -> list[Call]:
        """Waits until the log fulfils a condition; returns the log. `TimeoutError` shows what was there instead."""
        return self.log.wait_for(condition, timeout)

    def wait_for_calls(self, n: int, timeout: float = 60.0) -> list[Call]:
        """Waits until n calls have arrived."""
        return self.wait_for(lambda calls: len(calls) >= n, timeout)

    def wait_until_held(self, n: int = 1, timeout: float = 60.0) -> list[Call]:
        """Waits until n calls are held at gates."""
        return self.wait_for(lambda calls: sum(call.state == "held" for call in calls) >= n, timeout)

    @contextmanager
    def deaf(self) -> Iterator[Callable[[], None]]:
        """Inside the block not a byte of what is sent is read; it is at its end, from those who have not gone.

        What it gives waits until something was sent.
        """
        self._is_deaf = True
        try:
            yield self._wait_for_unheard
        finally:
            assert self._loop is not None
            asyncio.run_coroutine_threadsafe(self._hear(), self._loop).result(60)

    def _wait_for_unheard(self, timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while not self._unheard:
            assert time.monotonic() < deadline, f"nothing was sent within {timeout} s"
            time.sleep(0.02)

    # Inside the server's loop

    def overhears(self, protocol: _Protocol, data: bytes) -> bool:
        if self._is_deaf:
            self._unheard.append((protocol, data))
        return self._is_deaf

    async def _hear(self) -> None:
        # a connection whose other end has gone is closed by then
        await asyncio.sleep(0.1)
        self._is_deaf = False
        unheard, self._unheard = self._unheard, []
        for protocol, data in unheard:
            if not protocol.transport.is_closing():
                protocol.data_received(data)

    def _application(self) -> Starlette:
        posts = [Route(f"/v1/{name}", _Endpoint(self), methods=["POST"]) for name in _ANSWERS]
        return Starlette(
            routes=[
                *posts,
                Route("/v1/models", lambda _request: JSONResponse(model_answers.models())),
                Route("/__log", self._serve_log),
                Route("/__script", self._serve_script, methods=["POST"]),
                Route("/__release", self._serve_release, methods=["POST"]),
            ]
        )

    async def _serve_log(self, _request: Request) -> JSONResponse:
        return JSONResponse({"calls": [asdict(call) for call in self.calls]})

    async def _serve_script(self, request: Request) -> JSONResponse:
        script = await request.json()
        script = script if isinstance(script, dict) else {"rules": script}
        try:
            self.set_script(script.get("rules", ()), hold_call=script.get("hold_call"))
        except ValueError as error:
            return JSONResponse(model_answers.error(400, str(error)), status_code=400)
        return JSONResponse({})

    async def _serve_release(self, request: Request) -> JSONResponse:
        self.release((await request.json())["gate"])
        return JSONResponse({})

    def choose(self, call: Call, asked: Asked) -> Reply:
        rule = self._script.choose(asked)
        call.gate = f"call-{call.number}" if call.number == self._hold_call else rule.gate
        return rule.reply

    async def pass_gate(self, call: Call) -> None:
        while call.gate is not None and call.gate not in self._open_gates:
            if call.state != "held":
                self.log.mark(call, "held")
            self._wake.clear()
            await self._wake.wait()


_ANSWERS: Mapping[str, tuple[Callable[..., dict[str, Any]], Callable[..., Iterable[model_answers.Event]] | None]] = {
    "chat/completions": (model_answers.chat_completion, model_answers.chat_chunks),
    "responses": (model_answers.response, model_answers.response_events),
    "embeddings": (lambda asked, _said: model_answers.embeddings(asked), None),
}


class _Endpoint:
    """One model endpoint as an ASGI application: what breaks connections must hold them."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            body = await request.json()
            # What every provider insists on.
            _ = body["model"], body["messages" if scope["path"].endswith("completions") else "input"]
            asked = read_request(body)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            await JSONResponse(model_answers.error(400, f"unreadable request: {error}"), 400)(scope, receive, send)
            return
        call = self._server.log.arrive(scope["path"], body, request.headers)
        answer = asyncio.create_task(self._answer(call, asked, scope, receive, send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                self._server.log.mark(call, "disconnected")
        except asyncio.CancelledError:
            self._drop(call, scope)
            raise
        finally:
            for task in (answer, gone):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _answer(self, call: Call, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        reply = self._server.choose(call, asked)
        await self._server.pass_gate(call)
        await asyncio.sleep(reply.delay)
        if reply.hang:
            await asyncio.Event().wait()
        if reply.disconnect:
            self._drop(call, scope)
            return
        self._server.log.mark(call, "answering")
        whole, events = _ANSWERS[scope["path"].removeprefix("/v1/")]
        if reply.error is not None:
            await self._send_error(call, reply, scope, receive, send)
        elif asked.body.get("stream") and events is not None:
            await self._send_stream(call, reply, events(asked, say(reply, asked)), scope, send)
        else:
            # Marked before the last byte leaves: a client that has its answer finds the call finished.
            self._server.log.mark(call, "finished", status=200)
            await JSONResponse(whole(asked, say(reply, asked)))(scope, receive, send)

    async def _send_error(self, call: Call, reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
        assert reply.error is not None
        wait = reply.error.retry_after
        headers = {"Retry-After": f"{wait:g}"} if wait is not None else {}
        self._server.log.mark(call, "finished", status=reply.error.status)
        body = model_answers.error(reply.error.status, reply.error.message)
        await JSONResponse(body, reply.error.status, headers)(scope, receive, send)

    async def _send_stream(
        self, call: Call, reply: Reply, events: Iterable[model_answers.Event], scope: Scope, send: Send
    ) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for count, event in enumerate(events):
            if count == reply.truncate_after:
                self._drop(call, scope)
                return
            await asyncio.sleep(reply.chunk_delay if count else 0)
            await send({"type": "http.response.body", "body": model_answers.sse(event), "more_body": True})
        done = b"data: [DONE]\n\n" if scope["path"].endswith("/chat/completions") else b""
        self._server.log.mark(call, "finished", status=200)
        await send({"type": "http.response.body", "body": done})

    def _drop(self, call: Call, scope: Scope) -> None:
        self._server.log.mark(call, "dropped")
        scope["extensions"]["connection"]["transport"].abort()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def main(arguments: Sequence[str] | None = None) -> None:
    """The server as a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path, help="JSON file with the list of rules")
    parser.add_argument("--hold-call", type=int)
    options = parser.parse_args(arguments)
    rules = json.loads(options.script.read_text()) if options.script else ()
    server = ModelServer(rules, port=options.port, hold_call=options.hold_call)
    sys.stdout.write(json.dumps({"base_url": server.base_url, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    server.run()


if __name__ == "__main__":
    main()
