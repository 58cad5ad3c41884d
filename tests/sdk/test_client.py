"""Requests and answers of both clients: shapes, repetitions, errors."""

from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import Callable
from typing import Any

import pytest
from omium import (
    AsyncOmiumClient,
    AuthenticationError,
    ConfigurationError,
    Conflict,
    InvalidArgument,
    InvalidInput,
    NotFound,
    OmiumAPIError,
    OmiumClient,
    OmiumConnectionError,
    OmiumError,
)

from tests.sdk.fake_api import API_KEY, STATE, ApiServer, Cut, FakeApi, Instead


def test_a_workflow_from_birth_to_end(client: OmiumClient, api: FakeApi) -> None:
    created = client.workflows.create("Sums", "langgraph", {"nodes": []}, input_schema={"type": "object"}, tags=["a"])
    assert created["id"] == "w1"
    assert api.seen[-1].body == {
        "name": "Sums",
        "framework": "langgraph",
        "workflow_definition": {"nodes": []},
        "input_schema": {"type": "object"},
        "tags": ["a"],
    }
    assert client.workflows.get("w1")["name"] == "Sums"
    assert client.workflows.update("w1", name="Totals")["version"] == 2
    assert api.seen[-1].body == {"name": "Totals"}
    assert [item["name"] for item in client.workflows.list(page=1, per_page=5)["workflows"]] == ["Totals"]
    assert api.seen[-1].query == {"page": "1", "per_page": "5"}
    client.workflows.delete("w1")
    with pytest.raises(NotFound) as caught:
        client.workflows.get("w1")
    assert (caught.value.code, caught.value.request_id) == ("WORKFLOW_NOT_FOUND", "req_7")


def test_runs_checkpoints_and_failures(client: OmiumClient, api: FakeApi) -> None:
    started = client.workflows.execute("w1", {"query": "Hello"})
    assert started["execution_id"] == "e1"
    created = client.executions.create("w1", {"query": "Hello"}, metadata={"order": 7})
    assert created["execution"]["id"] == "e2"
    assert api.seen[-1].body == {"workflow_id": "w1", "inputs": {"query": "Hello"}, "metadata": {"order": 7}}
    assert client.executions.list(status="pending", limit=3)["total"] == 2
    assert api.seen[-1].query == {"status": "pending", "limit": "3"}
    assert client.executions.retry("e1")["execution"]["status"] == "running"
    assert client.checkpoints.list("e1")["checkpoints"][0]["checkpoint_number"] == 1
    assert client.checkpoints.get("c1")["checksum"] == "sha256:ab"
    assert client.checkpoints.get_data("c1") == {"checkpoint_id": "c1", "state": STATE}
    client.checkpoints.get_data("c1", raw=True)
    assert api.seen[-1].query == {"raw": "true"}
    assert client.failures.list(status="unresolved")["failures"][0]["failure_type"] == "ModelUnavailable"


def test_steering(client: OmiumClient, api: FakeApi) -> None:
    assert client.executions.pause("e1")["pause_requested"] is True
    assert client.executions.cancel("e1", reason="enough")["execution"]["status"] == "cancelled"
    assert client.executions.lineage("e1")["lineages"][1]["reason"] == "bad"
    assert client.checkpoints.create("e1", "mine", metadata={"by": "ada"})["checkpoint"]["id"] == "c9"
    assert client.checkpoints.plan_rollback("c1")["plan"]["blocked"] is True
    with pytest.raises(Conflict) as caught:
        client.checkpoints.rollback("c1", reason="bad", trigger_type="policy")
    assert caught.value.code == "ROLLBACK_BLOCKED"
    assert caught.value.details["plan"]["irreversible"][0]["tool"] == "send_letter"
    with pytest.raises(Conflict):
        client.executions.restore_from_checkpoint("c1")
    restored = client.executions.restore_from_checkpoint("c1", confirm=True)
    assert (restored["id"], api.seen[-2].body) == ("e1", {"resume": True, "confirm": True})
    assert client.checkpoints.list("e1", kind="named", lineage=1)["total"] == 1
    assert api.seen[-1].query == {"execution_id": "e1", "kind": "named", "lineage": "1"}
    assert client.approvals.edit("a1", {"x": 1})["approval"]["status"] == "edited"
    assert client.consensus.acknowledge("l1", "ada")["consensus_reached"] is True


async def test_steering_async(server: ApiServer, api: FakeApi) -> None:
    async with AsyncOmiumClient(API_KEY, server.url) as client:
        assert (await client.executions.restore_from_checkpoint("c1", confirm=True))["id"] == "e1"
        assert (await client.executions.fork("e1", "c1", inputs={"a": 1}))["execution"]["id"] == "e9"
        assert (await client.approvals.approve("a1"))["approval"]["status"] == "approved"


def test_steering_is_safe_to_repeat(client: OmiumClient, api: FakeApi) -> None:
    commands: list[Callable[[], object]] = [
        lambda: client.executions.pause("e1"),
        lambda: client.executions.resume("e1"),
        lambda: client.executions.cancel("e1"),
        lambda: client.executions.fork("e1", "c1"),
        lambda: client.checkpoints.rollback("c1", confirm=True),
        lambda: client.approvals.approve("a1"),
        lambda: client.consensus.acknowledge("l1", "ada"),
    ]
    for command in commands:
        api.faults, api.seen = [Cut()], []
        command()
        assert len(api.seen) == 2
        assert len({seen.headers["idempotency-key"] for seen in api.seen}) == 1


def test_every_start_has_its_own_key(client: OmiumClient, api: FakeApi) -> None:
    for _ in range(2):
        client.workflows.execute("w1")
        client.executions.create("w1")
        client.executions.retry("e1")
    keys = [seen.headers["idempotency-key"] for seen in api.seen]
    assert len(set(keys)) == 6
    assert client.workflows.execute("w1", {"a": 1}, idempotency_key="order-7")["execution_id"] == "e5"
    assert client.workflows.execute("w1", {"a": 1}, idempotency_key="order-7")["execution_id"] == "e5"
    with pytest.raises(Conflict, match="IDEMPOTENCY_CONFLICT"):
        client.workflows.execute("w1", {"a": 2}, idempotency_key="order-7")


def test_a_lost_answer_starts_no_second_run(client: OmiumClient, api: FakeApi) -> None:
    api.faults = [Cut(), Instead(503, b"<html>busy</html>")]
    assert client.workflows.execute("w1", {"a": 1})["execution_id"] == "e1"
    assert list(api.executions) == ["e1"]
    assert [seen.body for seen in api.seen] == [{"inputs": {"a": 1}}] * 3
    assert len({seen.headers["idempotency-key"] for seen in api.seen}) == 1


async def test_a_lost_answer_starts_no_second_run_async(server: ApiServer, api: FakeApi) -> None:
    api.faults = [Cut(), Instead(502, b"")]
    async with AsyncOmiumClient(API_KEY, server.url, max_retries=2) as client:
        assert (await client.workflows.execute("w1", {"a": 1}))["execution_id"] == "e1"
    assert list(api.executions) == ["e1"]
    assert len({seen.headers["idempotency-key"] for seen in api.seen}) == 1


def test_reads_are_repeated(client: OmiumClient, api: FakeApi) -> None:
    api.faults = [Instead(504, b""), Cut()]
    assert client.workflows.list()["total"] == 0
    assert len(api.seen) == 3


@pytest.mark.parametrize("fault", [Cut(), Instead(503, b"")])
def test_other_writes_are_never_repeated(client: OmiumClient, api: FakeApi, fault: Cut | Instead) -> None:
    api.workflows["w1"] = {"id": "w1", "version": 1}
    writes: list[Callable[[], object]] = [
        lambda: client.workflows.create("Sums", "langgraph", {}),
        lambda: client.workflows.update("w1", name="Totals"),
        lambda: client.workflows.delete("w1"),
    ]
    for write in writes:
        api.faults, api.seen = [fault], []
        with pytest.raises(OmiumError):
            write()
        assert len(api.seen) == 1


def test_repeating_ends_and_tells_the_last_error(client: OmiumClient, api: FakeApi) -> None:
    body = b'{"error": {"code": "SERVICE_UNAVAILABLE", "message": "The database is away", "request_id": "req_9"}}'
    api.faults = [Instead(503, body)] * 3
    with pytest.raises(OmiumAPIError) as caught:
        client.executions.list()
    assert (caught.value.status_code, caught.value.code) == (503, "SERVICE_UNAVAILABLE")
    assert len(api.seen) == 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidInput),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, NotFound),
        (409, Conflict),
        (413, InvalidInput),
        (422, InvalidInput),
        (429, OmiumAPIError),
        (500, OmiumAPIError),
    ],
)
def test_errors_have_a_class_for_each_kind(
    client: OmiumClient, api: FakeApi, status: int, kind: type[OmiumAPIError]
) -> None:
    envelope = b'{"error": {"code": "SOME_CODE", "message": "No.", "details": {"a": 1}, "request_id": "req_1"}}'
    api.faults = [Instead(status, envelope)]
    with pytest.raises(OmiumAPIError) as caught:
        client.workflows.list()
    error = caught.value
    assert type(error) is kind
    assert (error.status_code, error.code, error.message, error.details, error.request_id) == (
        status,
        "SOME_CODE",
        "No.",
        {"a": 1},
        "req_1",
    )
    assert str(error) == "No (SOME_CODE, request req_1)"
    assert len(api.seen) == 1


def test_problems_name_their_fields(client: OmiumClient) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.workflows.create("Sums", "langgraph", {"bad": 1})
    assert caught.value.problems == [("workflow_definition.bad", "is not a field")]
    assert "The definition is not valid: workflow_definition.bad: is not a field" in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (InvalidInput, str(caught.value))


@pytest.mark.parametrize(
    "answer",
    [
        Instead(200, b"<html>Welcome</html>"),
        Instead(200, b'"\xff"'),
        Instead(404, b'{"detail": "Not Found"}'),
        Instead(307, b"", {"location": "https://elsewhere.example/"}),
    ],
)
def test_an_answer_of_something_else(client: OmiumClient, api: FakeApi, answer: Instead) -> None:
    api.faults = [answer]
    with pytest.raises(OmiumAPIError, match="check the base URL") as caught:
        client.workflows.list()
    assert caught.value.code == "UNEXPECTED_ANSWER"
    assert answer.headers.get("location", "") in str(caught.value)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        OmiumClient(API_KEY, f"http://127.0.0.1:{port}", max_retries=0) as client,
        pytest.raises(OmiumConnectionError, match=r"Cannot reach Omium at .*omium up") as caught,
    ):
        client.workflows.list()
    assert isinstance(caught.value, ConnectionError)


def test_a_server_that_does_not_answer() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        OmiumClient(API_KEY, f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1, max_retries=0) as client,
        pytest.raises(OmiumConnectionError, match="did not answer in time"),
    ):
        client.workflows.list()


def test_a_wrong_key(server: ApiServer) -> None:
    with OmiumClient("omium_test_wrong", server.url) as client, pytest.raises(AuthenticationError) as caught:
        client.workflows.list()
    assert caught.value.code == "AUTH_INVALID_CREDENTIALS"


def test_without_a_key_only_health_is_asked(server: ApiServer, api: FakeApi) -> None:
    with OmiumClient(base_url=server.url) as client:
        assert client.health() == {"status": "ready"}
        with pytest.raises(ConfigurationError, match="OMIUM_API_KEY"):
            client.workflows.list()
    assert len(api.seen) == 1


def test_not_being_ready_is_an_answer(client: OmiumClient, api: FakeApi) -> None:
    api.faults = [Instead(503, b'{"status": "unavailable", "checks": {"database": "no"}}'), Instead(503, b"<html>")]
    assert client.health()["checks"] == {"database": "no"}
    with pytest.raises(OmiumAPIError, match="check the base URL"):
        client.health()
    assert len(api.seen) == 2


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with OmiumClient(API_KEY, server.url, max_retries=0) as client:
        assert client.workflows.list()["total"] == 0


@pytest.mark.parametrize("workflow_id", ["", ".", ".."])
def test_an_id_that_would_change_the_path(client: OmiumClient, api: FakeApi, workflow_id: str) -> None:
    with pytest.raises(InvalidArgument):
        client.workflows.delete(workflow_id)
    assert api.seen == []


def test_an_id_is_quoted(client: OmiumClient, api: FakeApi) -> None:
    with pytest.raises(NotFound):
        client.workflows.get("../executions?x=1#ü")
    assert api.seen[0].query == {}
    assert api.seen[0].path.startswith("/api/v1/workflows/")


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_inputs_that_json_cannot_say(client: OmiumClient, api: FakeApi, value: Any) -> None:
    with pytest.raises(InvalidArgument, match="cannot be sent as JSON"):
        client.workflows.execute("w1", {"a": value})
    assert api.seen == []


@pytest.mark.parametrize("key", ["", "schlüssel", "a\r\nX-Other: b"])
def test_an_idempotency_key_that_a_header_cannot_carry(client: OmiumClient, api: FakeApi, key: str) -> None:
    with pytest.raises(InvalidArgument, match="idempotency key"):
        client.workflows.execute("w1", idempotency_key=key)
    assert api.seen == []


async def test_both_clients_have_the_same_methods_and_send_the_same(server: ApiServer, api: FakeApi) -> None:
    with OmiumClient(API_KEY, server.url) as client:
        await asyncio.to_thread(client.executions.list, status="failed", limit=5)
    async with AsyncOmiumClient(API_KEY, server.url) as async_client:
        await async_client.executions.list(status="failed", limit=5)
        assert await async_client.health() == {"status": "ready"}
    blocking, awaited = api.seen[:2]
    assert (blocking.method, blocking.path, blocking.query) == (awaited.method, awaited.path, awaited.query)
    assert client.executions.list.__doc__ == async_client.executions.list.__doc__
