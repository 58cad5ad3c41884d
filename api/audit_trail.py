"""One entry in the audit log for each request that may change something, whatever came of it.

The entry is written when the route has done its work and before the answer goes out: whoever has an answer finds it in the
log. It costs such a request one insert, and reads nothing. While the database is away the answer is not held back, since
what it tells has happened: the entry waits in this process, is written as soon as it can be, and stands in the process's own log
in the meantime.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from starlette.types import Message, Scope, Send

from api.auth.principal import Principal
from api.services.auditing import Noted, current, entry_of, write_without_transaction
from models.database import Database, is_database_away
from models.repositories.audit import AuditEntry
from models.tables.base import new_id, now

log = structlog.get_logger(__name__)

CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
PREFIX = "/api/v1"
#: Actions that have another name than the permission of their route; and the parameter whose resource they are about.
ACTIONS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("POST", "/workflows/{workflow_id}/execute"): ("workflow.execute", "workflow"),
    ("POST", "/executions/{execution_id}/rollback"): ("execution.rollback", "execution"),
}
#: Entries that wait while the database is away; beyond that the oldest are in the process's log alone.
QUEUE = 10_000
#: How long an answer waits for its entry while the database is away, in seconds, and how often the queue is tried.
PATIENCE, AGAIN = 2.0, 2.0
#: An entry that has waited for longer is written as one of the moment: the chain takes what is much older than its neighbours
#: for something that was written into the past.
LATE = timedelta(minutes=5)
_TOO_MANY = 429
_LARGEST_BODY = 1024 * 1024


class AuditWriter:
    """Writes entries outside of any transaction. One per process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: deque[AuditEntry] = deque(maxlen=QUEUE)
        self._flushing: asyncio.Task[None] | None = None

    async def write(self, entry: AuditEntry) -> None:
        """Writes it now, or when the database is back. Never raises: what the entry tells has happened already."""
        try:
            await write_without_transaction(self._database, entry, patience=PATIENCE)
        except Exception as error:
            if not is_database_away(error):
                log.exception("an audit entry was refused", entry=_shown(entry))
                return
            log.error("an audit entry has to wait", entry=_shown(entry), error=str(error))
            self._queue.append(entry)
            if self._flushing is None or self._flushing.done():
                self._flushing = asyncio.create_task(self._flush())

    async def close(self) -> None:
        """Tries once more what still waits."""
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
        try:
            await self._write_queue()
        except Exception as error:
            if not is_database_away(error):
                raise
            log.error("audit entries were not written", entries=[_shown(entry) for entry in self._queue])

    async def _flush(self) -> None:
        while self._queue:
            await asyncio.sleep(AGAIN)
            try:
                await self._write_queue()
            except Exception as error:
                if not is_database_away(error):
                    raise

    async def _write_queue(self) -> None:
        while self._queue:
            if self._queue[0].created_at < now() - LATE:
                self._queue[0] = _anew(self._queue[0])
            await write_without_transaction(self._database, self._queue[0], patience=PATIENCE)
            self._queue.popleft()


class Trail:
    """Stands between a route and the client: holds the answer's head back until the entry is written."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._start: Message | None = None
        self.noted = Noted(scope["state"]["origin"])
        self._token = current.set(self.noted)

    def end(self) -> None:
        current.reset(self._token)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is not None:
            start, self._start = self._start, None
            entry = self._entry(start["status"], message.get("body", b""))
            if entry is not None:
                writer: AuditWriter = self._scope["app"].state.audit
                await writer.write(entry)
            await self._send(start)
        await self._send(message)

    def _entry(self, status: int, body: bytes) -> AuditEntry | None:
        """What is to be written, if a use case has not done it."""
        caller: Principal | None = self._scope["state"].get("principal")
        route = self._scope.get("route")
        worked = status < 400
        if caller is None or route is None or self.noted.settled or (worked and self.noted.written):
            return None
        if status == _TOO_MANY:
            # it would let a flood of requests become a flood of writes
            return None
        permission = permission_of(route)
        if permission is None:
            return None
        answer = _json(body)
        action, kind, resource_id = _subject(self._scope, route.path, permission, answer if worked else None)
        if self.noted.resource is not None:
            kind, resource_id = self.noted.resource
        metadata: dict[str, Any] = {"method": self._scope["method"], "route": route.path, "http_status": status}
        code = None if worked or not isinstance(answer, dict) else (answer.get("error") or {}).get("code")
        if code:
            metadata["code"] = code
        return entry_of(
            caller,
            action,
            kind,
            resource_id,
            origin=self.noted.origin,
            old=self.noted.old,
            new=self.noted.new,
            status="success" if worked else "denied" if status in (401, 403) else "failure",
            metadata=metadata,
        )


def trail_of(scope: Scope, send: Send) -> Trail | None:
    """The trail of a request that may change something; None for all others, which pay nothing for it."""
    if scope["method"] not in CHANGES or not scope["path"].startswith(PREFIX):
        return None
    return Trail(scope, send)


def permission_of(route: Any) -> str | None:
    """The permission that a route declares (`api.deps.requires`)."""
    dependant = getattr(route, "dependant", None)
    for dependency in dependant.dependencies if dependant is not None else ():
        permission: str | None = getattr(dependency.call, "permission", None)
        if permission is not None:
            return permission
    return None


def _subject(scope: Scope, path: str, permission: str, answer: Any) -> tuple[str, str, UUID | None]:
    """The action, what kind of thing it is about, and which: as the path says, else as the answer does."""
    given: Mapping[str, Any] = scope.get("path_params") or {}
    renamed = ACTIONS.get((scope["method"], path.removeprefix(PREFIX)))
    action = permission.replace(":", ".")
    kind = permission.partition(":")[0]
    if renamed is not None:
        action, kind = renamed
    if f"{kind}_id" in given:
        return action, kind, _uuid(given[f"{kind}_id"])
    named = [name for name in given if name.endswith("_id")]
    if named and (found := _uuid(given[named[-1]])) is not None:
        return action, _kind_of(named[-1]), found
    return action, kind, _id_in(answer, kind)


def _kind_of(parameter: str) -> str:
    return {"log": "consensus", "action": "recovery_action"}.get(name := parameter.removesuffix("_id"), name)


def _id_in(answer: Any, kind: str) -> UUID | None:
    """The id of what was made: of the answer itself, or of the thing in it."""
    if not isinstance(answer, dict):
        return None
    inner = answer.get(kind)
    places = [answer, inner if isinstance(inner, dict) else {}]
    names = ("id", f"{kind}_id")
    return next((found for place in places for name in names if (found := _uuid(place.get(name)))), None)


def _json(body: bytes) -> Any:
    if not body or len(body) > _LARGEST_BODY:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return None


def _uuid(value: Any) -> UUID | None:
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None


def _anew(entry: AuditEntry) -> AuditEntry:
    """An entry of now, which says when what it tells happened."""
    metadata = {"happened_at": entry.created_at.isoformat(), **entry.metadata}
    return replace(entry, id=new_id(), created_at=now(), metadata=metadata)


def _shown(entry: AuditEntry) -> dict[str, Any]:
    """An entry for the process's log: without its values."""
    names = (
        "id",
        "tenant_id",
        "user_id",
        "api_key_id",
        "action",
        "resource_type",
        "resource_id",
        "request_id",
        "status",
    )
    return {name: str(getattr(entry, name)) for name in names}
