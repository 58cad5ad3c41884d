"""Every operation that the API publishes, and how it is asked for what belongs to somebody else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI

from models.tables import Table
from tests.isolation.rows import Furnished

PROTECTED = "/api/v1/"
METHODS = ("get", "post", "put", "patch", "delete")
#: Names of ids that do not tell their table; any other `<thing>_id` is of the table `<thing>s`.
TABLES = {
    "policy_id": "execution_policies",
    "action_id": "recovery_actions",
    "log_id": "consensus_logs",
    "key_id": "api_keys",
    "audit_id": "audit_logs",
    "connection_id": "external_workflow_connections",
    "webhook_id": "webhook_endpoints",
    "delivery_id": "webhook_deliveries",
    "member_id": "users",
    "export_id": "data_requests",
    "event_id": "execution_events",
    "version_id": "workflow_versions",
    "resource_id": "executions",
    # of a budget, as BODIES has it
    "scope_id": "workflows",
    "request_id": "",
    "kickoff_id": "",
    "assistant_id": "",
    "team_id": "",
}
#: Fields of bodies that hold ids and are called otherwise.
FIELDS = {"roles": "roles"}
#: What looks like an id of ours and is none, where it is used: names of steps, ids of services outside.
FOREIGN = {
    "/api/v1/consensus/{log_id}/acknowledge": {"agent_id"},
    "/api/v1/external-connections": {"user_id"},
    "/api/v1/external-connections/autogen": {"user_id"},
    "/api/v1/external-connections/{connection_id}": {"user_id"},
    "/api/v1/billing/topup": {"tax_ids"},
    "/api/v1/billing/subscription": {"tax_ids"},
}
#: Parameters of paths that are no ids.
PLAIN = {"name": "langgraph", "kickoff_id": "k1", "provider": "google", "report": "usage"}
#: What an operation needs beside ids to be understood.
BODIES: dict[str, dict[str, Any]] = {
    "post /api/v1/executions/{execution_id}/fork": {},
    "post /api/v1/checkpoints": {"checkpoint_name": "mine"},
    "post /api/v1/approvals/{approval_id}/edit": {"value": 1},
    "post /api/v1/approvals/{approval_id}/answer": {"decision": "approve"},
    "post /api/v1/policies": {"name": "p", "policy_type": "retry", "policy_config": {"max_retries": 1}},
    "post /api/v1/failures/{failure_id}/recover": {"action_type": "retry"},
    "post /api/v1/consensus/{log_id}/acknowledge": {"agent_id": "auditor"},
    "post /api/v1/auth/login": {"email": "nobody@example.com", "password": "wrong password of nobody"},
    "post /api/v1/auth/exchange": {"access_token": "no token"},
    "post /api/v1/billing/budgets": {"scope": "workflow", "amount": 5},
    "put /api/v1/executions/{execution_id}/budget": {"amount": 5},
    "post /api/v1/invitations": {"email": "nobody@example.com"},
    "post /api/v1/schedules": {"name": "s", "cron": "0 0 1 1 *"},
    "post /api/v1/schedules/{schedule_id}/backfill": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
}


def table_of(path: str, name: str, place: str = "path") -> str | None:
    """The table whose id a parameter or a field takes; None if it takes none of ours."""
    if place == "body" and name in FIELDS:
        return FIELDS[name]
    singular = re.sub(r"_ids$", "_id", name)
    if not singular.endswith("_id") or name in FOREIGN.get(path, ()):
        return None
    table = TABLES.get(singular, f"{singular.removesuffix('_id')}s")
    if table == "":
        return None
    assert table in Table.metadata.tables, f"tests/isolation/walk.py does not know whose id {name} of {path} is"
    return table


@dataclass(frozen=True)
class Operation:
    """One method of one path, and where it takes ids: `references` are (place, name, table)."""

    method: str
    path: str
    references: tuple[tuple[str, str, str], ...] = ()
    queries: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Question:
    """An operation with ids filled in. `ids` are by (place, name)."""

    operation: Operation
    ids: Mapping[tuple[str, str], str]
    query: Mapping[str, str] = field(default_factory=dict)

    async def ask(self, client: httpx.AsyncClient) -> httpx.Response:
        operation = self.operation
        values = {name: value for (place, name), value in self.ids.items() if place == "path"}
        url = re.sub(r"{(\w+)}", lambda found: values.get(found[1]) or PLAIN[found[1]], operation.path)
        query = {name: value for (place, name), value in self.ids.items() if place == "query"}
        body: Any = None
        if operation.method in ("post", "put", "patch"):
            body = dict(BODIES.get(str(operation), {}))
            for (place, name), value in self.ids.items():
                if place == "body":
                    body[name] = [value] if name in operation.lists else value
        return await client.request(operation.method, url, params={**query, **self.query}, json=body)

    def of(self, ids: Mapping[str, str], only: tuple[str, str] | None = None) -> Question:
        """The same with ids of somebody else: all, or one alone."""
        tables = {(place, name): table for place, name, table in self.operation.references}
        return replace(
            self,
            ids={key: ids[tables[key]] if only in (None, key) else value for key, value in self.ids.items()},
        )


def operations(app: FastAPI) -> list[Operation]:
    """All of them; those that only look come first."""
    document = app.openapi()
    found = []
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            if not path.startswith(PROTECTED) or method not in METHODS:
                continue
            parameters = [(given["in"], given["name"]) for given in described.get("parameters", [])]
            for place, name in parameters:
                if place == "path":
                    known = table_of(path, name) or name in PLAIN
                    assert known, f"tests/isolation/walk.py does not know what {name} of {path} is"
            fields = _fields(document, described)
            parameters += [("body", name) for name in fields]
            references = [(place, name, table_of(path, name, place)) for place, name in parameters if place != "header"]
            found.append(
                Operation(
                    method,
                    path,
                    tuple((place, name, table) for place, name, table in references if table is not None),
                    frozenset(name for place, name in parameters if place == "query"),
                    frozenset(name for name in fields if name.endswith("_ids") or name in FIELDS),
                )
            )
    return sorted(found, key=lambda operation: operation.method != "get")


def questions(operation: Operation, ours: Furnished) -> Iterator[tuple[Question, tuple[str, str] | None]]:
    """The operation about things of ours, and each reference alone that is then to be somebody else's; None is all."""
    needed = [(place, name) for place, name, _ in operation.references if place == "path"]
    tables = {(place, name): table for place, name, table in operation.references}
    body = [key for key in tables if key[0] == "body"]
    plain = Question(operation, {key: ours.ids[tables[key]] for key in (*needed, *body)})
    if needed or body:
        yield plain, None
    if len(needed) + len(body) > 1:
        for key in (*needed, *body):
            yield plain, key
    for key in tables:
        if key[0] == "query":
            yield replace(plain, ids={**plain.ids, key: ours.ids[tables[key]]}), key


def nowhere(theirs: Furnished) -> dict[str, str]:
    """Ids that exist nowhere, each next to one of somebody else's, so that both lie at the same place of every list."""
    ids = {table: str(UUID(int=UUID(value).int ^ 1)) for table, value in theirs.ids.items()}
    assert not set(ids.values()) & theirs.all_ids
    return ids


def told(answer: httpx.Response, ids: Mapping[str, str]) -> tuple[int, str, dict[str, str]]:
    """What an answer says, apart from the ids that it was asked with and what is new in each answer."""
    text = answer.text
    if answer.headers.get("content-type", "").startswith("application/json"):
        content = answer.json()
        if isinstance(content, dict) and isinstance(content.get("error"), dict):
            content["error"].pop("request_id")
        text = json.dumps(content)
    for table, value in ids.items():
        text = text.replace(value, f"<{table}>")
    changing = re.compile(r"x-request-id|date|content-length|.*ratelimit.*|retry-after")
    return (
        answer.status_code,
        text,
        {name: value for name, value in answer.headers.items() if not changing.fullmatch(name)},
    )


def _fields(document: Mapping[str, Any], described: Mapping[str, Any]) -> list[str]:
    """Names of the fields at the top of a body."""
    names: list[str] = []
    contents = described.get("requestBody", {}).get("content", {}).values()
    left = [content["schema"] for content in contents if "schema" in content]
    while left:
        schema = left.pop()
        if "$ref" in schema:
            left.append(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        left += [part for kind in ("anyOf", "oneOf", "allOf") for part in schema.get(kind, ())]
        names += schema.get("properties", {})
    return list(dict.fromkeys(names))
