"""What Temporal keeps of a run: references, hashes, names and counters, and the story for people in the Web UI."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowExecutionStatus
from temporalio.worker import Replayer

from activities.payload_codec import sealing_converter
from omium_core import temporal
from tests.support.platform import Platform
from tests.support.sealed import StackKeys, encoding_of
from tests.workflows.scenarios import CANARY, Recorded, connect, recorded, run_of
from workflows.agent_run import AgentRun

#: No payload of a run of any length is larger, in bytes.
LARGEST_PAYLOAD = 1500
NAMES = [name for name, _ in recorded()]
ENDS = {
    "graph_with_loop": ("completed", WorkflowExecutionStatus.COMPLETED),
    "crew": ("completed", WorkflowExecutionStatus.COMPLETED),
    "step_tried_again": ("completed", WorkflowExecutionStatus.COMPLETED),
    "failed": ("failed", WorkflowExecutionStatus.FAILED),
    "retried": ("completed", WorkflowExecutionStatus.COMPLETED),
    "cancelled": ("cancelled", WorkflowExecutionStatus.CANCELED),
    "paused": ("completed", WorkflowExecutionStatus.COMPLETED),
    "parked": ("completed", WorkflowExecutionStatus.COMPLETED),
    # Temporal knows a cancellation only as one that was asked of itself
    "stopped": ("cancelled", WorkflowExecutionStatus.COMPLETED),
    "rolled_back": ("completed", WorkflowExecutionStatus.COMPLETED),
    "taken_back_after_its_end": ("completed", WorkflowExecutionStatus.COMPLETED),
    "approved": ("completed", WorkflowExecutionStatus.COMPLETED),
    "handed_over": ("completed", WorkflowExecutionStatus.COMPLETED),
    "recovered": ("completed", WorkflowExecutionStatus.COMPLETED),
    "flow": ("completed", WorkflowExecutionStatus.COMPLETED),
}


def payloads(part: Any) -> Iterator[bytes]:
    """All payloads inside a history, decoded."""
    if isinstance(part, list):
        for item in part:
            yield from payloads(item)
    elif isinstance(part, dict):
        if isinstance(part.get("data"), str) and isinstance(part.get("metadata"), dict):
            yield base64.b64decode(part["data"])
        for value in part.values():
            yield from payloads(value)


def without_search_attributes(part: Any) -> Any:
    if isinstance(part, list):
        return [without_search_attributes(item) for item in part]
    if isinstance(part, dict):
        return {k: without_search_attributes(value) for k, value in part.items() if k != "searchAttributes"}
    return part


def sealing(part: Any) -> Iterator[str]:
    """The encodings of all payloads inside a history."""
    if isinstance(part, list):
        for item in part:
            yield from sealing(item)
    elif isinstance(part, dict):
        if isinstance(part.get("metadata"), dict) and "encoding" in part["metadata"]:
            yield encoding_of(part)
        for value in part.values():
            yield from sealing(value)


def messages(part: Any) -> Iterator[str]:
    """What failures and handlers say in words inside a history."""
    if isinstance(part, list):
        for item in part:
            yield from messages(item)
    elif isinstance(part, dict):
        for name, value in part.items():
            if name in ("message", "stackTrace") and isinstance(value, str):
                yield value
            else:
                yield from messages(value)


def test_every_kind_of_run_is_recorded(runs: dict[str, Recorded]) -> None:
    assert set(NAMES) == runs.keys()


async def test_history_of_today_replays(platform: Platform, runs: dict[str, Recorded]) -> None:
    replayer = Replayer(workflows=[AgentRun], data_converter=sealing_converter(StackKeys(platform.stack)))
    for told in runs.values():
        await replayer.replay_workflow(told.history)


@pytest.mark.parametrize("name", NAMES)
def test_no_text_of_the_run_is_in_its_history(runs: dict[str, Recorded], name: str) -> None:
    """Although all of it is sealed: what is not there needs no key, and cannot grow too large."""
    told = runs[name]
    assert CANARY in json.dumps(told.execution["inputs"]), "the run had something to leak"
    kept = told.opened.to_json_dict()
    decoded = list(payloads(kept))
    assert len(decoded) > 4
    assert not [text for text in decoded if CANARY.encode() in text.lower()]
    # and not beside the payloads, as in the message or the trace of a failure
    assert CANARY not in json.dumps(kept).lower()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_its_history_can_be_read_without_the_key(runs: dict[str, Recorded], name: str) -> None:
    """But the search attributes, and what Temporal itself works with."""
    told = runs[name]
    kept = without_search_attributes(told.history.to_json_dict())
    found = list(sealing(kept))
    assert set(found) == {"binary/encrypted"}
    assert len(found) == len(list(sealing(without_search_attributes(told.opened.to_json_dict()))))
    # a message or a trace of a failure would lie beside the payloads
    said = {text for text in messages(kept) if text}
    assert said <= {"Encoded failure"}


@pytest.mark.parametrize("name", NAMES)
def test_payloads_are_small(runs: dict[str, Recorded], name: str) -> None:
    assert max(map(len, payloads(runs[name].history.to_json_dict()))) <= LARGEST_PAYLOAD


@pytest.mark.parametrize("name", NAMES)
def test_end_is_the_same_in_temporal_and_in_the_api(runs: dict[str, Recorded], name: str) -> None:
    told = runs[name]
    state, status = ENDS[name]
    # the execution that failed was taken up again since
    assert (told.execution["status"], told.description.status) == (state, status)
    attributes = told.description.typed_search_attributes
    assert attributes[temporal.RUN_STATE] == state


def test_step_that_was_cancelled_says_so(runs: dict[str, Recorded]) -> None:
    agents = runs["cancelled"].execution["agents"]
    assert [agent["status"] for agent in agents] == ["completed", "cancelled"]


async def test_web_ui_tells_the_story(platform: Platform, runs: dict[str, Recorded]) -> None:
    told = runs["graph_with_loop"]
    execution, description = told.execution, told.description
    tenant, _, run_id = description.id.partition("/")
    assert run_id == execution["id"]
    assert await description.static_summary() == "loop of two · langgraph · v1"
    assert execution["workflow_id"] in str(await description.static_details())

    attributes = description.typed_search_attributes
    assert attributes[temporal.TENANT] == tenant
    assert attributes[temporal.DEFINITION] == execution["workflow_id"]
    assert attributes[temporal.FRAMEWORK] == "langgraph"

    metadata = await run_of(await connect(platform), execution).query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    assert "## completed" in metadata.current_details
    assert "3 steps done" in metadata.current_details
    assert "2 model calls, 0 tool calls" in metadata.current_details


def test_activities_carry_the_names_of_their_steps(runs: dict[str, Recorded]) -> None:
    told = {name: [] for name in runs}
    for name, run in runs.items():
        for event in run.opened.events:
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                told[name].append(json.loads(event.user_metadata.summary.data))
    assert told["graph_with_loop"] == ["write", "write", "publish"]
    assert told["crew"] == ["draft · writer", "shorten · writer"]
    assert told["failed"] == ["write", "write", "record: failed"]
    assert told["retried"] == ["write", "publish"]
    assert told["cancelled"] == ["write", "write", "record: cancelled"]


async def test_runs_are_found_by_their_attributes(platform: Platform, runs: dict[str, Recorded]) -> None:
    wanted = runs["cancelled"].execution
    query = f"Definition = '{wanted['workflow_id']}' AND RunState = 'cancelled'"
    client = await connect(platform)
    assert [run.id.partition("/")[2] async for run in client.list_workflows(query)] == [wanted["id"]]


async def test_name_of_any_length_and_script_starts_and_is_cut(platform: Platform) -> None:
    """The server refuses summaries beyond 400 bytes, and with them the run."""
    client = await connect(platform)
    for name in ("x" * 255, "漢" * 255, "😀" * 255, '"\\' * 127):
        definition = {
            "nodes": [{"id": name[:100], "type": "template", "template": "x", "output": "text"}],
            "edges": [{"from": "START", "to": name[:100]}, {"from": name[:100], "to": "END"}],
            "state": {"text": {"type": "string"}},
        }
        execution = platform.run({"name": name, "framework": "langgraph", "workflow_definition": definition}, {})
        summary = str(await (await run_of(client, execution).describe()).static_summary())
        assert summary.startswith(name[:15])
        assert summary.endswith("...")
