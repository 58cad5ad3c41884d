"""Semantic Kernel in our process: no telemetry, no file, no change of the event loop. Watched by the interpreter itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conformance.test_semantic_kernel import FUNCTIONS, SEQUENTIAL
from tests.support.model_server import ModelServer

_WATCHED = """
import os, sys

seen = {"writes": [], "hosts": [], "programs": []}

def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen["writes"].append(str(arguments[0]))
    elif event == "os.mkdir":
        seen["writes"].append(str(arguments[0]))
    elif event == "socket.connect":
        seen["hosts"].append(arguments[1])
    elif event == "socket.getaddrinfo":
        seen["hosts"].append([arguments[0], arguments[1]])
    elif event == "subprocess.Popen":
        seen["programs"].append(os.path.basename(str(arguments[0])))

sys.addaudithook(watch)

import asyncio, json
from pathlib import Path
from activities.adapters.base import ModelEndpoint, StepContext
from activities.adapters.registry import load_adapter
from omium_core.settings import Settings
from tests.support.toolbox import MemoryToolBox

async def run(adapter, base_url, case):
    state, done = adapter.start(case["definition"], case["inputs"]), False
    while not done:
        context = StepContext("run", 0, 1, ModelEndpoint(base_url, "key", "m"), MemoryToolBox())
        result = await adapter.run_step(case["definition"], state, context)
        state, done = result.state, result.next_step is None

asked = json.load(sys.stdin)
adapter = load_adapter("semantic_kernel", Settings(), Path(asked["scratch"]))
for case in asked["cases"]:
    asyncio.run(run(adapter, asked["base_url"], case))
seen["patched"] = hasattr(asyncio, "_nest_patched")
print(json.dumps(seen))
"""


def test_runs_leave_no_trace(tmp_path: Path) -> None:
    cases = (SEQUENTIAL, FUNCTIONS)
    # A file that the framework's settings would read in the worker's folder.
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-of-somebody\nOPENAI_CHAT_MODEL_ID=another\n")
    with ModelServer([rule for case in cases for rule in case.rules]) as server:
        asked = {
            "base_url": server.base_url,
            "scratch": str(tmp_path / "scratch"),
            "cases": [{"definition": case.definition, "inputs": case.inputs} for case in cases],
        }
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", _WATCHED],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"},
            cwd=tmp_path,
        )
        port, calls = server.port, server.calls
    assert done.returncode == 0, done.stderr
    *printed, last = done.stdout.splitlines()
    seen = json.loads(last)
    assert [path for path in seen["writes"] if path != os.devnull] == []
    assert {tuple(host) for host in seen["hosts"]} == {("127.0.0.1", port)}
    # A library that the framework loads looks for codecs; the OpenAI client sends the platform's name in a header.
    assert set(seen["programs"]) <= {"ldconfig", "uname"}
    assert not seen["patched"]
    assert printed == []
    assert done.stderr == ""
    assert {call.body["model"] for call in calls} == {"m", "big"}
    assert len(calls) == SEQUENTIAL.model_calls + FUNCTIONS.model_calls
