"""All sequences of up to four commands against a run under way: the status is always one of the documents', the run ends.

`make test-all` runs all of them, `make test` a seeded sample. Runs go side by side: what is tested is the order of
commands, not the machine.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from activities.payload_codec import sealing_converter
from omium_core import temporal
from tests.support.platform import Platform, running_platform
from tests.support.sealed import StackKeys
from tests.support.stack import wait_until
from tests.workflows.scenarios import connect
from workflows.agent_run import AgentRun

#: A pause is soft or hard, and a rollback waits or goes on, by its place in the sequence.
COMMANDS = ("pause", "resume", "cancel", "roll back", "retry")
STATUSES = {"pending", "running", "paused", "completed", "failed", "rolled_back", "cancelled"}
#: What a command may be answered with, and the codes of a wrong state.
ANSWERS = {200, 202, 409}
CODES = {
    "EXECUTION_CANNOT_PAUSE",
    "EXECUTION_CANNOT_RESUME",
    "EXECUTION_CANNOT_CANCEL",
    "EXECUTION_CANNOT_RETRY",
    "ROLLBACK_FAILED",
}
ENDS = ("completed", "cancelled")
SIDE_BY_SIDE = 8
SAMPLE = 16
#: How many of all sequences are enough where only the lengths of histories differ.
SHORT_HISTORIES = 160
#: A run of short histories goes through all that one of a single history does.
WHOLE = pytest.mark.thorough

GRAPH: dict[str, Any] = {
    "name": "three steps",
    "framework": "langgraph",
    "workflow_definition": {
        "nodes": [
            {"id": "plan", "type": "template", "template": "a plan for {{ topic }}", "output": "draft"},
            {"id": "write", "type": "llm", "prompt": "Write {{ draft }}", "output": "text"},
            {"id": "check", "type": "llm", "prompt": "Check {{ text }}", "output": "text"},
        ],
        "edges": [
            {"from": "START", "to": "plan"},
            {"from": "plan", "to": "write"},
            {"from": "write", "to": "check"},
            {"from": "check", "to": "END"},
        ],
        "state": {name: {"type": "string"} for name in ("topic", "draft", "text")},
    },
}


def all_sequences() -> list[tuple[str, ...]]:
    return [sequence for length in range(1, 5) for sequence in itertools.product(COMMANDS, repeat=length)]


class Run:
    """One run and the operator who steers it."""

    def __init__(self, platform: Platform, workflow_id: str, name: str) -> None:
        self._http = platform.http
        self.id = platform.start(workflow_id, {"topic": name})
        self.seen: list[str] = []
        wait_until(lambda: self.checkpoint() is not None, "the first checkpoint")

    def status(self) -> str:
        answer = self._http.get(f"/executions/{self.id}")
        assert answer.status_code == 200, answer.text
        status: str = answer.json()["status"]
        self.seen.append(status)
        return status

    def checkpoint(self) -> str | None:
        """Id of the first checkpoint."""
        found = self._http.get("/checkpoints", params={"execution_id": self.id, "limit": 100}).json()["checkpoints"]
        return str(found[-1]["id"]) if found else None

    def command(self, name: str, place: int) -> None:
        even = place % 2 == 0
        if name == "roll back":
            body = {"reason": "a sequence", "resume": even}
            answer = self._http.post(f"/checkpoints/{self.checkpoint()}/rollback", json=body)
        elif name == "pause":
            answer = self._http.post(f"/executions/{self.id}/pause", json={"mode": "soft" if even else "hard"})
        else:
            answer = self._http.post(f"/executions/{self.id}/{name}")
        assert answer.status_code in ANSWERS, (name, self.seen, answer.text)
        if answer.status_code == 409:
            assert answer.json()["error"]["code"] in CODES, (name, self.seen, answer.text)
        self.status()

    def end(self) -> None:
        """Lets the run go on where it waits, until it has ended."""

        def ended() -> bool:
            status = self.status()
            if status in ("paused", "rolled_back"):
                self._http.post(f"/executions/{self.id}/resume")
            return status in ENDS

        wait_until(ended, f"{self.id} ends", timeout=60)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Chunks of sequences, so that a failure names a few of them and not all."""
    if "sequences" not in metafunc.fixturenames:
        return
    everything, dice = all_sequences(), random.Random(metafunc.config.getoption("--seed"))
    cases = []
    for kind, most in (("one history", len(everything)), ("many short histories", SHORT_HISTORIES)):
        chosen = dice.sample(everything, most if metafunc.config.getoption("--all") else SAMPLE)
        size = SIDE_BY_SIDE * 2
        marks = WHOLE if kind == "one history" else ()
        for start in range(0, len(chosen), size):
            cases.append(pytest.param(kind, chosen[start : start + size], id=f"{kind}-{start // size}", marks=marks))
    metafunc.parametrize(("platform", "sequences"), cases, indirect=["platform"], scope="module")


@pytest.fixture(scope="module")
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """With short histories a run continues as new in the middle of anything."""
    env = {"OMIUM_MAX_HISTORY": "25"} if request.param == "many short histories" else {}
    with running_platform(tmp_path_factory.mktemp("sequences") / "data", env=env) as platform:
        yield platform


@pytest.mark.timeout(300)
def test_every_sequence_leaves_a_run_that_ends(platform: Platform, sequences: list[tuple[str, ...]]) -> None:
    platform.model.set_script([{"reply": {"delay": 0.1}}])
    workflow_id = platform.register(GRAPH)

    def steer(sequence: tuple[str, ...]) -> None:
        run = Run(platform, workflow_id, " ".join(sequence))
        for place, name in enumerate(sequence):
            run.command(name, place)
        run.end()
        assert set(run.seen) <= STATUSES, (sequence, run.seen)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(steer, sequences))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "platform", [pytest.param("one history", marks=WHOLE), "many short histories"], indirect=True, scope="module"
)
async def test_all_that_happened_replays(platform: Platform) -> None:
    """Whatever came when, the workflow decides the same again: a worker that takes a run over stands where the other stood."""
    client = await connect(platform)
    runs = client.list_workflows(f"WorkflowType = '{temporal.RUN_WORKFLOW}'")
    replayer = Replayer(
        workflows=[AgentRun],
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=sealing_converter(StackKeys(platform.stack)),
    )
    results = await replayer.replay_workflows(runs.map_histories(), raise_on_replay_failure=False)
    assert results.replay_failures == {}
