"""Plain Temporal signals, as an operator types them: the same effect as over REST, and nonsense does no harm."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from typing import Any
from uuid import uuid4

import pytest

from tests.commands.test_sequences import GRAPH
from tests.support.platform import Platform
from tests.support.stack import wait_until
from tests.workflows.scenarios import connect, run_of
from workers.local.temporal_server import binary

NONSENSE: list[tuple[str, list[str]]] = [
    ("pause", ['"abc"']),
    ("pause", ["[1, 2]"]),
    ("pause", ['{"id": "m", "mode": "sideways"}']),
    ("pause", ['{"id": {"not": "a text"}}']),
    ("pause", ['{"id": "two"}', '{"id": "arguments"}']),
    ("resume", ["17"]),
    ("cancel", ["true"]),
    ("rollback", []),
    ("rollback", ['{"id": "r", "checkpoint": "nowhere", "trigger_type": "witchcraft"}']),
    ("rollback", ['{"id": "edits", "checkpoint": "1", "edits": "all of them"}']),
    ("approve", ['{"id": "a", "approval_id": "nobody asked"}']),
    ("approve", ['{"id": "a2", "decision": []}']),
    ("acknowledge_handoff", ['{"id": "v", "index": 1, "voter": "nobody"}']),
    ("no_such_signal", ['{"id": "n"}']),
    ("__temporal_nonsense", []),
]


def signal(platform: Platform, execution_id: str, name: str, inputs: list[str]) -> None:
    """`temporal workflow signal`, as a shell script calls it."""
    run = platform.get(execution_id)["temporal"]["workflow_id"]
    command = [str(binary()), "workflow", "signal", "--address", platform.stack["temporal_address"]]
    command += ["--workflow-id", run, "--name", name]
    for given in inputs:
        command += ["--input", given]
    told = subprocess.run(
        command, capture_output=True, text=True, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    )
    # the server itself refuses names that are its own
    assert told.returncode == 0 or name.startswith("__temporal"), told.stderr


def held_run(platform: Platform) -> tuple[str, str]:
    """A run whose first model call is held, and the name of what holds it."""
    topic = f"signals {uuid4()}"
    seen = len(platform.model.calls)
    platform.model.set_script([{"when": {"any": topic}, "gate": topic}])
    execution_id = platform.start(GRAPH, {"topic": topic})
    platform.model.wait_for_calls(seen + 1)
    return execution_id, topic


def test_signals_steer_like_rest(platform: Platform) -> None:
    execution_id, held = held_run(platform)
    signal(platform, execution_id, "pause", ['{"id": "p1"}'])
    platform.model.release(held)
    paused = platform.wait_for_status(execution_id, ["paused"])
    assert paused["reason"] == "operator"
    # a command that comes twice counts once
    signal(platform, execution_id, "resume", ['{"id": "r1"}'])
    platform.finish(execution_id)

    first = platform.http.get("/checkpoints", params={"execution_id": execution_id}).json()["checkpoints"][-1]
    execution_id, held = held_run(platform)
    signal(platform, execution_id, "rollback", [json.dumps({"id": "b1", "checkpoint": 1, "reason": "typed"})])
    platform.wait_for_status(execution_id, ["rolled_back"])
    found = platform.http.get(f"/executions/{execution_id}/rollbacks").json()["rollbacks"]
    assert [(row["trigger_reason"], row["status"]) for row in found] == [("typed", "completed")]
    assert first["id"] != found[0]["to_checkpoint_id"]
    platform.model.release(held)
    signal(platform, execution_id, "resume", ["{}"])
    assert platform.finish(execution_id)["lineage"] == 1

    execution_id, held = held_run(platform)
    signal(platform, execution_id, "cancel", ['{"id": "c1", "reason": "typed"}'])
    assert platform.finish(execution_id)["status"] == "cancelled"
    platform.model.release(held)
    platform.model.wait_for(lambda calls: all(call.state != "held" for call in calls))


@pytest.mark.parametrize("chunk", [NONSENSE[:8], NONSENSE[8:]], ids=["first half", "second half"])
def test_nonsense_does_not_harm_the_run(platform: Platform, chunk: list[tuple[str, list[str]]]) -> None:
    execution_id, held = held_run(platform)
    for name, inputs in chunk:
        signal(platform, execution_id, name, inputs)
    platform.model.release(held)
    execution = platform.finish(execution_id)
    assert execution["status"] == "completed"
    assert execution["lineage"] == 0
    assert _problems(platform, execution) == []


def test_a_repeated_command_counts_once(platform: Platform) -> None:
    execution_id, held = held_run(platform)
    signal(platform, execution_id, "pause", ['{"id": "same"}'])
    platform.model.release(held)
    platform.wait_for_status(execution_id, ["paused"])
    seen = len(platform.model.calls)
    platform.model.set_script([{"when": {"any": "Check"}, "gate": f"second {held}"}])
    assert platform.http.post(f"/executions/{execution_id}/resume").status_code == 200
    platform.model.wait_for_calls(seen + 1)
    signal(platform, execution_id, "pause", ['{"id": "same"}'])
    platform.model.release(f"second {held}")
    assert platform.finish(execution_id)["status"] == "completed"


def _problems(platform: Platform, execution: dict[str, Any]) -> list[str]:
    """Workflow tasks of a run that failed: what a handler that raises leaves behind."""

    async def look() -> list[str]:
        client = await connect(platform)
        history = await run_of(client, execution).fetch_history()
        return [str(event) for event in history.events if event.HasField("workflow_task_failed_event_attributes")]

    return asyncio.run(look())


def test_pause_waits_for_nobody_who_is_gone(platform: Platform) -> None:
    """A command for a run that has ended is answered with a code, over REST, and by Temporal for a signal."""
    execution_id, held = held_run(platform)
    platform.model.release(held)
    platform.finish(execution_id)
    wait_until(lambda: platform.http.post(f"/executions/{execution_id}/pause").status_code == 409, "refused")
    answer = platform.http.post(f"/executions/{execution_id}/pause").json()
    assert answer["error"]["code"] == "EXECUTION_CANNOT_PAUSE"


def terminate(platform: Platform, execution_id: str) -> None:
    """`temporal workflow terminate`, as somebody may do."""

    async def work() -> None:
        await run_of(await connect(platform), platform.get(execution_id)).terminate()

    asyncio.run(work())


def test_rolled_back_run_goes_on_although_temporal_lost_it(platform: Platform) -> None:
    platform.model.set_script([])
    execution = platform.run(GRAPH, {"topic": "lost"})
    first = platform.http.get("/checkpoints", params={"execution_id": execution["id"]}).json()["checkpoints"][-1]
    answer = platform.http.post(f"/checkpoints/{first['id']}/rollback", json={"reason": "look again"})
    assert answer.status_code == 200, answer.text
    terminate(platform, execution["id"])
    answer = platform.http.post(f"/executions/{execution['id']}/resume")
    assert answer.status_code == 200, answer.text
    assert platform.finish(execution["id"])["lineage"] == 1


def test_paused_run_that_was_terminated_is_told_to_have_failed(platform: Platform) -> None:
    asking = {**GRAPH, "workflow_definition": {**GRAPH["workflow_definition"], "approvals": [{"step": "plan"}]}}
    execution_id = platform.start(asking, {"topic": "lost"})
    platform.wait_for_status(execution_id, ["paused"])
    terminate(platform, execution_id)
    assert platform.finish(execution_id)["error"] == "The workflow was terminated in Temporal."
