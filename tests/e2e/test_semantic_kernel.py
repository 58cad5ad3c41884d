"""Semantic Kernel on the real stack, from the request to the result."""

from __future__ import annotations

from tests.semantic_kernel.test_example import EXAMPLE, INPUTS, RULES
from tests.support.platform import Platform


def test_a_handoff_with_a_tool(platform: Platform) -> None:
    platform.model.set_script(RULES)
    execution = platform.run(EXAMPLE, INPUTS)
    assert [agent["name"] for agent in execution["agents"]] == ["dispatcher", "billing"]
    assert [agent["llm_calls"] for agent in execution["agents"]] == [1, 2]
    assert [agent["tool_calls"] for agent in execution["agents"]] == [0, 1]
    assert execution["outputs"]["raw"] == "We refund 90 dollars."
    assert execution["checkpoint_count"] == 2
    assert execution["credits_used"] > 0


def test_prompt_functions(platform: Platform) -> None:
    functions = [
        {"name": "outline", "template": "Outline {{$topic}}", "execution_settings": {"default": {"temperature": 0.1}}},
        {"name": "story", "template": "Tell {{outline}}", "template_format": "handlebars"},
    ]
    workflow = {"name": "story", "framework": "semantic_kernel", "workflow_definition": {"functions": functions}}
    platform.model.set_script([{"when": {"last": "^Outline"}, "reply": {"content": "leaves & rain"}}])
    execution = platform.run(workflow, {"topic": "tea"})
    assert [agent["name"] for agent in execution["agents"]] == ["outline", "story"]
    assert execution["outputs"]["results"]["outline"] == "leaves & rain"
    assert platform.model.calls[-1].body["messages"][-1]["content"] == "Tell leaves & rain"


def test_a_definition_that_names_code_is_refused(platform: Platform) -> None:
    definition = {"agents": [{"name": "a", "instructions": "A", "plugins": [{"module": "os", "class": "system"}]}]}
    body = {"name": "code", "framework": "semantic_kernel", "workflow_definition": definition}
    answer = platform.http.post("/workflows", json=body)
    assert answer.status_code == 422
    assert "agents[0].plugins" in answer.text
