"""CrewAI in our process: no telemetry, no files of its own, no signal handlers. Watched by the interpreter itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.runs import Case
from tests.conformance.test_crewai import FLOW, WITH_TOOL
from tests.support.model_server import ModelServer

_WATCHED = """
import os, signal, sys

seen = {"writes": [], "hosts": [], "programs": []}

def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen["writes"].append(str(arguments[0]))
    elif event == "os.mkdir" and not os.path.isdir(arguments[0]):
        seen["writes"].append(str(arguments[0]))
    elif event == "sqlite3.connect":
        seen["writes"].append(str(arguments[0]))
    elif event == "socket.connect":
        seen["hosts"].append(arguments[1])
    elif event == "socket.getaddrinfo":
        seen["hosts"].append([arguments[0], arguments[1]])
    elif event == "subprocess.Popen":
        seen["programs"].append(str(arguments[0]))

sys.addaudithook(watch)

import asyncio, json, threading
from pathlib import Path
from activities.adapters.base import ModelEndpoint, StepContext
from activities.adapters.registry import load_adapter
from omium_core.settings import Settings
from tests.support.toolbox import MemoryToolBox

async def run(asked):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    adapter = load_adapter("crewai", Settings(), Path(asked["scratch"]))
    definition, state, done = asked["definition"], adapter.start(asked["definition"], asked["inputs"]), False
    while not done:
        context = StepContext("run", 0, 1, ModelEndpoint(asked["base_url"], "key", "m"), MemoryToolBox())
        result = await adapter.run_step(definition, state, context)
        state, done = result.state, result.next_step is None
    seen["same_signals"] = before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    seen["home"] = os.environ["HOME"]
    print(json.dumps(seen))

asyncio.run(run(json.load(sys.stdin)))
"""


@pytest.mark.parametrize(
    "case", [WITH_TOOL, pytest.param(FLOW, marks=pytest.mark.thorough)], ids=lambda case: case.name
)
def test_a_run_leaves_no_trace(tmp_path: Path, case: Case) -> None:
    scratch, home, temporary = (tmp_path / name for name in ("scratch", "home", "tmp"))
    home.mkdir()
    temporary.mkdir()
    with ModelServer(case.rules) as server:
        asked = {"definition": case.definition, "inputs": case.inputs, "base_url": server.base_url}
        seen, spent = _watch(asked | {"scratch": str(scratch)}, home, temporary)
        port = server.port
    written = [Path(path) for path in seen["writes"]]
    # tempfile tries its folder out once.
    strays = [path for path in written if not path.is_relative_to(scratch) and path.parent != temporary]
    assert [path for path in strays if path != Path(os.devnull)] == []
    assert list(temporary.iterdir()) == []
    assert list(home.iterdir()) == []
    assert {tuple(host) for host in seen["hosts"]} == {("127.0.0.1", port)}
    # The OpenAI client sends the platform's name in a header.
    assert set(seen["programs"]) <= {"uname"}
    assert seen["same_signals"]
    assert seen["home"] == str(home)
    assert spent.strip() == ""


def _watch(asked: dict[str, Any], home: Path, temporary: Path) -> tuple[dict[str, Any], str]:
    """What the process did, and what it printed beside it."""
    quiet = {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CREWAI_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env=environment | quiet,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    *printed, last = done.stdout.splitlines()
    return json.loads(last), "\n".join(printed)
