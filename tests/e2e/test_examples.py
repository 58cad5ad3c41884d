"""Every example of the repository runs on a real platform, as its readers would run it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.flow.support import ONBOARDING_RULES
from tests.semantic_kernel.test_example import INPUTS as HELPDESK_INPUTS
from tests.semantic_kernel.test_example import RULES as HELPDESK_RULES
from tests.support.platform import Platform

EXAMPLES = Path(__file__).parents[2] / "examples"


def approve(platform: Platform, execution_id: str) -> None:
    """Answers what the run asks, until it has ended."""
    while platform.wait_for_status(execution_id, ["paused", "completed", "failed"])["status"] == "paused":
        asked = {"execution_id": execution_id, "status": "pending"}
        for approval in platform.http.get("/approvals", params=asked).json()["approvals"]:
            platform.http.post(f"/approvals/{approval['id']}/approve").raise_for_status()


@dataclass(frozen=True)
class Reading:
    """What a reader gives an example, what the model says, and what must be in the outputs."""

    inputs: Mapping[str, Any]
    says: str
    rules: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[Platform, str], None] | None = None


READINGS = {
    "autogen_team": Reading(
        {"task": "Plan a picnic"},
        "TERMINATE",
        [{"reply": {"content": "Bring bread. TERMINATE"}}],
    ),
    "crewai_flow": Reading(
        {"topic": "tea"},
        "Tea is bitter.",
        [
            {"when": {"any": "ready to be published"}, "reply": {"content": "publish"}},
            {"reply": {"content": "Tea is bitter."}},
        ],
    ),
    "crewai_review": Reading({}, "", answer=approve),
    "flow_onboarding": Reading(
        {"customer_data": {"name": "Ada", "amount": 20_000}}, "Dear Ada, welcome.", ONBOARDING_RULES
    ),
    "langgraph_approval": Reading({"topic": "tea"}, "New: tea.", [{"reply": {"content": "New: tea."}}], approve),
    "semantic_kernel_helpdesk": Reading(HELPDESK_INPUTS, "We refund 90 dollars.", HELPDESK_RULES),
}


#: Needs a service elsewhere; `tests/connections` has one.
ELSEWHERE = "external_flow"


def example(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text())
    return loaded


@pytest.mark.parametrize("name", sorted({path.stem for path in EXAMPLES.glob("*.json")} - {ELSEWHERE}))
def test_example(platform: Platform, name: str) -> None:
    reading = READINGS[name]
    workflow = example(name)
    inputs = dict(reading.inputs) or _any_inputs(workflow)
    platform.model.set_script(reading.rules)
    execution_id = platform.start(workflow, inputs)
    if reading.answer is not None:
        reading.answer(platform, execution_id)
    execution = platform.finish(execution_id)
    assert execution["status"] == "completed", execution
    assert reading.says in json.dumps(execution["outputs"], ensure_ascii=False)


def test_the_readme_names_every_example() -> None:
    readme = (EXAMPLES.parent / "README.md").read_text()
    assert [path.name for path in EXAMPLES.glob("*.json") if path.name not in readme] == []


def _any_inputs(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """A text for everything that the example requires."""
    return dict.fromkeys(workflow.get("input_schema", {}).get("required", ()), "tea")
