"""A step that is not as its definition promises makes no checkpoint, and its failure says why."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tests.e2e.test_failures import ONE_CALL, ONE_CREW_CALL
from tests.support.platform import Platform


def with_checkpoint(workflow: dict[str, Any], **entry: Any) -> dict[str, Any]:
    changed = deepcopy(workflow)
    changed["workflow_definition"]["checkpoints"] = [entry]
    return changed


def checkpoints(platform: Platform, execution: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = platform.http.get("/checkpoints", params={"execution_id": execution["id"]}).json()[
        "checkpoints"
    ]
    return found


@pytest.mark.parametrize(
    ("workflow", "step", "made"), [(ONE_CALL, "ask", 1), (ONE_CREW_CALL, "writer", 0)], ids=["langgraph", "crewai"]
)
def test_post_condition_that_does_not_hold(platform: Platform, workflow: dict[str, Any], step: str, made: int) -> None:
    platform.model.set_script([{"reply": {"content": "Nobody said so."}}])
    condition = {"expr": "output == 'yes'", "message": "The answer is made up", "failure_type": "hallucination"}
    promised = with_checkpoint(workflow, name="answered", step=step, postconditions=[condition])
    execution = platform.finish(platform.start(promised, {"topic": "promises"}))
    assert execution["status"] == "failed"
    assert len(checkpoints(platform, execution)) == made
    failure = platform.http.get("/failures", params={"execution_id": execution["id"]}).json()["failures"][0]
    assert failure["failure_type"] == "hallucination"
    assert "The answer is made up" in failure["error_message"]
    assert "output == 'yes'" in failure["error_message"]


def test_conditions_that_hold_stand_with_the_checkpoint(platform: Platform) -> None:
    platform.model.set_script([{"reply": {"content": '{"score": 7}'}}])
    promised = with_checkpoint(
        ONE_CREW_CALL,
        name="scored",
        step="writer",
        preconditions=["inputs.topic != ''"],
        postconditions=["output.score > 5"],
        output_schema={"type": "object", "required": ["score"]},
    )
    execution = platform.run(promised, {"topic": "promises"})
    made = checkpoints(platform, execution)
    assert len(made) == 2
    assert "scored" in made[0]["checkpoint_name"]
    detail = platform.http.get(f"/checkpoints/{made[0]['id']}").json()
    assert "inputs.topic != ''" in str(detail)
