"""Kill the API, PostgreSQL or Temporal in the middle of a run: nothing is lost and no answered call is repeated."""

from __future__ import annotations

import concurrent.futures
import uuid

import httpx
import pytest

from tests.crash.test_worker import GRAPH_CALLS, GRAPH_RULES, assert_each_call_once
from tests.support.platform import Platform, sample


@pytest.mark.parametrize("part", ["api", "postgres", "temporal"])
def test_part_dies_while_a_call_is_at_the_model(platform: Platform, part: str) -> None:
    seen = len(platform.model.calls)
    platform.model.set_script(GRAPH_RULES, hold_call=seen + 5)
    execution_id = platform.start(sample("graph_review"), {"topic": f"without {part}"})
    platform.model.wait_until_held()
    platform.stack.kill(part)
    # the answer arrives while the part is still away: it must be kept until it can be written
    platform.model.release(f"call-{seen + 5}")
    execution = platform.finish(execution_id)
    assert execution["status"] == "completed", execution
    assert execution["outputs"]["rounds"] == 1
    calls = platform.model.calls[seen:]
    assert_each_call_once(calls, GRAPH_CALLS)
    assert len(calls) == GRAPH_CALLS
    platform.stack.wait_ready(part)


@pytest.mark.thorough
def test_supervisor_dies_and_up_again_carries_on(platform: Platform) -> None:
    """Everything at once: the run goes on when the stack is up again."""
    seen = len(platform.model.calls)
    platform.model.set_script(GRAPH_RULES, hold_call=seen + 4)
    execution_id = platform.start(sample("graph_review"), {"topic": "without anything"})
    platform.model.wait_until_held()
    platform.restart_stack_after_kill()
    platform.model.release(f"call-{seen + 4}")
    execution = platform.finish(execution_id)
    assert execution["status"] == "completed", execution
    assert_each_call_once(platform.model.calls[seen:], GRAPH_CALLS)


def test_hundred_starts_with_one_key_make_one_execution(platform: Platform) -> None:
    """100 starts, 20 at a time, with the API killed in between."""
    platform.model.set_script([])
    definition = {
        "nodes": [{"id": "say", "type": "template", "template": "hello {{ who }}", "output": "text"}],
        "edges": [{"from": "START", "to": "say"}, {"from": "say", "to": "END"}],
        "state": {"who": {"type": "string"}, "text": {"type": "string"}},
    }
    workflow_id = platform.register({"name": "once", "framework": "langgraph", "workflow_definition": definition})
    key = str(uuid.uuid4())

    def start(number: int) -> str | None:
        if number == 50:
            platform.stack.kill("api")
        while True:
            try:
                answer = httpx.post(
                    f"{platform.stack['api_url']}/api/v1/workflows/{workflow_id}/execute",
                    headers={**platform.stack.headers, "Idempotency-Key": key},
                    json={"inputs": {"who": "world"}},
                    timeout=30,
                )
            except httpx.TransportError:
                platform.stack.wait_ready("api")
                continue
            assert answer.status_code == 201, answer.text
            return str(answer.json()["execution_id"])

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        started = set(pool.map(start, range(100)))
    assert len(started) == 1
    assert platform.finish(str(started.pop()))["status"] == "completed"
    assert platform.http.get("/executions", params={"workflow_id": workflow_id}).json()["total"] == 1
