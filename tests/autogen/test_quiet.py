"""AutoGen in our process: nothing on stderr, whatever becomes of a turn, and nothing left on the agents' loop."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.autogen.teams import agent, graph, team
from tests.support.model_server import ModelServer

_RUNS = """
import asyncio, gc, json, logging, sys
from pathlib import Path
from activities.adapters.base import ModelEndpoint, StepContext
from activities.adapters.registry import load_adapter
from activities.loops import LoopThread
from omium_core.settings import Settings
from tests.support.toolbox import MemoryToolBox

logging.basicConfig(level=logging.INFO)
logging.getLogger("httpx").setLevel(logging.WARNING)
asked = json.load(sys.stdin)
adapter = load_adapter("autogen", Settings(), Path("."))

async def turn(definition, base_url, stop_after):
    context = StepContext("run", 0, 1, ModelEndpoint(base_url, "key", "m"), MemoryToolBox())
    state = adapter.start(definition, {"task": "Go"})
    try:
        async with asyncio.timeout(stop_after):
            await adapter.run_step(definition, state, context)
    except Exception as error:
        return type(error).__name__
    return "done"

async def left():
    gc.collect()
    return len(asyncio.all_tasks()) - 1

async def main():
    loop = LoopThread("agents")
    ends = [await loop.run(turn(*one)) for one in asked]
    print(json.dumps({"ends": ends, "left": await loop.run(left())}))
    loop.stop()

asyncio.run(main())
"""


def test_nothing_is_said_and_nothing_is_left() -> None:
    definitions = [
        agent("a"),
        team("SelectorGroupChat", agent("a"), agent("b"), selector_prompt="{roles}", max_turns=1),
        team("GraphFlow", agent("a"), agent("b"), agent("c"), graph=graph("a -> c", "b -> c")),
        team("MagenticOneGroupChat", agent("a")),
    ]
    with (
        ModelServer() as good,
        ModelServer([{"reply": {"error": {"status": 500}}}]) as bad,
        ModelServer([{"reply": {"hang": True}}]) as silent,
    ):
        runs = [
            *((definition, good.base_url, 20) for definition in definitions[:3]),
            *((definition, bad.base_url, 20) for definition in definitions),
            *((definition, silent.base_url, 0.3) for definition in definitions),
        ]
        done = subprocess.run(
            [sys.executable, "-c", _RUNS], input=json.dumps(runs), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["ends"] == ["done"] * 3 + ["ModelUnavailable"] * 4 + ["TimeoutError"] * 4
        assert told["left"] == 0
        assert done.stderr == ""
