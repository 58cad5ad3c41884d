"""A run that fails is told: on the real platform, with its worker killed in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.test_failures import ONE_CALL
from tests.notifications.receiver import Receiver
from tests.support.platform import Platform, running_platform
from tests.support.stack import wait_until
from tests.workflows.scenarios import connect, run_of

SECRET = "whsec-of-the-platform"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = {"OMIUM_NOTIFICATION_TIMEOUT": "2", "OMIUM_NOTIFICATION_RETRY_INTERVAL": "0.2"}
    with running_platform(tmp_path_factory.mktemp("notifications") / "data", env=settings) as platform:
        yield platform


def failing(platform: Platform, *channels: Any) -> str:
    """Id of a run that has failed, and that tells these channels."""
    workflow_id = platform.register(ONE_CALL)
    body = {
        "name": "tells",
        "workflow_id": workflow_id,
        "policy_type": "notification",
        "policy_config": {"events": ["execution.failed"], "channels": list(channels)},
    }
    answer = platform.http.post("/policies", json=body)
    assert answer.status_code == 201, answer.text
    platform.model.set_script([{"reply": {"error": {"status": 400}}, "times": 1}])
    execution_id = platform.start(workflow_id, {"topic": "a secret topic"})
    assert platform.finish(execution_id)["status"] == "failed"
    return execution_id


def told(platform: Platform, execution_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = platform.client.notifications.list(execution_id=execution_id)["notifications"]
    return rows


def until_sent(platform: Platform, execution_id: str) -> dict[str, Any]:
    wait_until(lambda: [row["status"] for row in told(platform, execution_id)] == ["sent"], "it is sent")
    return told(platform, execution_id)[0]


async def test_failed_run_is_told_once_and_signed(platform: Platform, receiver: Receiver) -> None:
    channel = {"type": "webhook", "url": f"{receiver.url}/path-as-password", "secret": SECRET}
    execution_id = failing(platform, channel)
    row = until_sent(platform, execution_id)
    [delivery] = receiver.arrived
    assert delivery.is_signed_with(SECRET)
    assert (delivery.event, delivery.body["execution"]["id"]) == ("execution.failed", execution_id)
    assert "secret topic" not in delivery.content.decode()
    assert platform.http.get(delivery.body["links"]["execution"].removeprefix("/api/v1")).status_code == 200
    assert (row["target"], row["attempts"], row["last_error"]) == ("127.0.0.1", 1, None)

    history = await run_of(await connect(platform), platform.get(execution_id)).fetch_history()
    seen = [history.to_json(), platform.stack.log("worker"), platform.http.get("/notifications").text]
    assert not any(word in text for word in (SECRET, "path-as-password") for text in seen)

    assert platform.http.post(f"/executions/{execution_id}/retry").status_code == 200
    assert platform.finish(execution_id)["status"] == "completed"
    assert len(told(platform, execution_id)) == len(receiver.arrived) == 1


def test_receiver_is_down_at_first(platform: Platform, receiver: Receiver) -> None:
    receiver.answers[:] = [503, 500]
    row = until_sent(platform, failing(platform, {"url": receiver.url}))
    assert (row["attempts"], len(receiver.arrived)) == (3, 3)


def test_worker_is_killed_while_it_sends(platform: Platform, receiver: Receiver) -> None:
    receiver.hold.clear()
    execution_id = failing(platform, {"url": receiver.url})
    wait_until(lambda: bool(receiver.arrived), "a request")
    platform.stack.kill("worker")
    receiver.hold.set()
    row = until_sent(platform, execution_id)
    assert {delivery.body["id"] for delivery in receiver.arrived} == {row["id"]}
    assert len(receiver.arrived) == row["attempts"] >= 2


def test_log_of_the_worker(platform: Platform) -> None:
    execution_id = failing(platform)
    until_sent(platform, execution_id)
    lines = [line for line in platform.stack.log("worker").splitlines() if '"message": "notification"' in line]
    assert len([line for line in lines if execution_id in line]) == 1


def test_run_without_policies_makes_no_rows(platform: Platform, receiver: Receiver) -> None:
    platform.model.set_script([])
    quiet = platform.run(ONE_CALL, {"topic": "quiet"})["id"]
    # what happened before this was told is queued before it
    until_sent(platform, failing(platform, {"url": receiver.url}))
    assert told(platform, quiet) == []
