"""Every operation of the API, asked for what belongs to another tenant: it is as if that were nowhere."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.app import create_app
from omium_core.settings import Settings
from tests.isolation.conftest import Neighbours
from tests.isolation.rows import Furnished, snapshot, superuser
from tests.isolation.walk import METHODS, PROTECTED, Operation, nowhere, operations, questions, table_of, told

#: Beneath the protected prefix and not in the description: the page of Temporal, and the addresses of health once more.
UNDESCRIBED = ("/api/v1/health/", "/api/v1/metrics", "/api/v1/temporal/")

#: Who signs in is no tenant's yet, and is refused in another way.
SIGN_IN = "/api/v1/auth/"

#: One of several values of a field: what is wrong with it is said of the field.
IN_LISTS = {("body", "roles")}


def assert_nothing_of(theirs: Furnished, answer: httpx.Response, asked: str) -> None:
    """No word and no id of theirs is in the answer, but the ids that were in the question."""
    request = answer.request
    sent = f"{request.url} {request.read().decode()}"
    shown = answer.text + " ".join(f"{name}: {value}" for name, value in answer.headers.items())
    assert theirs.word not in shown, asked
    assert not [value for value in theirs.all_ids if value in shown and value not in sent], asked


def lists_in(answer: httpx.Response) -> list[Any]:
    """The lists of an answer; the lines of a file below its heading, else the text of one that is no JSON."""
    if "text/csv" in answer.headers["content-type"]:
        return [answer.text.splitlines()[1:]]
    if "application/json" not in answer.headers["content-type"]:
        return [answer.text.strip()]
    content = answer.json()
    return [value for value in content.values() if isinstance(value, list)] if isinstance(content, dict) else []


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> list[Operation]:
    return operations(create_app(Settings(store_path=tmp_path_factory.mktemp("objects"))))


async def test_nothing_of_another_tenant_is_there(
    published: list[Operation], neighbours: Neighbours, settings: Settings
) -> None:
    theirs, ours, http = neighbours.theirs, neighbours.ours, neighbours.http
    missing = nowhere(theirs)
    url = settings.database_url.get_secret_value()
    async with superuser(url) as engine:
        before = await snapshot(engine, theirs.tenant)
    walked = set()
    for operation in published:
        for question, only in questions(operation, ours):
            asked = f"{operation} with {only or 'all ids'} of another tenant"
            answer = await question.of(theirs.ids, only).ask(http)
            control = await question.of(missing, only).ask(http)
            assert_nothing_of(theirs, answer, asked)
            assert told(answer, theirs.ids) == told(control, missing), asked
            if only is not None and only[0] == "query" and answer.status_code == 200:
                assert not any(lists_in(answer)), asked
                assert '"total":0' in answer.text or '"total"' not in answer.text, asked
            elif IN_LISTS & question.ids.keys():
                assert answer.status_code in (404, 422), (asked, answer.text)
            elif operation.path.startswith(SIGN_IN):
                assert answer.status_code in (401, 403, 404, 409), (asked, answer.text)
            else:
                assert answer.status_code == 404, (asked, answer.text)
            walked.add(operation)
    assert len(walked) >= 60
    async with superuser(url) as engine:
        assert await snapshot(engine, theirs.tenant) == before


async def test_lists_and_totals_are_of_one_tenant(published: list[Operation], neighbours: Neighbours) -> None:
    theirs, ours, http = neighbours.theirs, neighbours.ours, neighbours.http
    counted = with_cursor = 0
    for operation in published:
        if operation.method != "get" or any(place == "path" for place, _, _ in operation.references):
            continue
        if "{" in operation.path:
            continue
        limit = {"limit": "100"} if "limit" in operation.queries else {}
        needed = {name: ours.ids[table] for place, name, table in operation.references if place == "query"}
        for query in (limit, {**limit, **needed}):
            answer = await http.get(operation.path, params=query)
            assert_nothing_of(theirs, answer, str(operation))
            if answer.status_code == 200 and "application/json" in answer.headers["content-type"]:
                content = answer.json()
                if isinstance(content, dict) and "total" in content:
                    assert [content["total"]] == [len(rows) for rows in lists_in(answer)], operation
                    counted += 1
        if "cursor" in operation.queries:
            listed = [rows for rows in lists_in(await neighbours.as_them.get(operation.path, params=query)) if rows]
            value = listed[0][0]["id"] if listed else theirs.ids["executions"]
            neighbour = str(UUID(int=UUID(value).int ^ 1))
            answer = await http.get(operation.path, params={**query, "cursor": value})
            control = await http.get(operation.path, params={**query, "cursor": neighbour})
            assert_nothing_of(theirs, answer, str(operation))
            assert told(answer, {"": value}) == told(control, {"": neighbour}), operation
            with_cursor += 1
    assert counted >= 10
    assert with_cursor >= 10


async def test_walk_would_find_what_is_there(published: list[Operation], neighbours: Neighbours) -> None:
    """The same questions, asked by the tenant itself, are answered, and with its word."""
    shown = 0
    for operation in published:
        if operation.method == "get" and len(operation.references) == 1 and operation.references[0][0] == "path":
            for question, _ in questions(operation, neighbours.theirs):
                answer = await question.ask(neighbours.as_them)
                shown += neighbours.theirs.word in answer.text
    assert shown >= 10


@pytest.mark.thorough
async def test_methods_that_a_path_does_not_have(published: list[Operation], neighbours: Neighbours) -> None:
    theirs = neighbours.theirs
    known = {(operation.path, operation.method) for operation in published}
    for operation in published:
        for question, _ in questions(operation, theirs):
            for method in METHODS:
                if (operation.path, method) not in known:
                    known.add((operation.path, method))
                    other = Operation(method, operation.path, operation.references)
                    asked = type(question)(
                        other, {key: value for key, value in question.ids.items() if key[0] == "path"}
                    )
                    answer = await asked.ask(neighbours.http)
                    assert_nothing_of(theirs, answer, f"{method} {operation.path}")
                    assert answer.status_code in (404, 405), f"{method} {operation.path}"


async def test_idempotency_keys_of_two_tenants_do_not_meet(neighbours: Neighbours) -> None:
    """The key of somebody else's run is a new one here, also with the very same body."""
    theirs, ours = neighbours.theirs, neighbours.ours
    key = {"Idempotency-Key": f"key of {theirs.ids['executions']}"}
    foreign = await neighbours.http.post(
        "/api/v1/executions", json={"workflow_id": theirs.ids["workflows"]}, headers=key
    )
    assert foreign.status_code == 404
    answer = await neighbours.http.post("/api/v1/executions", json={"workflow_id": ours.ids["workflows"]}, headers=key)
    assert_nothing_of(theirs, answer, "their Idempotency-Key")
    assert (answer.status_code, answer.json()["execution"]["workflow_id"]) == (201, ours.ids["workflows"]), answer.text


def test_no_route_is_left_out(app: FastAPI, published: list[Operation]) -> None:
    described = {operation.path for operation in published}
    for route in app.routes:
        path = getattr(route, "path", "")
        if path.startswith(PROTECTED) and path not in described:
            assert path.startswith(UNDESCRIBED), path
        if isinstance(route, APIRoute) and path in described:
            assert {method.lower() for method in route.methods or ()} <= {
                operation.method for operation in published if operation.path == path
            }, path


def test_id_of_an_unknown_kind_is_noticed() -> None:
    with pytest.raises(AssertionError, match="does not know whose id gadget_id"):
        table_of("/api/v1/gadgets/{gadget_id}", "gadget_id")
    assert table_of("/api/v1/workflows/{workflow_id}", "workflow_id") == "workflows"
