"""The services as a connection meets them, on one loopback server: CrewAI AMP, LangGraph Platform, AutoGen Studio, a model provider.

Each keeps what it was asked and what it started. `script` makes the next answers to a path something else: a status, garbage, a
redirect, a pause, a connection that breaks off after the work was done.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.support.loopback import free_port, wait_until

TOKEN = "canary-token-4f1c0ffee"
JSON = "application/json"


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Odd:
    """Another answer than the usual one. `after` says that the work is done before it is given."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False
    breaks_off: bool = False
    sleep: float = 0.0


class Double:
    """`url` is the address of all services. Runs end when `finish` is called, or at once with `at_once`."""

    def __init__(self) -> None:
        self.url = ""
        self.reset()

    def reset(self) -> None:
        self.token = TOKEN
        self.asked: list[Asked] = []
        self.script: defaultdict[str, list[Odd]] = defaultdict(list)
        self.at_once: dict[str, Any] | None = None
        #: CrewAI: runs by id, each with the answer to a question for its status.
        self.crews: dict[str, dict[str, Any]] = {}
        self.keys: list[str] = []
        self.honours_keys = False
        #: LangGraph: threads by id, with their runs.
        self.threads: dict[str, dict[str, Any]] = {}
        #: AutoGen: sessions and runs by id.
        self.sessions: dict[int, dict[str, Any]] = {}
        self.runs: dict[int, dict[str, Any]] = {}
        self.models: list[dict[str, Any]] = []
        self._ids = itertools.count(1)

    def requests(self, method: str, path: str) -> list[Asked]:
        return [one for one in self.asked if one.method == method and one.path.startswith(path)]

    def finish(self, answer: dict[str, Any]) -> None:
        """Every crew's run stands so from now on."""
        for crew in self.crews.values():
            crew.update(answer)

    # Ways in

    async def crew_inputs(self, request: Request) -> Response:
        return JSONResponse({"inputs": ["topic", "depth"]})

    async def crew_kickoff(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key", "")
        if self.honours_keys and key in self.keys:
            return JSONResponse({"kickoff_id": f"kick-{self.keys.index(key) + 1}"})
        self.keys.append(key)
        kickoff_id = f"kick-{len(self.keys)}"
        self.crews[kickoff_id] = {"status": "running", **(self.at_once or {})}
        return JSONResponse({"kickoff_id": kickoff_id})

    async def crew_status(self, request: Request) -> Response:
        crew = self.crews.get(request.path_params["id"])
        if crew is None:
            return JSONResponse({"error": "Execution not found", "message": "No execution found"}, 404)
        return JSONResponse(crew)

    async def assistants(self, request: Request) -> Response:
        return JSONResponse([{"assistant_id": "a-1", "graph_id": "agent", "name": "Agent"}])

    async def schemas(self, request: Request) -> Response:
        properties = {"messages": {"type": "array"}}
        return JSONResponse({"graph_id": "agent", "input_schema": {"type": "object", "properties": properties}})

    async def make_thread(self, request: Request) -> Response:
        body = await request.json()
        if body["thread_id"] in self.threads and body.get("if_exists") != "do_nothing":
            return JSONResponse({"detail": "exists"}, 409)
        self.threads.setdefault(body["thread_id"], {"runs": [], "values": {}, "next": []})
        return JSONResponse({"thread_id": body["thread_id"]})

    async def thread_runs(self, request: Request) -> Response:
        thread = self.threads.get(request.path_params["thread"])
        if thread is None:
            return JSONResponse({"detail": "Thread not found"}, 404)
        if request.method == "GET":
            return JSONResponse(thread["runs"])
        body = await request.json()
        run = {"run_id": f"run-{next(self._ids)}", "status": "pending", "metadata": body.get("metadata", {})}
        if self.at_once:
            run["status"] = "success"
            thread["values"] = self.at_once
        thread["runs"].append(run)
        return JSONResponse(run)

    async def thread_run(self, request: Request) -> Response:
        thread = self.threads.get(request.path_params["thread"], {"runs": []})
        for run in thread["runs"]:
            if run["run_id"] == request.path_params["run"]:
                if request.method == "POST":
                    run["status"] = "interrupted"
                return JSONResponse(run)
        return JSONResponse({"detail": "Run not found"}, 404)

    async def thread_state(self, request: Request) -> Response:
        thread = self.threads[request.path_params["thread"]]
        return JSONResponse({"values": thread["values"], "next": thread["next"], "tasks": thread.get("tasks", [])})

    async def team(self, request: Request) -> Response:
        if request.path_params["id"] != 7:
            return JSONResponse({"detail": "Team not found"}, 404)
        return JSONResponse({"status": True, "data": {"id": 7, "label": "Writers", "component": {"provider": "team"}}})

    async def studio_sessions(self, request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse({"status": True, "data": list(self.sessions.values())})
        session = {"id": next(self._ids), **await request.json()}
        self.sessions[session["id"]] = session
        return JSONResponse({"status": True, "data": session})

    async def session_runs(self, request: Request) -> Response:
        own = [run for run in self.runs.values() if run["session_id"] == request.path_params["id"]]
        listed = [{"id": str(run["id"]), "status": run["status"]} for run in own]
        return JSONResponse({"status": True, "data": {"runs": listed}})

    async def studio_runs(self, request: Request) -> Response:
        body = await request.json()
        run = {"id": next(self._ids), "session_id": body["session_id"], "status": "created", "team_result": None}
        self.runs[run["id"]] = run
        return JSONResponse({"status": True, "data": {"run_id": run["id"]}})

    async def studio_run(self, request: Request) -> Response:
        run = self.runs.get(request.path_params["id"])
        if run is None:
            return JSONResponse({"detail": "Run not found"}, 404)
        return JSONResponse({"status": True, "data": run})

    async def studio_socket(self, socket: WebSocket) -> None:
        """As the studio does it: the run is stopped when its connection ends before the run does."""
        run = self.runs.get(socket.path_params["id"])
        if run is None or run["status"] not in ("created", "active"):
            await socket.close(4004)
            return
        await socket.accept()
        await socket.send_json({"type": "system", "status": "connected"})
        try:
            while True:
                message = json.loads(await socket.receive_text())
                if message["type"] == "start":
                    run |= {"status": "active", "task": message["task"], "team_config": message["team_config"]}
                    if self.at_once is not None:
                        await socket.send_json({"type": "result", "status": "complete", "data": self.at_once})
                        run |= {"status": "complete", "team_result": self.at_once}
                        await socket.send_json({"type": "completion", "status": "complete"})
                elif message["type"] == "stop":
                    run["status"] = "stopped"
                    break
        except WebSocketDisconnect:
            if run["status"] == "active":
                run["status"] = "stopped"

    async def provider_models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "own-model"}]})

    async def completions(self, request: Request) -> Response:
        body = await request.json()
        self.models.append({"model": body["model"], "key": request.headers.get("authorization", "")})
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "from my own"}}
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        answer = {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
        return JSONResponse({**answer, "usage": usage})

    def app(self) -> Starlette:
        def route(path: str, handler: Any, *methods: str) -> Route:
            return Route(path, self._told(handler), methods=list(methods))

        return Starlette(
            routes=[
                route("/inputs", self.crew_inputs, "GET"),
                route("/kickoff", self.crew_kickoff, "POST"),
                route("/status/{id}", self.crew_status, "GET"),
                route("/assistants/search", self.assistants, "POST"),
                route("/assistants/{id}/schemas", self.schemas, "GET"),
                route("/threads", self.make_thread, "POST"),
                route("/threads/{thread}/runs", self.thread_runs, "GET", "POST"),
                route("/threads/{thread}/runs/{run}", self.thread_run, "GET"),
                route("/threads/{thread}/runs/{run}/cancel", self.thread_run, "POST"),
                route("/threads/{thread}/state", self.thread_state, "GET"),
                route("/api/teams/{id:int}", self.team, "GET"),
                route("/api/sessions/", self.studio_sessions, "GET", "POST"),
                route("/api/sessions/{id:int}/runs", self.session_runs, "GET"),
                route("/api/runs/", self.studio_runs, "POST"),
                route("/api/runs/{id:int}", self.studio_run, "GET"),
                WebSocketRoute("/api/ws/runs/{id:int}", self.studio_socket),
                route("/v1/models", self.provider_models, "GET"),
                route("/v1/chat/completions", self.completions, "POST"),
            ]
        )

    def _told(self, handler: Any) -> Any:
        async def answer(request: Request) -> Response:
            content = await request.body()
            body = json.loads(content) if content else None
            self.asked.append(Asked(request.method, request.url.path, dict(request.headers), body))
            given = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
            if given != self.token:
                # some services send back what they were given
                return JSONResponse({"error": f"The token {given} is not valid."}, 401)
            path = re.sub(r"^/threads/[^/]+", "/threads/*", request.url.path)
            waiting = self.script[f"{request.method} {path}"]
            odd = waiting.pop(0) if waiting else None
            if odd is None:
                usual: Response = await handler(request)
                return usual
            if odd.after:
                await handler(request)
            await asyncio.sleep(odd.sleep)
            if odd.breaks_off:
                request.scope["transport"].abort()
            return Response(odd.body, odd.status, headers=odd.headers, media_type=JSON)

        return answer


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """A server in a thread has none."""


@contextmanager
def running_double() -> Iterator[Double]:
    """The services on loopback, in a thread with a loop of its own."""
    double = Double()
    port = free_port()
    double.url = f"http://127.0.0.1:{port}"
    app = double.app()

    async def with_transport(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            # what breaks off does it without a word
            scope["transport"] = getattr(send, "__self__", None) and send.__self__.transport
        await app(scope, receive, send)

    config = uvicorn.Config(with_transport, host="127.0.0.1", port=port, log_config=None, lifespan="off")
    server = _Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, seconds=60, what="the double")
    try:
        yield double
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(60)
