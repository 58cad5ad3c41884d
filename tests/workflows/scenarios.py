"""Runs of every kind, and their histories as Temporal keeps them.

`python -m tests.workflows.scenarios` records them anew into `histories/`. That is due when a change of the workflow is
meant to break running executions, or when a scenario is added; until then the recorded ones must replay.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowFailureError, WorkflowHandle
from temporalio.client import WorkflowHistory as History

from activities.payload_codec import sealing_converter
from tests.support.platform import Platform, running_platform
from tests.support.sealed import StackKeys, opened

HISTORIES = Path(__file__).parent / "histories"
#: What the worker of these runs serves.
SERVED = {"OMIUM_FRAMEWORKS": "langgraph,crewai,flow", "OMIUM_DEFAULT_PRICE": '{"per_call": 1}'}
#: Part of every input, prompt, answer and error text of the scenarios; none of these belongs into a history.
CANARY = "canary"

GRAPH: dict[str, Any] = {
    "name": "loop of two",
    "framework": "langgraph",
    "workflow_definition": {
        "nodes": [
            {"id": "write", "type": "llm", "prompt": f"{CANARY}-prompt {{{{ topic }}}}", "output": "texts"},
            {"id": "publish", "type": "template", "template": f"{CANARY}-output {{{{ topic }}}}", "output": "page"},
        ],
        "edges": [
            {"from": "START", "to": "write"},
            {"from": "write", "to": "write", "when": "size(texts) < 2"},
            {"from": "write", "to": "publish", "when": "size(texts) >= 2"},
            {"from": "publish", "to": "END"},
        ],
        "state": {
            "topic": {"type": "string"},
            "texts": {"type": "array", "reducer": "append"},
            "page": {"type": "string"},
        },
    },
}
CREW: dict[str, Any] = {
    "name": "crew of one",
    "framework": "crewai",
    "workflow_definition": {
        "agents": {"writer": {"role": "Writer", "goal": f"{CANARY}-goal", "backstory": f"{CANARY}-backstory"}},
        "tasks": {
            "draft": {"description": f"{CANARY} {{topic}}", "expected_output": f"{CANARY} line", "agent": "writer"},
            "shorten": {"description": f"{CANARY} shorter", "expected_output": f"{CANARY} word", "agent": "writer"},
        },
    },
}
FLOW: dict[str, Any] = {
    "name": "two branches and a join",
    "framework": "flow",
    "workflow_definition": {
        "agents": [
            {"id": "graph", "framework": "langgraph", "config": GRAPH["workflow_definition"]},
            {"id": "crew", "framework": "crewai", "config": CREW["workflow_definition"]},
        ],
        "flow": [
            {"step": "left", "agent": "graph", "inputs": ["topic"], "outputs": {"page": "page"}, "depends_on": []},
            {"step": "right", "agent": "crew", "inputs": ["topic"], "outputs": {"word": "raw"}, "depends_on": []},
            {"step": "never", "agent": "graph", "inputs": ["topic"], "when": "topic == 'nothing'", "depends_on": []},
            {"step": "join", "agent": "crew", "inputs": ["topic", "page"], "depends_on": ["left", "right", "never"]},
        ],
    },
}
INPUTS = {"topic": f"{CANARY}-input"}
ANSWER = {"reply": {"content": f"{CANARY}-answer"}}


@dataclass(frozen=True)
class Recorded:
    """A run that has ended, as Temporal tells it: its history as it lies there, and with its payloads opened."""

    execution: dict[str, Any]
    history: History
    opened: History
    description: WorkflowExecutionDescription


def record(platform: Platform) -> dict[str, Recorded]:
    """Runs all scenarios, one after the other."""
    return asyncio.run(_record(platform))


async def connect(platform: Platform) -> Client:
    return await Client.connect(
        platform.stack["temporal_address"],
        namespace=platform.stack["temporal_namespace"],
        data_converter=sealing_converter(StackKeys(platform.stack)),
    )


def run_of(client: Client, execution: dict[str, Any]) -> WorkflowHandle[Any, Any]:
    return client.get_workflow_handle(execution["temporal"]["workflow_id"])


async def _record(platform: Platform) -> dict[str, Recorded]:
    client = await connect(platform)
    keys = StackKeys(platform.stack)

    async def told(execution_id: str) -> Recorded:
        execution = platform.finish(execution_id)
        run = run_of(client, execution)
        # Temporal closes the run after it has told its end
        with suppress(WorkflowFailureError):
            await run.result()
        description = await run.describe()
        history = await client.get_workflow_handle(run.id, run_id=description.run_id).fetch_history()
        cipher = await keys.cipher(UUID(run.id.partition("/")[0]))
        clear = History.from_json(run.id, opened(history.to_json_dict(), cipher))
        return Recorded(execution, history, clear, description)

    platform.model.set_script([ANSWER])
    found = {
        "graph_with_loop": await told(platform.start(GRAPH, INPUTS)),
        "crew": await told(platform.start(CREW, INPUTS)),
    }

    refusal = {"reply": {"error": {"status": 500, "message": f"{CANARY}-refusal"}}, "times": 2}
    platform.model.set_script([{**ANSWER, "times": 1}, refusal, ANSWER])
    found["step_tried_again"] = await told(platform.start(GRAPH, INPUTS))

    refusal = {"reply": {"error": {"status": 400, "message": f"{CANARY}-refusal"}}, "times": 1}
    platform.model.set_script([{**ANSWER, "times": 1}, refusal, ANSWER])
    found["failed"] = await told(platform.start(GRAPH, INPUTS))
    execution_id = found["failed"].execution["id"]
    assert platform.http.post(f"/executions/{execution_id}/retry").status_code == 200
    found["retried"] = await told(execution_id)

    platform.model.set_script([{**ANSWER, "times": 1}, {"gate": "never"}])
    seen = len(platform.model.calls)
    execution_id = platform.start(GRAPH, INPUTS)
    await asyncio.to_thread(platform.model.wait_for_calls, seen + 2)
    await run_of(client, platform.get(execution_id)).cancel()
    found["cancelled"] = await told(execution_id)
    platform.model.release("never")
    return {**found, **await _record_steered(platform, client, told)}


async def _record_steered(
    platform: Platform, client: Client, told: Callable[[str], Awaitable[Recorded]]
) -> dict[str, Recorded]:
    """Runs that people steered, or that waited for them."""
    found: dict[str, Recorded] = {}

    async def until_held(number: int) -> None:
        # this one: the call of a run that was stopped may still be on its way out
        await asyncio.to_thread(
            platform.model.wait_for, lambda calls: len(calls) >= number and calls[number - 1].state == "held"
        )

    async def held(workflow: dict[str, Any]) -> tuple[str, str]:
        """A run whose first call is held back, and the name of what holds it."""
        seen = len(platform.model.calls)
        platform.model.set_script([ANSWER], hold_call=seen + 1)
        execution_id = platform.start(workflow, INPUTS)
        await until_held(seen + 1)
        return execution_id, f"call-{seen + 1}"

    def post(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = platform.http.post(path, json=body or {})
        assert answer.status_code in (200, 202), answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def newest(execution_id: str) -> str:
        found = platform.http.get("/checkpoints", params={"execution_id": execution_id}).json()
        return str(found["checkpoints"][0]["id"])

    execution_id, call = await held(GRAPH)
    post(f"/executions/{execution_id}/pause")
    platform.model.release(call)
    platform.wait_for_status(execution_id, ["paused"])
    post(f"/executions/{execution_id}/resume")
    found["paused"] = await told(execution_id)

    execution_id, call = await held(CREW)
    post(f"/executions/{execution_id}/pause", {"mode": "hard"})
    post(f"/executions/{execution_id}/cancel", {"reason": "enough"})
    found["stopped"] = await told(execution_id)
    platform.model.release(call)

    seen = len(platform.model.calls)
    platform.model.set_script([ANSWER], hold_call=seen + 2)
    execution_id = platform.start(GRAPH, INPUTS)
    await until_held(seen + 2)
    edits = {"prompts": {"write": f"{CANARY}-edit {{{{ topic }}}}"}}
    post(f"/checkpoints/{newest(execution_id)}/rollback", {"reason": "look", "edits": edits})
    platform.model.release(f"call-{seen + 2}")
    post(f"/executions/{execution_id}/resume")
    found["rolled_back"] = await told(execution_id)

    post(f"/checkpoints/{newest(execution_id)}/rollback", {"reason": "once more", "resume": True})
    found["taken_back_after_its_end"] = await told(execution_id)

    asks = {"step": "publish", "title": f"{CANARY}-title", "question": f"{CANARY}-question"}
    platform.model.set_script([ANSWER])
    execution_id = platform.start(_with(GRAPH, approvals=[asks]), INPUTS)
    platform.wait_for_status(execution_id, ["paused"])
    asked = platform.http.get("/approvals", params={"execution_id": execution_id}).json()["approvals"][0]
    post(f"/approvals/{asked['id']}/edit", {"value": {"topic": f"{CANARY}-value"}})
    found["approved"] = await told(execution_id)

    judge = {"validator": "judge", "prompt": f"{CANARY}-judge {{{{ topic }}}}"}
    hands_over = {"from": "write", "to": "publish", "voters": [judge, {"person": "ann"}], "quorum": "all"}
    platform.model.set_script(
        [{"when": {"any": "judge"}, "reply": {"json": {"accept": True, "reason": CANARY}}}, ANSWER]
    )
    execution_id = platform.start(_with(GRAPH, handoffs=[hands_over]), INPUTS)
    platform.wait_for_status(execution_id, ["paused"])
    log = platform.http.get(f"/executions/{execution_id}/consensus").json()["logs"][0]
    post(f"/consensus/{log['id']}/acknowledge", {"voter": "ann", "valid": True})
    found["handed_over"] = await told(execution_id)

    refusal = {"reply": {"error": {"status": 400, "message": f"{CANARY}-refusal"}}, "times": 1}
    rule = {
        "failure_types": ["model_rejected"],
        "actions": [{"type": "prompt_edit", "prompts": {"write": f"{CANARY}-mend"}}],
    }
    platform.model.set_script([{**ANSWER, "times": 1}, refusal, ANSWER])
    found["recovered"] = await told(platform.start(_with(GRAPH, policies={"recovery": {"rules": [rule]}}), INPUTS))

    platform.model.set_script([ANSWER])
    execution_id = platform.start(GRAPH, INPUTS, budget=1.5)
    platform.wait_for_status(execution_id, ["paused"])
    raised = platform.http.put(f"/executions/{execution_id}/budget", json={"amount": 10})
    assert raised.status_code == 200, raised.text
    found["parked"] = await told(execution_id)

    platform.model.set_script([ANSWER])
    found["flow"] = await told(platform.start(FLOW, INPUTS))
    return found


def _with(workflow: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {**workflow, "workflow_definition": {**workflow["workflow_definition"], **sections}}


def cleaned(history: History) -> dict[str, Any]:
    """A history without the names of the machine that it was recorded on."""
    cleaned: dict[str, Any] = _clean(history.to_json_dict())
    return cleaned


def _clean(part: Any) -> Any:
    if isinstance(part, list):
        return [_clean(item) for item in part]
    if isinstance(part, dict):
        return {name: _clean(value) for name, value in part.items() if name not in ("identity", "stackTrace")}
    # the queue of one worker process is named after its host
    return "of-one-worker" if isinstance(part, str) and re.match(r"\d+@", part) else part


def recorded() -> Iterator[tuple[str, History]]:
    """The histories in the tree, by name."""
    for path in sorted(HISTORIES.glob("*.json")):
        stored = json.loads(path.read_text())
        yield path.stem, History.from_json(stored["workflow_id"], stored["history"])


def main() -> None:
    HISTORIES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running_platform(Path(folder) / "data", env=SERVED) as platform:
        for name, told in record(platform).items():
            stored = {"workflow_id": told.history.workflow_id, "history": cleaned(told.opened)}
            (HISTORIES / f"{name}.json").write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
