"""The example of the repository, as it is posted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

from activities.adapters.base import Adapter
from activities.adapters.semantic_kernel.definition import DEFINITION
from activities.tools.names import BUILTIN_TOOLS
from tests.semantic_kernel.support import calling, run
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

EXAMPLE: dict[str, Any] = json.loads((Path(__file__).parents[2] / "examples/semantic_kernel_helpdesk.json").read_text())
INPUTS = {"task": "Two of my twelve chairs at 45 each are broken", "shop": "Chairs & more"}
RULES = [
    {"when": {"system": "You receive requests of customers of Chairs & more"}, "reply": calling("Handoff-transfer_to_billing")},
    {"when": {"system": "refunds", "not_called": "calculator"}, "reply": calling("calculator", expression="2*45")},
    {"when": {"last": "^90$"}, "reply": calling("Handoff-complete_task", task_summary="We refund 90 dollars.")},
]  # fmt: skip


async def test_the_help_desk_settles_a_request(adapter: Adapter, server: ModelServer) -> None:
    definition = EXAMPLE["workflow_definition"]
    assert DEFINITION.validate(definition, tools=BUILTIN_TOOLS) == []
    assert DEFINITION.validate_inputs(definition, INPUTS) == []
    assert not DEFINITION.needs_worker(definition, tools=BUILTIN_TOOLS)
    jsonschema.validate(definition, DEFINITION.json_schema())
    jsonschema.validate(INPUTS, EXAMPLE["input_schema"])
    server.set_script(RULES)
    tools = MemoryToolBox()
    result = await run(adapter, server, definition, INPUTS, tools=tools)
    assert result.outputs["raw"] == "We refund 90 dollars."
    assert tools.calls == [("calculator", '{"expression": "2*45"}')]
    assert len(server.calls) == 3
