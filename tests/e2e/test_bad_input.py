"""Bad input gets a clear error that names the field, and changes nothing."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import httpx
import pytest

from tests.e2e.test_failures import ONE_CALL, ONE_CREW_CALL
from tests.support.platform import Platform


def graph(**changes: Any) -> dict[str, Any]:
    workflow = deepcopy(ONE_CALL)
    workflow["workflow_definition"].update(changes)
    return workflow


def crew(**changes: Any) -> dict[str, Any]:
    workflow = deepcopy(ONE_CREW_CALL)
    workflow["workflow_definition"].update(changes)
    return workflow


def counts(platform: Platform) -> tuple[int, int]:
    return tuple(platform.http.get(path).json()["total"] for path in ("/workflows", "/executions"))  # type: ignore[return-value]


NODES = ONE_CALL["workflow_definition"]["nodes"]
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown framework": ({**ONE_CALL, "framework": "langraph"}, "framework"),
    "unknown field of the request": ({**ONE_CALL, "definition": {}}, "definition"),
    "unknown field of the definition": (graph(nodez=[]), "workflow_definition.nodez"),
    "unknown field of a node": (
        graph(nodes=[{**NODES[0], "promt": "x"}, NODES[1]]),
        "workflow_definition.nodes[0].promt",
    ),
    "edge to nowhere": (
        graph(edges=[{"from": "START", "to": "first"}, {"from": "first", "to": "nowhere"}]),
        "workflow_definition.edges[1].to",
    ),
    "tool that is not registered": (
        graph(nodes=[{"id": "first", "type": "tool", "tool": "teleport", "args": {}, "output": "prompt"}, NODES[1]]),
        "workflow_definition.nodes[0].tool",
    ),
    "missing agent": (
        crew(tasks=[{"description": "x", "expected_output": "y", "agent": "nobody"}]),
        "workflow_definition.tasks[0].agent",
    ),
    "unknown field of an agent": (
        crew(agents={"writer": {"role": "a", "goal": "b", "backstory": "c", "rolle": "d"}}),
        "workflow_definition.agents.writer.rolle",
    ),
    "crew with an unknown tool": (
        crew(agents={"writer": {"role": "a", "goal": "b", "backstory": "c", "tools": ["teleport"]}}),
        "workflow_definition.agents.writer.tools[0]",
    ),
    "broken condition": (
        graph(checkpoints=[{"step": "ask", "postconditions": ["answer !="]}]),
        "workflow_definition.checkpoints[0].postconditions[0]",
    ),
    "condition of a node that is not there": (
        crew(checkpoints=[{"step": "writr", "preconditions": ["true"]}]),
        "workflow_definition.checkpoints[0].step",
    ),
    "output schema that is none": (
        graph(checkpoints=[{"step": "ask", "output_schema": {"required": "answer"}}]),
        "workflow_definition.checkpoints[0].output_schema.required",
    ),
    "question with a broken template": (
        crew(approvals=[{"step": "writer", "question": "{{ draft | nothing }}"}]),
        "workflow_definition.approvals[0].question",
    ),
    "more votes than voters": (
        graph(handoffs=[{"from": "first", "to": "ask", "quorum": 2}]),
        "workflow_definition.handoffs[0].quorum",
    ),
    "unknown policy": (graph(policies={"max_retreis": 3}), "workflow_definition.policies.max_retreis"),
    "broken condition in a broken definition": (
        graph(nodez=[], checkpoints=[{"preconditions": ["a >"]}]),
        "workflow_definition.checkpoints[0].preconditions[0]",
    ),
    "NUL byte in a name": ({**ONE_CALL, "name": "a\x00b"}, "name"),
    "NUL byte in a definition": (
        graph(nodes=[{**NODES[0], "template": "a\x00b"}, NODES[1]]),
        "workflow_definition.nodes[0].template",
    ),
    "empty name": ({**ONE_CALL, "name": ""}, "name"),
    "no definition": ({"name": "x", "framework": "langgraph"}, "workflow_definition"),
    "schema that is none": ({**ONE_CALL, "input_schema": {"type": "banana"}}, "input_schema.type"),
    "reference to nowhere": (
        {**ONE_CALL, "input_schema": {"properties": {"a": {"$ref": "#/$defs/b"}}}},
        "input_schema.properties.a.$ref",
    ),
    "module that is not allowed": (
        {"name": "x", "framework": "langgraph", "workflow_definition": {"entrypoint": "os:system"}},
        "workflow_definition.entrypoint",
    ),
    "attribute that is missing": (
        {"name": "x", "framework": "langgraph", "workflow_definition": {"entrypoint": "user_graphs:missing"}},
        "workflow_definition.entrypoint",
    ),
    "attribute that is no graph": (
        {"name": "x", "framework": "langgraph", "workflow_definition": {"entrypoint": "user_graphs:not_a_graph"}},
        "workflow_definition.entrypoint",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_workflow_is_refused(platform: Platform, case: str) -> None:
    workflow, path = BAD[case]
    before = counts(platform)
    answer = platform.http.post("/workflows", json=workflow)
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert error["code"] == "INVALID_INPUT"
    assert path in [problem["path"] for problem in error["details"]["errors"]]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert counts(platform) == before


def test_cycle_without_an_exit_is_refused(platform: Platform) -> None:
    edges = [{"from": "START", "to": "first"}, {"from": "first", "to": "ask"}, {"from": "ask", "to": "first"}]
    answer = platform.http.post("/workflows", json=graph(edges=edges))
    assert answer.status_code == 422
    assert "END" in answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"name": "x",', 400),
        (b'{"name": "\xff\xfe"}', 400),
        (b"[" * 100_000, 400),
        (b"[]", 422),
        (b"", 422),
        (json.dumps({**ONE_CALL, "description": "x" * 10_000_000}).encode(), 413),
    ],
    ids=["invalid JSON", "invalid UTF-8", "nested too deeply", "no object", "empty", "10 MB"],
)
def test_unreadable_body(platform: Platform, body: bytes, status: int) -> None:
    before = counts(platform)
    answer = platform.http.post("/workflows", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"code", "message", "details", "request_id"}
    assert counts(platform) == before


def test_large_body_without_a_length_is_refused(platform: Platform) -> None:
    answer = platform.http.post("/workflows", content=(b"x" * 65536 for _ in range(200)))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "headers", [{}, {"X-API-Key": "omium_local_wrong"}, {"Authorization": "Bearer x"}, {"X-API-Key": ""}]
)
def test_missing_or_wrong_key(platform: Platform, headers: dict[str, str]) -> None:
    answer = httpx.get(f"{platform.stack['api_url']}/api/v1/workflows", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "AUTH_INVALID_CREDENTIALS")


def test_key_as_bearer(platform: Platform) -> None:
    headers = {"Authorization": f"Bearer {platform.stack['api_key']}", "X-Request-ID": "my-own-id"}
    answer = httpx.get(f"{platform.stack['api_url']}/api/v1/workflows", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "my-own-id"


@pytest.mark.parametrize("kind", ["workflows", "executions", "checkpoints", "failures"])
def test_unknown_id(platform: Platform, kind: str) -> None:
    answer = platform.http.get(f"/{kind}/01a201e0-0000-7000-8000-000000000000")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"].endswith("_NOT_FOUND")
    assert platform.http.get(f"/{kind}/not-an-id").status_code == 422


def test_inputs_that_do_not_fit(platform: Platform) -> None:
    schema = {"type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}
    workflow_id = platform.register({**ONE_CALL, "input_schema": schema})
    before = counts(platform)
    for inputs, path in (({}, "inputs.topic"), ({"topic": 3}, "inputs.topic"), ({"topic": "a\x00"}, "inputs.topic")):
        answer = platform.http.post(f"/workflows/{workflow_id}/execute", json={"inputs": inputs})
        assert answer.status_code == 422
        assert answer.json()["error"]["details"]["errors"][0]["path"] == path
    crew_id = platform.register(ONE_CREW_CALL)
    answer = platform.http.post("/executions", json={"workflow_id": crew_id, "input_params": {}})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"]["errors"][0]["path"] == "inputs.topic"
    assert counts(platform) == (before[0] + 1, before[1])


def test_idempotency_key_with_another_body(platform: Platform) -> None:
    workflow_id = platform.register(ONE_CALL)
    headers = {"Idempotency-Key": f"key-{workflow_id}"}
    url = f"/workflows/{workflow_id}/execute"
    first = platform.http.post(url, json={"inputs": {"topic": "a"}}, headers=headers)
    same = platform.http.post(
        "/executions", json={"workflow_id": workflow_id, "inputs": {"topic": "a"}}, headers=headers
    )
    other = platform.http.post(url, json={"inputs": {"topic": "b"}}, headers=headers)
    assert first.json()["execution_id"] == same.json()["execution"]["id"]
    assert (other.status_code, other.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    platform.finish(first.json()["execution_id"])
