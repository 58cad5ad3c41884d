"""Commands and votes that come while a run is writing down what it waits for."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from temporalio.client import WorkflowHandle

from tests.support.platform import Platform
from tests.support.sealed import StackKeys
from tests.support.stack import wait_until
from tests.workflows.scenarios import ANSWER, GRAPH, INPUTS, connect, run_of

ASKS: dict[str, Any] = {
    "name": "asks first",
    "framework": "langgraph",
    "workflow_definition": {
        "state": {"topic": {"type": "string"}, "text": {"type": "string"}},
        "nodes": [{"id": "write", "type": "template", "template": "{{ topic }}", "output": "text"}],
        "edges": [{"from": "START", "to": "write"}, {"from": "write", "to": "END"}],
        "approvals": [{"step": "write", "question": "May it?"}],
    },
}


async def until_recording(run: WorkflowHandle[Any, Any], activity: str = "record_state") -> None:
    async with asyncio.timeout(60):
        while True:
            description = await run.describe()
            pending = [one.activity_type.name for one in description.raw_description.pending_activities]
            if pending == [activity]:
                return
            await asyncio.sleep(0.02)


def reasons(platform: Platform, execution_id: str) -> list[str]:
    """Why the run stood still, in order, as everybody can read it."""
    told = platform.http.get(f"/executions/{execution_id}/events").json()["events"]
    return [event["data"]["reason"] for event in told if event["event_type"] == "execution.paused"]


@pytest.mark.parametrize(
    ("first", "then", "stood"),
    [
        ("pause", "resume", ["approval", "operator", "approval"]),
        ("resume", "pause", ["approval", "operator", "approval", "operator"]),
    ],
)
async def test_command_while_the_last_one_is_recorded(
    platform: Platform, first: str, then: str, stood: list[str]
) -> None:
    execution_id = platform.start(ASKS, {"topic": "haste"})
    await asyncio.to_thread(platform.wait_for_status, execution_id, ["paused"])
    if first == "resume":
        paused = await asyncio.to_thread(platform.http.post, f"/executions/{execution_id}/pause")
        assert paused.status_code == 200, paused.text
    run = run_of(await connect(platform), platform.get(execution_id))
    connection = await asyncpg.connect(platform.stack["database_url"])
    try:
        async with connection.transaction():
            assert await connection.fetchval("SELECT 1 FROM executions WHERE id = $1 FOR UPDATE", execution_id)
            await run.signal(first, {"id": f"{first}-early"})
            await until_recording(run)
            await run.signal(then, {"id": f"{then}-late"})
            # answered after the signal was taken in
            await run.query("status")
    finally:
        await connection.close()
    await asyncio.to_thread(wait_until, lambda: reasons(platform, execution_id) == stood, f"standing still for {stood}")
    if stood[-1] == "operator":
        assert (await asyncio.to_thread(platform.http.post, f"/executions/{execution_id}/resume")).status_code == 200
    asked = platform.http.get("/approvals", params={"execution_id": execution_id, "status": "pending"}).json()
    assert platform.http.post(f"/approvals/{asked['approvals'][0]['id']}/approve").status_code == 200
    assert (await asyncio.to_thread(platform.finish, execution_id))["status"] == "completed"


async def test_vote_that_comes_while_its_round_is_recorded(platform: Platform) -> None:
    definition = {**ASKS["workflow_definition"], "approvals": []}
    definition["nodes"] = [{"id": "plan", "type": "template", "template": "{{ topic }}"}, *definition["nodes"]]
    definition["nodes"][0]["output"] = "topic"
    definition["edges"] = [{"from": "START", "to": "plan"}, {"from": "plan", "to": "write"}]
    definition["handoffs"] = [{"from": "plan", "to": "write", "voters": [{"person": "ada"}]}]
    connection = await asyncpg.connect(platform.stack["database_url"])
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE consensus_logs IN SHARE ROW EXCLUSIVE MODE")
            workflow = {"name": "votes", "framework": "langgraph", "workflow_definition": definition}
            execution_id = await asyncio.to_thread(platform.start, workflow, {"topic": "haste"})
            run = run_of(await connect(platform), platform.get(execution_id))
            await until_recording(run, "record_round")
            await run.signal("acknowledge_handoff", {"id": "early-vote", "index": 1, "voter": "ada"})
            await run.query("status")
    finally:
        await connection.close()
    assert (await asyncio.to_thread(platform.finish, execution_id))["status"] == "completed"
    log = platform.http.get(f"/executions/{execution_id}/consensus").json()["logs"][0]
    assert (log["status"], log["acks_received"]) == ("committed", 1)
    assert [ack["voter"] for ack in log["acks"]] == ["ada"]


async def test_answer_that_comes_before_the_run_knows_of_its_question(platform: Platform) -> None:
    """The question stands in the tables a moment before the step that asked has told its run: nobody hears 404 for that."""
    seen = len(platform.model.calls)
    platform.model.set_script([ANSWER], hold_call=seen + 1)
    execution_id = await asyncio.to_thread(platform.start, GRAPH, INPUTS)
    await asyncio.to_thread(platform.model.wait_for, lambda calls: len(calls) > seen and calls[seen].state == "held")
    connection = await asyncpg.connect(platform.stack["database_url"])
    try:
        tenant = await connection.fetchval("SELECT tenant_id FROM executions WHERE id = $1", execution_id)
        approval_id = await connection.fetchval(
            "INSERT INTO approvals (id, tenant_id, execution_id, lineage, step_index, step_name, interrupt_id, title,"
            " status, created_at) SELECT gen_random_uuid(), tenant_id, id, 0, 0, 'write', 'early', $2, 'pending', now()"
            " FROM executions WHERE id = $1 RETURNING id",
            execution_id,
            (await StackKeys(platform.stack).cipher(tenant)).seal(b"May it?"),
        )
    finally:
        await connection.close()
    answer = await asyncio.to_thread(platform.http.post, f"/approvals/{approval_id}/approve")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    platform.model.release(f"call-{seen + 1}")
    await asyncio.to_thread(platform.finish, execution_id)
    # a question that nobody asks any more is another matter
    answer = await asyncio.to_thread(platform.http.post, f"/approvals/{approval_id}/approve")
    assert answer.status_code == 409, answer.text


_PLAN = {"id": "plan", "type": "template", "template": "{{ topic }}!", "output": "topic"}
_WRITE = {"id": "write", "type": "llm", "prompt": "{{ topic }}", "output": "text"}
_TWO_STEPS: dict[str, Any] = {
    "state": {"topic": {"type": "string"}, "text": {"type": "string"}},
    "nodes": [_PLAN, _WRITE],
    "edges": [{"from": "START", "to": "plan"}, {"from": "plan", "to": "write"}, {"from": "write", "to": "END"}],
}
ENDS: dict[str, dict[str, Any]] = {
    "failed": {"name": "fails", "framework": "langgraph", "workflow_definition": _TWO_STEPS},
    "completed": {
        "name": "flows",
        "framework": "flow",
        "workflow_definition": {
            "agents": [{"id": "clerk", "framework": "langgraph", "config": _TWO_STEPS}],
            "flow": [{"step": "work", "agent": "clerk"}],
        },
    },
}


@pytest.mark.parametrize("end", ENDS)
async def test_rollback_that_comes_while_the_end_is_recorded(platform: Platform, end: str) -> None:
    """Readers may know of the end before the run has closed: what they ask of it then is done."""
    refusal = {"reply": {"error": {"status": 400, "message": "no"}}}
    platform.model.set_script([refusal] if end == "failed" else [])
    connection = await asyncpg.connect(platform.stack["database_url"])
    try:
        async with connection.transaction():
            # the last thing that is written of an end, and by nothing else here
            await connection.execute("LOCK TABLE recovery_actions IN SHARE ROW EXCLUSIVE MODE")
            execution_id = await asyncio.to_thread(platform.start, ENDS[end], {"topic": "late"})
            run = run_of(await connect(platform), platform.get(execution_id))
            await until_recording(run, "finish_run")
            platform.model.set_script([])
            await run.signal("rollback", {"id": "late", "checkpoint": "1", "resume": True})
            await run.query("status")
    finally:
        await connection.close()

    def is_done_again() -> bool:
        execution = platform.get(execution_id)
        return (execution["lineage"], execution["status"]) == (1, "completed")

    await asyncio.to_thread(wait_until, is_done_again, "completed in its second lineage")


async def test_rollback_that_cannot_be_done_leaves_the_end_as_it_is(platform: Platform) -> None:
    """And one that comes after it is done."""
    platform.model.set_script([])
    connection = await asyncpg.connect(platform.stack["database_url"])
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE recovery_actions IN SHARE ROW EXCLUSIVE MODE")
            execution_id = await asyncio.to_thread(platform.start, ENDS["completed"], {"topic": "late"})
            run = run_of(await connect(platform), platform.get(execution_id))
            await until_recording(run, "finish_run")
            await run.signal("rollback", {"id": "nowhere", "checkpoint": "no such checkpoint", "resume": True})
            await run.signal("rollback", {"id": "somewhere", "checkpoint": "1", "resume": True})
            await run.query("status")
    finally:
        await connection.close()
    await asyncio.to_thread(
        wait_until,
        lambda: (platform.get(execution_id)["lineage"], platform.get(execution_id)["status"]) == (1, "completed"),
        "completed in its second lineage",
    )


async def test_validators_that_cannot_be_paid_for(platform: Platform) -> None:
    """The run waits for money, its term stands still, and who has voted is not asked again."""
    verdict = {"when": {"any": "is it"}, "reply": {"json": {"accept": True, "reason": "fine"}}}
    platform.model.set_script([verdict, ANSWER])
    voters = [{"validator": name, "prompt": f"is it {name}? {{{{ topic }}}}"} for name in ("short", "true")]
    handoff = {"from": "plan", "to": "write", "voters": voters, "quorum": "all"}
    workflow = {
        "name": "paid votes",
        "framework": "langgraph",
        "workflow_definition": {**_TWO_STEPS, "handoffs": [handoff]},
    }
    seen = len(platform.model.calls)
    execution_id = await asyncio.to_thread(platform.start, workflow, {"topic": "thrift"}, budget=1)
    await asyncio.to_thread(
        wait_until, lambda: platform.get(execution_id)["reason"] == "budget", "waiting for its budget"
    )
    log = platform.http.get(f"/executions/{execution_id}/consensus").json()["logs"][0]
    assert (log["status"], log["term"], log["deadline"]) == ("open", 1, None)
    assert platform.http.put(f"/executions/{execution_id}/budget", json={"amount": 3}).status_code == 200
    assert (await asyncio.to_thread(platform.finish, execution_id))["status"] == "completed"
    assert len(platform.model.calls) - seen == 3
    costs = platform.http.get(f"/executions/{execution_id}/costs").json()
    assert (costs["credits_used"], costs["useful"]["credits"]) == (3, 3)
