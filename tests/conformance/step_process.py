"""One step in a process of its own: reads what to do from stdin and writes the result to stdout, both as one JSON object."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from activities.adapters.base import Answer, ModelEndpoint, StepContext
from activities.adapters.registry import load_adapter
from omium_core.settings import Settings
from tests.support.toolbox import MemoryToolBox


async def _step(asked: dict[str, Any], scratch: Path) -> dict[str, Any]:
    adapter = load_adapter(asked["framework"], Settings(), scratch)
    state = asked["state"] or adapter.start(asked["definition"], asked["inputs"])
    endpoint = ModelEndpoint(asked["base_url"], "placeholder", asked["default_model"])
    answers = {name: Answer(**answer) for name, answer in asked["answers"].items()}
    context = StepContext(asked["execution_id"], asked["index"], asked["attempt"], endpoint, MemoryToolBox(), answers)
    result = await adapter.run_step(asked["definition"], state, context)
    return {
        "pid": os.getpid(),
        "state": result.state,
        "next_step": result.next_step,
        "outputs": result.outputs,
        "interrupts": [asdict(interrupt) for interrupt in result.interrupts],
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        answer = asyncio.run(_step(json.load(sys.stdin), Path(folder)))
    # Frameworks print; the last line is ours.
    print(json.dumps(answer))  # noqa: T201 - the answer
