"""External agents in runs on the real platform, with the worker killed while the agent runs elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.connections.doubles import TOKEN, Double, Odd, running_double
from tests.sdk.command_line import run
from tests.support.platform import Platform, running_platform
from tests.support.stack import wait_until
from tests.workflows.scenarios import connect, run_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "external_flow.json"
DONE = {"status": "completed", "result": {"output": "Tea sells."}, "token_usage": {"total_tokens": 1500}}
RULES = [{"when": {"any": "Tea sells."}, "reply": {"content": "Note: tea sells."}}]
CANARY = "canary-input-of-the-run"


@pytest.fixture(scope="module")
def _parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, Double]]:
    env = {
        "OMIUM_FRAMEWORKS": "flow,langgraph",
        "OMIUM_EXTERNAL_POLL_INTERVAL": "0.1",
        "OMIUM_EXTERNAL_POLL_MAX_INTERVAL": "0.3",
        "OMIUM_CONNECTION_TIMEOUT": "5",
    }
    folder = tmp_path_factory.mktemp("connections") / "data"
    with running_double() as double, running_platform(folder, env=env) as platform:
        double.reset()
        body = {"connection_name": "Research Crew", "crew_url": double.url, "bearer_token": TOKEN}
        platform.http.post("/external-connections/crewai", json=body).raise_for_status()
        body = {"connection_name": "Graph", "url": double.url, "api_key": TOKEN, "assistant_id": "agent"}
        platform.http.post("/external-connections/langgraph", json=body).raise_for_status()
        yield platform, double


@pytest.fixture
def double(_parts: tuple[Platform, Double]) -> Double:
    _parts[1].reset()
    return _parts[1]


@pytest.fixture
def platform(_parts: tuple[Platform, Double]) -> Platform:
    _parts[0].model.set_script(RULES)
    return _parts[0]


def example() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(EXAMPLE.read_text())
    return loaded


def alone(connection: str, **more: Any) -> dict[str, Any]:
    return {"name": "alone", "framework": "external", "workflow_definition": {"connection": connection, **more}}


async def test_the_worker_is_killed_while_the_agent_runs(platform: Platform, double: Double) -> None:
    """The example; and what is left of it in Temporal and in the logs."""
    execution_id = platform.start(example(), {"topic": CANARY})
    wait_until(lambda: len(double.requests("GET", "/status/")) >= 2, "the run is followed")
    platform.stack.kill("worker")
    followed = len(double.requests("GET", "/status/"))
    wait_until(lambda: len(double.requests("GET", "/status/")) > followed, "another worker follows it", timeout=60.0)
    double.finish(DONE)
    execution = platform.finish(execution_id)
    assert execution["status"] == "completed", execution
    assert execution["outputs"]["note"] == "Note: tea sells."
    assert execution["outputs"]["steps"]["research"]["kickoff_id"] == "kick-1"
    [kickoff] = double.requests("POST", "/kickoff")
    assert kickoff.body["inputs"] == {"topic": CANARY, "depth": "comprehensive"}
    assert {one.path for one in double.requests("GET", "/status/")} == {"/status/kick-1"}
    research = next(agent for agent in execution["agents"] if agent["name"] == "Research Crew")
    assert (research["tokens_used"], research["tool_calls"]) == (1500, 1)

    history = await run_of(await connect(platform), execution).fetch_history()
    for text in (history.to_json(), platform.stack.log("worker"), platform.stack.log("api")):
        assert TOKEN not in text
        assert CANARY not in text


def test_a_lost_answer_waits_for_a_person(platform: Platform, double: Double) -> None:
    double.script["POST /kickoff"].append(Odd(after=True, breaks_off=True))
    execution_id = platform.start(alone("Research Crew"), {"topic": "tea"})
    failed = platform.finish(execution_id)
    assert failed["status"] == "failed"
    [failure] = platform.http.get("/failures", params={"execution_id": execution_id}).json()["failures"]
    assert (failure["failure_type"], failure["is_recoverable"]) == ("external_unknown", True)
    assert len(double.crews) == 1
    double.at_once = DONE
    platform.http.post(f"/executions/{execution_id}/retry").raise_for_status()
    execution = platform.finish(execution_id)
    assert (execution["status"], execution["outputs"]["raw"]) == ("completed", "Tea sells.")
    assert len(double.crews) == 2


def test_cancelling_tells_the_service(platform: Platform, double: Double) -> None:
    execution_id = platform.start(alone("Graph"), {"messages": []})
    wait_until(lambda: any(one.path.endswith("/runs") for one in double.requests("POST", "/threads")), "it runs")
    platform.http.post(f"/executions/{execution_id}/cancel").raise_for_status()
    assert platform.finish(execution_id)["status"] == "cancelled"
    wait_until(lambda: any(one.path.endswith("/cancel") for one in double.asked), "the service is told")


def test_a_wrong_token_is_no_text_of_the_failure(platform: Platform, double: Double) -> None:
    double.token = "another-one"
    execution_id = platform.start(alone("Research Crew", name="research"), {"topic": "tea"})
    assert platform.finish(execution_id)["status"] == "failed"
    told = platform.http.get("/failures", params={"execution_id": execution_id})
    events = platform.http.get(f"/executions/{execution_id}/events")
    assert "answered 401" in told.text
    assert TOKEN not in told.text + events.text + platform.stack.log("worker")


@pytest.mark.thorough
def test_from_the_command_line(
    platform: Platform, double: Double, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMIUM_API_KEY", platform.stack["api_key"])
    monkeypatch.setenv("OMIUM_BASE_URL", platform.stack["api_url"])
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    place = ("--url", double.url, "--token-file", str(token), "--json")
    made = run("connections", "create", "crewai", "--name", "By hand", *place)
    assert made.exit_code == 0, made.output
    connection_id = json.loads(made.stdout)["id"]
    assert "By hand" in run("connections", "list", "--type", "crewai", "--json").stdout
    assert run("connections", "test", connection_id).exit_code == 0
    double.at_once = DONE
    started = run("connections", "execute", connection_id, "--inputs", '{"topic": "tea"}', "--json")
    stands = run("connections", "status", connection_id, json.loads(started.stdout)["kickoff_id"])
    assert "Tea sells." in stands.stdout
    shown = run("connections", "get", connection_id)
    assert TOKEN[-4:] in shown.stdout
    assert TOKEN not in made.output + shown.output
    changed = run("connections", "update", connection_id, "--metadata", '{"meta": {"team": "blue"}}', "--json")
    assert json.loads(changed.stdout)["metadata"] == {"meta": {"team": "blue"}}
    assert run("connections", "update", connection_id).exit_code == 2
    double.token = "another-one"
    assert run("connections", "test", connection_id).exit_code == 1
    assert run("connections", "delete", connection_id).exit_code == 0
    assert run("connections", "get", connection_id).exit_code != 0
