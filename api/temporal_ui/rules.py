"""Pure: a request of the Web UI -> the call to Temporal that a tenant may make in its place.

Only what is named here goes through. The call is built anew from parts that were checked: nothing that the browser sent
(path, parameters, body) is passed on as it came, so two readings of it cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from api.temporal_ui.filters import of_tenant
from omium_core.errors import InvalidInput, NotFound, NotPermitted

#: What a signal or update asks for, and the permission that the same wish needs over REST.
COMMANDS = {
    "pause": "execution:pause",
    "resume": "execution:resume",
    "cancel": "execution:cancel",
    "rollback": "checkpoint:rollback",
    "approve": "approval:answer",
    "acknowledge_handoff": "consensus:acknowledge",
}
_READ = "execution:read"
_RUN = ("execution.runId", "execution.run_id")
_PAGE = ("pageSize", "maximumPageSize", "nextPageToken")
_HISTORY = (*_RUN, *_PAGE, "waitNewEvent", "historyEventFilterType", "skipArchival")
_QUEUE = re.compile(r"omium-[a-z_]+")
_QUEUE_QUERY = re.compile(rf'TaskQueue="{_QUEUE.pattern}"')
_RUN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_REST = re.compile(r"[A-Za-z0-9_:-]+(?:[/.][A-Za-z0-9_:-]+)*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
#: What Temporal can do to a run behind the platform's back: its rows would tell another story.
_NEVER = frozenset({"terminate", "reset", "pause", "unpause"})


@dataclass(frozen=True)
class Call:
    """One call of Temporal's HTTP interface. `path` is escaped; `kept` is the list of the answer to filter, and its id."""

    path: str
    permission: str = _READ
    params: Mapping[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    kept: str = ""
    execution: str = ""
    command: str = ""


@dataclass(frozen=True)
class Asked:
    """What the browser sent: the segments behind `/api/v1/`, unescaped."""

    method: str
    segments: Sequence[str]
    params: Mapping[str, str]
    body: Mapping[str, Any]


def segments_of(raw_path: str) -> list[str]:
    """The segments of a path as Temporal's Web UI writes them: each is escaped twice. `NotFound` for any other."""
    try:
        segments = [unquote(unquote(segment, errors="strict"), errors="strict") for segment in raw_path.split("/")]
    except UnicodeDecodeError:
        raise _nothing() from None
    if any("%" in segment or not segment for segment in segments):
        raise _nothing()
    return segments


def call_for(asked: Asked, tenant_id: UUID, namespace: str, actor: str) -> Call:
    """Raises `NotFound` for what is not of the tenant, or not for tenants, `NotPermitted` for what nobody may do here."""
    match asked.method, list(asked.segments):
        case "GET", ["cluster-info" | "system-info" as what]:
            return Call(f"/{what}")
        case "GET", ["namespaces"]:
            return Call(f"/namespaces/{namespace}", kept="namespaces")
        case method, ["namespaces", given, *rest] if given == namespace:
            inside = _Inside(asked, tenant_id, f"/namespaces/{namespace}", actor)
            return inside.read(rest) if method == "GET" else inside.change(rest)
    raise _nothing()


class _Inside:
    """What is beneath the namespace."""

    def __init__(self, asked: Asked, tenant_id: UUID, base: str, actor: str) -> None:
        self._asked = asked
        self._tenant = tenant_id
        self._base = base
        self._actor = actor

    def read(self, rest: list[str]) -> Call:
        match rest:
            case [] | ["search-attributes"]:
                return self._call(*rest)
            case ["workflows"]:
                return self._call("workflows", params=self._filtered(*_PAGE), kept="executions")
            case ["schedules"]:
                return self._call("schedules", params=self._filtered(*_PAGE), kept="schedules")
            case ["workflow-count" | "schedule-count" as count]:
                return self._call(count, params=self._filtered())
            case ["workflows", run] if self._is_own(run):
                return self._call("workflows", run, params=self._params(*_RUN))
            case ["workflows", run, "history" | "history-reverse" as order] if self._is_own(run):
                return self._call("workflows", run, order, params=self._params(*_HISTORY))
            case ["workflows", run, "run", run_id, "history.json"] if self._is_own(run) and _RUN_ID.fullmatch(run_id):
                return self._call("workflows", run, "run", run_id, "history.json")
            case ["schedules", schedule] if self._is_own(schedule):
                return self._call("schedules", schedule)
            case ["worker-count"] if _QUEUE_QUERY.fullmatch(self._asked.params.get("query", "")):
                return self._call("worker-count", params=self._params("query"))
            case ["task-queues", queue] if _QUEUE.fullmatch(queue):
                return self._call("task-queues", queue, params=self._params("taskQueueType"), kept="pollers")
        raise _nothing()

    def change(self, rest: list[str]) -> Call:
        if self._asked.method != "POST":
            raise _nothing()
        match rest:
            case ["workflows", run, "query", name] if self._is_execution(run) and _NAME.fullmatch(name):
                body: dict[str, Any] = {"execution": self._run(run, "execution"), "query": {"queryType": name}}
                return self._call("workflows", run, "query", name, body=body)
            case ["workflows", run, "signal", name] if self._is_execution(run):
                body = {"workflowExecution": self._run(run), "signalName": name, "identity": self._actor}
                return self._command(name, run, "signal", body | self._arguments("input"))
            case ["workflows", run, "update", name] if self._is_execution(run):
                given = _object(_object(self._asked.body, "request"), "input")
                asks: dict[str, Any] = {"name": name}
                if "args" in given:
                    asks["args"] = _payloads(given["args"])
                body = {
                    "workflowExecution": self._run(run),
                    "request": {"meta": {"identity": self._actor}, "input": asks},
                    "waitPolicy": {"lifecycleStage": "UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED"},
                }
                return self._command(name, run, "update", body)
            case ["workflows", run, "cancel"] if self._is_execution(run):
                body = {"workflowExecution": self._run(run), "identity": self._actor}
                return self._command("cancel", run, "", body, path=("workflows", run, "cancel"))
            case ["workflows", run, what] if self._is_execution(run) and what in _NEVER:
                raise NotPermitted(f"Runs are not steered by Temporal's own {what}: use the API, or a signal.")
        raise _nothing()

    def _command(
        self, name: str, run: str, how: str, body: dict[str, Any], path: tuple[str, ...] | None = None
    ) -> Call:
        permission = COMMANDS.get(name)
        if permission is None:
            raise NotPermitted(f"{name!r} is no command of a run; these are: {', '.join(COMMANDS)}.")
        where = self._where(*(path or ("workflows", run, how, name)))
        return Call(where, permission, body=body, execution=run.partition("/")[2], command=name)

    def _call(self, *segments: str, params: Mapping[str, str] | None = None, **options: Any) -> Call:
        return Call(self._where(*segments), params=params or {}, **options)

    def _where(self, *segments: str) -> str:
        return "/".join([self._base, *(quote(quote(segment, safe=""), safe="") for segment in segments)])

    def _is_own(self, name: str) -> bool:
        tenant, _, rest = name.partition("/")
        return tenant == str(self._tenant) and bool(_REST.fullmatch(rest))

    def _is_execution(self, name: str) -> bool:
        return self._is_own(name) and bool(_RUN_ID.fullmatch(name.partition("/")[2]))

    def _params(self, *names: str) -> dict[str, str]:
        return {name: self._asked.params[name] for name in names if name in self._asked.params}

    def _filtered(self, *names: str) -> dict[str, str]:
        return {**self._params(*names), "query": of_tenant(self._asked.params.get("query", ""), self._tenant)}

    def _run(self, run: str, name: str = "workflowExecution") -> dict[str, str]:
        run_id = _object(self._asked.body, name).get("runId") or ""
        if run_id and not (isinstance(run_id, str) and _RUN_ID.fullmatch(run_id)):
            raise InvalidInput(f"{name}.runId is no id of a run.")
        return {"workflowId": run, "runId": run_id}

    def _arguments(self, name: str) -> dict[str, Any]:
        return {name: _payloads(self._asked.body[name])} if self._asked.body.get(name) else {}


def _object(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = whole.get(name) or {}
    if not isinstance(part, dict):
        raise InvalidInput(f"{name} must be an object.")
    return part


def _payloads(given: Any) -> dict[str, Any]:
    """Payloads with what makes them up, and nothing else."""
    listed = given.get("payloads", []) if isinstance(given, dict) else None
    if not isinstance(listed, list) or not all(isinstance(payload, dict) for payload in listed):
        raise InvalidInput("input must be an object with a list of payloads.")
    return {"payloads": [{k: v for k, v in payload.items() if k in ("metadata", "data")} for payload in listed]}


def _nothing() -> NotFound:
    return NotFound("There is nothing here.")
