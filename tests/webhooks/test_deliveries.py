"""From an event to the endpoint that wants it: signed, tried again, given up, and never twice under two ids."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import update
from sqlmodel import col
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from temporalio.client import Client

from activities.notifications import queue_marked
from activities.webhooks.sending import WebhookActivities
from models.database import Database
from models.repositories.webhooks import WebhookRepository
from models.tables import ExecutionEvent, WebhookDelivery, WebhookEndpoint
from models.tables.base import now
from models.wire_webhooks import Sent
from omium_core.settings import Settings
from tests.notifications.receiver import Delivery, Receiver
from tests.support.loopback import free_port
from tests.support.tenants import Owned, add_execution
from workers.notifier import Notifier
from workers.webhooks import Waker

Json = dict[str, Any]
Happen = Callable[..., Awaitable[Owned]]


@pytest.fixture
def happen(database: Database, tenant: UUID) -> Happen:
    """Writes events of a new run, one transaction each, and queues what is told of them."""

    async def happen(*event_types: str) -> Owned:
        owned = await add_execution(database, tenant)
        for event_type in event_types:
            async with database.transaction(tenant) as session:
                session.add(
                    ExecutionEvent(
                        tenant_id=tenant, execution_id=owned.execution, event_type=event_type, data={"number": 7}
                    )
                )
        async with database.transaction(tenant) as session:
            while await queue_marked(session):
                pass
        return owned

    return happen


class Sender:
    """Sends as the worker's activity does, round after round."""

    def __init__(self, database: Database, settings: Settings, tenant: UUID) -> None:
        self.activities = WebhookActivities(database, settings)
        self.tenant = tenant

    async def once(self, webhook_id: str) -> Sent:
        return await self.activities.send_due(self.tenant, UUID(webhook_id))

    async def until_idle(self, webhook_id: str) -> int:
        attempts = 0
        while True:
            sent = await self.once(webhook_id)
            attempts += sent.attempts
            if sent.next_in < 0:
                return attempts
            await asyncio.sleep(min(sent.next_in, 1.0))


@pytest.fixture
def sender(database: Database, settings: Settings, tenant: UUID) -> Sender:
    return Sender(database, settings, tenant)


async def make(http: httpx.AsyncClient, url: str, *events: str) -> Json:
    answer = await http.post("/webhooks", json={"url": url, "events": list(events) or ["*"]})
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


async def log_of(http: httpx.AsyncClient, webhook: Json, **query: str) -> list[Json]:
    answer = await http.get(f"/webhooks/{webhook['id']}/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    rows: list[Json] = answer.json()["deliveries"]
    return rows


def opened(delivery: Delivery, secret: str) -> Json:
    """The body, if the signature is genuine."""
    told: Json = Webhook(secret).verify(delivery.content, delivery.headers)
    return told


async def test_chosen_events_arrive_signed(
    http: httpx.AsyncClient, receiver: Receiver, happen: Happen, sender: Sender
) -> None:
    hook = await make(http, f"{receiver.url}/hook", "execution.completed", "approval.*")
    owned = await happen("execution.started", "approval.requested", "execution.completed")
    assert await sender.until_idle(hook["id"]) == 2
    bodies = [opened(delivery, hook["secret"]) for delivery in receiver.arrived]
    assert [body["type"] for body in bodies] == ["approval.requested", "execution.completed"]
    assert bodies[1]["data"]["execution_id"] == str(owned.execution)
    assert (bodies[1]["data"]["status"], bodies[1]["data"]["details"]) == ("completed", {"number": 7})
    assert bodies[1]["timestamp"].startswith(str(now().year))
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 43).verify(receiver.arrived[0].content, receiver.arrived[0].headers)

    [last, first] = await log_of(http, hook)
    assert [row["message_id"] for row in (first, last)] == [d.headers["webhook-id"] for d in receiver.arrived]
    assert (last["status"], last["attempts"], last["response_code"], last["next_attempt_at"]) == (
        "delivered",
        1,
        204,
        None,
    )
    assert last["payload"] == bodies[1]
    assert last["duration_ms"] >= 0


async def test_failed_attempts_are_repeated_with_one_id(
    http: httpx.AsyncClient, receiver: Receiver, happen: Happen, sender: Sender, database: Database, settings: Settings
) -> None:
    receiver.answers[:] = [500, 302]
    hook = await make(http, f"{receiver.url}/hook", "execution.failed")
    await happen("execution.failed")
    patient = Sender(database, settings.model_copy(update={"webhook_retry_interval": 100}), sender.tenant)
    sent = await patient.once(hook["id"])
    assert sent.attempts == 1
    assert 80 <= sent.next_in <= 120
    [row] = await log_of(http, hook, status="pending")
    assert (row["response_code"], row["last_error"]) == (500, "127.0.0.1 answered 500.")
    assert (await http.get(f"/webhooks/{hook['id']}")).json()["failing_since"] is not None

    async with database.transaction(sender.tenant) as session:
        await session.execute(update(WebhookDelivery).values(next_attempt_at=now()))
    assert await sender.until_idle(hook["id"]) == 2
    # a redirect is no answer, and is not followed
    assert [delivery.path for delivery in receiver.arrived] == ["/hook"] * 3
    assert len({delivery.headers["webhook-id"] for delivery in receiver.arrived}) == 1
    [row] = await log_of(http, hook)
    assert [entry["response_code"] for entry in row["attempt_log"]] == [204, 302, 500]
    assert (row["status"], row["last_error"]) == ("delivered", None)
    assert (await http.get(f"/webhooks/{hook['id']}")).json()["failing_since"] is None


async def test_given_up_and_sent_again_by_hand(
    http: httpx.AsyncClient, receiver: Receiver, happen: Happen, sender: Sender, settings: Settings
) -> None:
    receiver.answers[:] = [500] * settings.webhook_max_attempts
    hook = await make(http, f"{receiver.url}/hook", "execution.failed")
    await happen("execution.failed")
    assert await sender.until_idle(hook["id"]) == settings.webhook_max_attempts
    [row] = await log_of(http, hook, status="failed")
    answer = await http.post(f"/webhooks/{hook['id']}/deliveries/{row['id']}/redeliver")
    assert (answer.status_code, answer.json()["delivery"]["status"]) == (202, "pending")
    await sender.until_idle(hook["id"])
    await until(lambda: log_of(http, hook, status="delivered"))
    assert len({delivery.headers["webhook-id"] for delivery in receiver.arrived}) == 1


async def test_endpoint_that_fails_for_days_is_switched_off(
    http: httpx.AsyncClient, receiver: Receiver, another: Receiver, happen: Happen, sender: Sender, database: Database
) -> None:
    receiver.answers[:] = [500]
    hook = await make(http, receiver.url, "execution.failed")
    watcher = await make(http, another.url, "webhook.*")
    async with database.transaction(sender.tenant) as session:
        long_ago = now() - timedelta(days=4)
        await session.execute(
            update(WebhookEndpoint).where(col(WebhookEndpoint.id) == UUID(hook["id"])).values(failing_since=long_ago)
        )
    await happen("execution.failed")
    await sender.until_idle(hook["id"])
    shown = (await http.get(f"/webhooks/{hook['id']}")).json()
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "failing")
    await sender.until_idle(watcher["id"])
    told = [opened(delivery, watcher["secret"]) for delivery in another.arrived]
    assert [(body["type"], body["data"]["webhook_id"]) for body in told] == [("webhook.disabled", hook["id"])]
    [row] = await log_of(http, hook)
    assert row["status"] == "failed"

    await happen("execution.failed")
    assert len(await log_of(http, hook)) == 1, "nothing is queued for one that is switched off"
    back = await http.patch(f"/webhooks/{hook['id']}", json={"enabled": True})
    assert (back.json()["disabled_reason"], back.json()["failing_since"]) == (None, None)


async def test_endpoint_that_is_gone_is_switched_off_at_once(
    http: httpx.AsyncClient, receiver: Receiver, happen: Happen, sender: Sender
) -> None:
    receiver.answers[:] = [410]
    hook = await make(http, receiver.url, "execution.*")
    await happen("execution.failed")
    assert await sender.until_idle(hook["id"]) == 1
    assert (await http.get(f"/webhooks/{hook['id']}")).json()["disabled_reason"] == "gone"


async def test_both_secrets_sign_after_a_rotation(
    http: httpx.AsyncClient, receiver: Receiver, happen: Happen, sender: Sender
) -> None:
    hook = await make(http, receiver.url, "execution.failed")
    rotated = (await http.post(f"/webhooks/{hook['id']}/rotate-secret")).json()
    assert rotated["secret"] != hook["secret"]
    await happen("execution.failed")
    await sender.until_idle(hook["id"])
    for secret in (hook["secret"], rotated["secret"]):
        assert opened(receiver.arrived[0], secret)["type"] == "execution.failed"


async def test_private_address_is_refused_when_it_is_sent_to(
    http: httpx.AsyncClient, receiver: Receiver, happen: Happen, database: Database, settings: Settings, tenant: UUID
) -> None:
    """The name was public when it was given, and leads inside since."""
    hook = await make(http, receiver.url, "execution.failed")
    await happen("execution.failed")
    strict = Sender(database, settings.model_copy(update={"http_allow_private": ()}), tenant)
    assert await strict.until_idle(hook["id"]) == 1
    [row] = await log_of(http, hook)
    assert (row["status"], receiver.arrived) == ("failed", [])
    assert "not a public address" in row["last_error"]


async def test_events_of_one_run_arrive_in_order(
    http: httpx.AsyncClient, receiver: Receiver, happen: Happen, sender: Sender
) -> None:
    hook = await make(http, receiver.url)
    happened = ["execution.started", "step.completed", "step.failed", "execution.paused", "execution.failed"]
    await happen(*happened)
    await happen(*happened)
    await sender.until_idle(hook["id"])
    by_run: dict[str, list[str]] = {}
    for delivery in receiver.arrived:
        body = opened(delivery, hook["secret"])
        by_run.setdefault(body["data"]["execution_id"], []).append(body["type"])
    # the run's own beginning is an event of the fixture
    assert [events[-5:] for events in by_run.values()] == [happened, happened]


async def test_one_that_hangs_keeps_no_other_waiting(
    http: httpx.AsyncClient,
    receiver: Receiver,
    another: Receiver,
    happen: Happen,
    temporal: Client,
    database: Database,
    settings: Settings,
) -> None:
    """With the workflows in Temporal: one for each endpoint."""
    receiver.hold.clear()
    hanging = await make(http, receiver.url, "execution.failed")
    quick = await make(http, another.url, "execution.failed")
    await happen("execution.failed")
    await Notifier(database, settings, Waker(temporal, database)).once()
    await until(lambda: log_of(http, quick, status="delivered"))
    assert await log_of(http, hanging, status="pending")
    receiver.hold.set()
    await until(lambda: log_of(http, hanging, status="delivered"))


async def test_test_event_needs_no_subscription(http: httpx.AsyncClient, receiver: Receiver, temporal: Client) -> None:
    hook = await make(http, receiver.url, "execution.failed")
    await http.patch(f"/webhooks/{hook['id']}", json={"enabled": False})
    answer = await http.post(f"/webhooks/{hook['id']}/test")
    assert (answer.status_code, answer.json()["delivery"]["event_type"]) == (202, "webhook.test")
    await until(lambda: log_of(http, hook, status="delivered"))
    assert opened(receiver.arrived[0], hook["secret"])["data"]["webhook_id"] == hook["id"]


async def test_what_people_do_is_told_too(
    http: httpx.AsyncClient, receiver: Receiver, sender: Sender, workflow_id: str
) -> None:
    hook = await make(http, receiver.url, "schedule.*")
    body = {"workflow_id": workflow_id, "name": "daily", "cron": "@daily", "inputs": {"name": "Ada"}}
    made = (await http.post("/schedules", json=body)).json()
    await http.delete(f"/schedules/{made['id']}")
    await sender.until_idle(hook["id"])
    told = [opened(delivery, hook["secret"]) for delivery in receiver.arrived]
    assert [body["type"] for body in told] == ["schedule.created", "schedule.deleted"]
    assert {body["data"]["id"] for body in told} == {made["id"]}
    assert "Ada" not in str(told), "inputs are payload"


async def test_refused_connections_count_as_attempts(
    http: httpx.AsyncClient, happen: Happen, sender: Sender, settings: Settings
) -> None:
    hook = await make(http, f"http://127.0.0.1:{free_port()}", "execution.failed")
    await happen("execution.failed")
    assert await sender.until_idle(hook["id"]) == settings.webhook_max_attempts
    [row] = await log_of(http, hook)
    assert (row["status"], row["response_code"]) == ("failed", None)


async def test_pauses_grow_to_a_day(database: Database) -> None:
    activities = WebhookActivities(database, Settings())
    for _ in range(20):
        pauses = [activities.pause(attempt).total_seconds() for attempt in range(1, 12)]
        assert 4 <= pauses[0] <= 6
        assert 15 * 3600 < sum(pauses) < 28 * 3600


async def test_one_event_is_queued_once(database: Database, http: httpx.AsyncClient, tenant: UUID) -> None:
    hook = await make(http, "https://hooks.example.com/x", "execution.failed")
    for _ in range(2):
        async with database.transaction(tenant) as session:
            webhooks = WebhookRepository(session, tenant)
            await webhooks.tell("execution.failed", {}, message_id="msg_1")
            await webhooks.tell("execution.completed", {}, message_id="msg_2")
    assert [row["message_id"] for row in await log_of(http, hook)] == ["msg_1"]


async def until(holds: Callable[[], Awaitable[Any]], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.05)
