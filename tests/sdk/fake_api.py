"""A small HTTP server that plays the API: it keeps workflows and runs in memory, and can fail on demand.

`ApiServer` runs it on loopback in a thread, and can be stopped and started again on its port.
"""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

API_KEY = "omium_test_0123456789abcdef0123456789abcdef"
NOW = "2026-01-02T03:04:05Z"
STATE = {"messages": ["Grüße", "\ud83d"], "cost": 0.5}


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Cut:
    """The work is done, but the connection breaks in the middle of the answer."""


@dataclass(frozen=True)
class Instead:
    """Another answer, and no work."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def error(status: int, code: str, message: str, **details: Any) -> JSONResponse:
    envelope = {"code": code, "message": message, "details": details, "request_id": "req_7"}
    return JSONResponse({"error": envelope}, status)


class FakeApi:
    """The ASGI application. `faults` are used up one by one, a request each; None lets a request through."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.faults: list[Cut | Instead | None] = []
        self.workflows: dict[str, dict[str, Any]] = {}
        self.executions: dict[str, dict[str, Any]] = {}
        self.idempotent: dict[str, tuple[Any, str]] = {}
        #: The looks at a run that follow its start, each a change to it.
        self.script: list[dict[str, Any]] = [{"status": "running"}, {"status": "completed", "outputs": {"answer": 42}}]
        self._app = Starlette(
            routes=[
                Route("/api/v1/health/ready", self._health),
                Route("/api/v1/workflows", self._workflows, methods=["GET", "POST"]),
                Route("/api/v1/workflows/{id}", self._workflow, methods=["GET", "PUT", "DELETE"]),
                Route("/api/v1/workflows/{id}/execute", self._execute, methods=["POST"]),
                Route("/api/v1/executions", self._executions, methods=["GET", "POST"]),
                Route("/api/v1/executions/{id}", self._execution),
                Route("/api/v1/executions/{id}/retry", self._retry, methods=["POST"]),
                Route("/api/v1/executions/{id}/lineage", self._lineage),
                Route("/api/v1/executions/{id}/consensus", self._consensus),
                Route("/api/v1/executions/{id}/{action}", self._steer, methods=["POST"]),
                Route("/api/v1/checkpoints", self._checkpoints, methods=["GET", "POST"]),
                Route("/api/v1/checkpoints/{id}", self._checkpoint, methods=["GET", "DELETE"]),
                Route("/api/v1/checkpoints/{id}/rollback", self._rollback, methods=["POST"]),
                Route("/api/v1/approvals", self._approvals),
                Route("/api/v1/approvals/{id}", self._approval),
                Route("/api/v1/approvals/{id}/{decision}", self._answer, methods=["POST"]),
                Route("/api/v1/consensus/{id}/acknowledge", self._acknowledge, methods=["POST"]),
                Route("/api/v1/checkpoints/{id}/data", self._checkpoint_data),
                Route("/api/v1/failures", self._failures),
                Route("/api/v1/policies", self._policies, methods=["GET", "POST"]),
                Route("/api/v1/notifications", self._notifications),
                Route("/api/v1/notifications/{id}/retry", self._notifications, methods=["POST"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        content = await request.body()
        headers = dict(request.headers)
        body = json.loads(content) if content else None
        self.seen.append(Seen(request.method, request.url.path, dict(parse_qsl(request.url.query)), headers, body))
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, Instead):
            await Response(fault.body, fault.status, fault.headers)(scope, receive, send)
            return
        answer = _CutAnswer(send) if isinstance(fault, Cut) else send

        async def replay() -> Message:
            return {"type": "http.request", "body": content, "more_body": False}

        if headers.get("x-api-key") != API_KEY and not request.url.path.startswith("/api/v1/health"):
            refused = error(401, "AUTH_INVALID_CREDENTIALS", "The API key is not valid")
            await refused(scope, replay, answer)
            return
        await self._app(scope, replay, answer)

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ready"})

    async def _workflows(self, request: Request) -> Response:
        if request.method == "GET":
            items = list(self.workflows.values())
            return JSONResponse({"workflows": items, "total": len(items), "limit": 20, "next_cursor": "c2"})
        body = await request.json()
        if "bad" in body["workflow_definition"]:
            problem = {"path": "workflow_definition.bad", "message": "is not a field"}
            return error(422, "INVALID_INPUT", "The definition is not valid.", errors=[problem])
        workflow = body | {"id": f"w{len(self.workflows) + 1}", "version": 1, "is_active": True, "created_at": NOW}
        self.workflows[workflow["id"]] = workflow
        return JSONResponse(workflow, 201)

    async def _workflow(self, request: Request) -> Response:
        workflow = self.workflows.get(request.path_params["id"])
        if workflow is None:
            return error(404, "WORKFLOW_NOT_FOUND", "There is no such workflow")
        if request.method == "DELETE":
            del self.workflows[workflow["id"]]
            return Response(status_code=204)
        if request.method == "PUT":
            workflow |= await request.json()
            workflow["version"] += 1
        return JSONResponse(workflow)

    def _start(self, request: Request, body: Any) -> dict[str, Any] | None:
        """Starts a run, or finds the one that the same key started; None if the key came with another body."""
        key = request.headers["idempotency-key"]
        if key in self.idempotent:
            first, execution_id = self.idempotent[key]
            return self.executions[execution_id] if first == body else None
        execution_id = f"e{len(self.executions) + 1}"
        execution = {"id": execution_id, "status": "pending", "started_at": NOW, "agents": [], "looks": 0}
        self.executions[execution_id] = execution | {"inputs": body.get("inputs")}
        self.idempotent[key] = (body, execution_id)
        return self.executions[execution_id]

    async def _execute(self, request: Request) -> Response:
        execution = self._start(request, await request.json())
        if execution is None:
            return error(409, "IDEMPOTENCY_CONFLICT", "The key was used with another body")
        return JSONResponse({"execution_id": execution["id"], "status": execution["status"], "started_at": NOW}, 201)

    async def _executions(self, request: Request) -> Response:
        if request.method == "GET":
            items = list(self.executions.values())
            return JSONResponse({"executions": items, "total": len(items), "limit": 20, "next_cursor": None})
        execution = self._start(request, await request.json())
        return JSONResponse({"execution": execution, "message": "Execution started successfully"}, 201)

    async def _execution(self, request: Request) -> Response:
        execution = self.executions.get(request.path_params["id"])
        if execution is None:
            return error(404, "EXECUTION_NOT_FOUND", "There is no such execution", execution_id="x")
        if execution["looks"] < len(self.script):
            execution |= self.script[execution["looks"]]
        execution["looks"] += 1
        # the clock of a run moves at each look, without any change
        return JSONResponse({name: value for name, value in execution.items() if name != "looks"} | {"duration_ms": 7})

    async def _retry(self, request: Request) -> Response:
        execution = self.executions[request.path_params["id"]]
        execution |= {"status": "running", "retried_with": request.headers["idempotency-key"]}
        return JSONResponse({"execution": execution, "message": "Taken up again"})

    async def _steer(self, request: Request) -> Response:
        """Pause, resume, cancel, fork: one that is told to wait is `running` and says that it was asked."""
        action = request.path_params["action"]
        status = {"pause": "running", "resume": "running", "cancel": "cancelled", "fork": "pending"}[action]
        execution = {"id": "e9" if action == "fork" else request.path_params["id"], "status": status}
        answer = {"execution": execution, "message": f"Told to {action}"}
        return JSONResponse(answer | {"pause_requested": True} if action == "pause" else answer)

    async def _lineage(self, request: Request) -> Response:
        step = {"name": "[red]plan\x1b[2J", "status": "completed", "step_index": 0}
        point = {"id": "c1", "kind": "step", "step_index": 0, "checkpoint_name": "step_1_plan"}
        first = {"lineage": 0, "current": False, "steps": [step], "checkpoints": [point], "forks": []}
        again = {"lineage": 1, "parent_lineage": 0, "checkpoint_name": "step_1_plan", "reason": "bad", "current": True}
        again |= {"steps": [], "checkpoints": [point | {"kind": "named", "checkpoint_name": "mine"}]}
        again |= {"forks": [{"execution_id": "e9", "status": "running"}], "created_at": NOW}
        tree = {"lineage": 0, "children": [{"lineage": 1, "children": []}]}
        return JSONResponse({"execution_id": request.path_params["id"], "tree": tree, "lineages": [first, again]})

    async def _consensus(self, request: Request) -> Response:
        entry = {"id": "l1", "log_index": 1, "sender": "writer", "receivers": ["editor"], "status": "open"}
        entry |= {"acks_received": 1, "acks_required": 2, "acks": [{"voter": "ada", "valid": True}]}
        page = {"total": 1, "limit": 20, "next_cursor": None}
        return JSONResponse({"current_term": 3, "leader": "writer", "logs": [entry], **page})

    async def _acknowledge(self, request: Request) -> Response:
        body = await request.json()
        counts = body.get("term") is None
        tally = {"total_acks": 2 if counts else 1, "acks_required": 2, "consensus_reached": counts}
        return JSONResponse({"success": counts, **tally, "message": "Vote counted" if counts else "Term 1 is over."})

    async def _approvals(self, request: Request) -> Response:
        item = {"id": "a1", "status": "pending", "title": "[red]May it?\x1b[2J", "execution_id": "e1", "deadline": None}
        return JSONResponse({"approvals": [item], "total": 1, "limit": 20, "next_cursor": None})

    async def _approval(self, request: Request) -> Response:
        return JSONResponse({"id": request.path_params["id"], "status": "pending", "question": {"draft": "Grüße"}})

    async def _answer(self, request: Request) -> Response:
        if request.path_params["id"] != "a1":
            return error(409, "APPROVAL_ALREADY_ANSWERED", "The approval is approved already.")
        status = {"approve": "approved", "reject": "rejected", "edit": "edited"}[request.path_params["decision"]]
        approval = {"id": "a1", "status": status, **(await request.json())}
        return JSONResponse({"approval": approval, "execution": {"id": "e1"}, "message": "Answered"})

    async def _rollback(self, request: Request) -> Response:
        body = await request.json()
        effect = {"tool": "send_letter", "step": "act", "inverse": None}
        plan = {"checkpoint": {"name": "step_1_plan", "number": 1}, "from_lineage": 0, "to_lineage": 1}
        plan |= {
            "irreversible": [effect],
            "undo": [effect | {"tool": "reserve", "inverse": "release"}],
            "blocked": True,
        }
        plan |= {"spent": {"model_calls": 2, "credits": 0.5}, "reason": "What was done cannot be undone: send_letter."}
        if body.get("dry_run"):
            return JSONResponse({"plan": plan, "dry_run": True})
        if not body.get("confirm"):
            return error(409, "ROLLBACK_BLOCKED", "It cannot be undone.", plan=plan)
        execution = {"id": "e1", "status": "running" if body.get("resume") else "rolled_back", "lineage": 1}
        self.executions.setdefault("e1", {"looks": 0, **execution})
        return JSONResponse({"rollback": {"id": "r1"}, "execution": execution, "message": "Rolled back"})

    async def _checkpoints(self, request: Request) -> Response:
        if request.method == "POST":
            return JSONResponse({"checkpoint": {"id": "c9", **(await request.json())}}, 201)
        item = {"id": "c1", "execution_id": request.query_params["execution_id"], "checkpoint_number": 1}
        item |= {"checkpoint_name": "[red]plan\x1b[2J", "state_size_bytes": 2048, "created_at": NOW}
        return JSONResponse({"checkpoints": [item], "total": 1, "limit": 20, "next_cursor": None})

    async def _checkpoint(self, request: Request) -> Response:
        if request.method == "DELETE":
            return Response(status_code=204)
        return JSONResponse({"id": request.path_params["id"], "checkpoint_number": 1, "checksum": "sha256:ab"})

    async def _checkpoint_data(self, request: Request) -> Response:
        # escaped, because half of a surrogate pair has no bytes in UTF-8
        content = json.dumps({"checkpoint_id": request.path_params["id"], "state": STATE})
        return Response(content, media_type="application/json")

    async def _failures(self, request: Request) -> Response:
        item = {"id": "f1", "execution_id": "e1", "failure_type": "ModelUnavailable", "error_message": "no answer"}
        item |= {"recovery_suggestion": "Start the model", "created_at": NOW}
        return JSONResponse({"failures": [item], "total": 1, "limit": 20, "next_cursor": None})

    async def _policies(self, request: Request) -> Response:
        if request.method == "POST":
            made = await request.json()
            return JSONResponse({"id": "p1", "version": 1, "is_active": True, "workflow_id": None, **made}, 201)
        return JSONResponse({"policies": [], "total": 0, "limit": 20, "next_cursor": None})

    async def _notifications(self, request: Request) -> Response:
        row = {
            "id": "n1",
            "event_type": "execution.failed",
            "target": "hooks.example",
            "status": "failed",
            "attempts": 12,
        }
        row |= {"last_error": "hooks.example answered 503.", "next_attempt_at": NOW, "sent_at": None}
        if request.method == "POST":
            return JSONResponse({"notification": row, "message": "The notification is sent again."})
        return JSONResponse({"notifications": [row], "total": 1, "limit": 20, "next_cursor": None})


class _CutAnswer:
    """Sends the head of an answer and one byte of its body; the server then finds it incomplete and hangs up."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message.update(status=200, headers=[(b"content-length", b"1000")])
            await self._send(message)
            await self._send({"type": "http.response.body", "body": b"{", "more_body": True})


class ApiServer:
    """Runs a `FakeApi` in a thread, on a port that stays the same; `api` may be put in another's place at any time."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.port = 0
        self.running = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.api(scope, receive, send)

    def start(self) -> None:
        if self.running:
            return
        # the socket listens from here on, so nobody has to wait for the thread
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app, interface="asgi3", lifespan="off", log_level="critical", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        self.running = True

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self.running = False
