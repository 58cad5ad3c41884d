"""The outbox on a real database: each event once for each channel, sent until it is taken or given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, select, update
from sqlmodel import col
from structlog.testing import capture_logs

from activities.notifications import queue_marked
from models.database import Database
from models.repositories.notifications import NotificationRepository
from models.repositories.policies import PolicyRepository
from models.tables import Execution, ExecutionEvent, ExecutionPolicy, Notification, WorkflowVersion
from models.tables.base import new_id, now
from omium_core.errors import NotificationAlreadySent
from omium_core.settings import Settings
from tests.notifications.receiver import Receiver
from tests.support.loopback import free_port, wait_until
from tests.support.tenants import add_execution, add_tenant
from workers.notifier import Notifier

SECRET = "whsec-of-a-tenant"
SETTINGS = Settings(
    http_allow_private=("127.0.0.1",),
    notification_timeout=5,
    notification_max_attempts=3,
    notification_retry_interval=0.01,
)


class World:
    """A tenant with one execution that notifies, or does not."""

    def __init__(self, database: Database, tenant_id: UUID, execution_id: UUID) -> None:
        self.database = database
        self.tenant_id = tenant_id
        self.execution_id = execution_id

    def event(self, event_type: str) -> ExecutionEvent:
        return ExecutionEvent(
            tenant_id=self.tenant_id, execution_id=self.execution_id, event_type=event_type, data={"step": 1}
        )

    async def happens(self, *event_types: str) -> None:
        for event_type in event_types:
            async with self.database.transaction(self.tenant_id) as db:
                db.add(self.event(event_type))

    async def rows(self) -> list[Notification]:
        """The outbox of the tenant, in the order of its events."""
        query = select(Notification).where(col(Notification.execution_id) == self.execution_id)
        async with self.database.transaction(self.tenant_id) as db:
            found = (await db.execute(query.order_by(col(Notification.event_id), col(Notification.channel)))).scalars()
            return list(found)

    async def queue(self) -> None:
        async with self.database.transaction(self.tenant_id) as db:
            while await queue_marked(db):
                pass


Make = Callable[..., Awaitable[World]]


@pytest.fixture
async def make(database: Database) -> Make:
    """Makes a world whose run began with these settings of notification policies, and in which nothing has happened."""

    async def make(*configs: dict[str, Any], definition: dict[str, Any] | None = None) -> World:
        tenant = await add_tenant(database)
        owned = await add_execution(database, tenant)
        async with database.transaction(tenant) as db:
            await db.execute(delete(Notification).where(col(Notification.id) == owned.notification))
            sources = []
            for config in configs:
                policy = ExecutionPolicy(
                    tenant_id=tenant, name="n", policy_type="notification", policy_config=config, version=2
                )
                await PolicyRepository(db, tenant).add(policy)
                sources.append({"id": str(policy.id), "version": 2})
            if definition is not None:
                said = {"policies": {"notification": definition}}
                version = update(WorkflowVersion).where(col(WorkflowVersion.id) == owned.version)
                await db.execute(version.values(workflow_definition=said))
            notifies = {"policy": {"sources": sources}, "notifies": bool(configs or definition)}
            await db.execute(update(Execution).where(col(Execution.id) == owned.execution).values(**notifies))
        return World(database, tenant, owned.execution)

    return make


async def until_done(notifier: Notifier, world: World, *statuses: str) -> list[Notification]:
    """The outbox when all of it has one of the statuses."""
    end = time.monotonic() + 60
    while True:
        await notifier.once()
        rows = await world.rows()
        if rows and all(row.status in statuses for row in rows):
            return rows
        assert time.monotonic() < end, rows
        await asyncio.sleep(0.02)


def hook(receiver: Receiver, path: str = "/hook", **more: Any) -> dict[str, Any]:
    return {"type": "webhook", "url": f"{receiver.url}{path}", **more}


@pytest.fixture
async def notifier(database: Database) -> Notifier:
    return Notifier(database, SETTINGS)


async def test_event_is_told_to_each_channel_once_and_signed(
    make: Make, receiver: Receiver, notifier: Notifier
) -> None:
    hooks = [hook(receiver, "/signed", secret=SECRET, headers={"Authorization": "Bearer b"}), hook(receiver, "/plain")]
    world = await make({"events": ["execution.failed"], "channels": hooks})
    await world.happens("execution.started", "execution.failed", "execution.retried")
    rows = await until_done(notifier, world, "sent")
    assert [(row.event_type, row.channel, row.attempts) for row in rows] == [
        ("execution.failed", 0, 1),
        ("execution.failed", 1, 1),
    ]
    [signed], [plain] = receiver.at("/signed"), receiver.at("/plain")
    assert signed.is_signed_with(SECRET)
    assert not signed.is_signed_with("another")
    assert "x-omium-signature" not in plain.headers
    assert (signed.headers["authorization"], signed.headers["x-omium-event"]) == ("Bearer b", "execution.failed")
    assert signed.headers["x-omium-delivery"] == signed.body["id"] == str(rows[0].id)
    assert signed.body["event"]["id"] == str(rows[0].event_id)
    assert (signed.body["event"]["data"], signed.body["execution"]["id"]) == ({"step": 1}, str(world.execution_id))
    assert "inputs" not in signed.body["execution"]


async def test_events_arrive_in_order(make: Make, receiver: Receiver, notifier: Notifier) -> None:
    world = await make({"events": ["step.*"], "channels": [hook(receiver)]})
    names = [f"step.{name}" for name in ("one", "two", "three", "four", "five")]
    await world.happens(*names, "steps.other", "checkpoint.named")
    await until_done(notifier, world, "sent")
    assert [delivery.event for delivery in receiver.arrived] == names


async def test_run_without_notifications_makes_no_rows(make: Make, notifier: Notifier) -> None:
    quiet = await make()
    await quiet.happens("execution.failed")
    async with quiet.database.transaction(quiet.tenant_id) as db:
        query = select(ExecutionEvent).where(col(ExecutionEvent.execution_id) == quiet.execution_id)
        assert not any(event.notify for event in (await db.execute(query)).scalars())
    await notifier.once()
    assert await quiet.rows() == []


async def test_event_whose_transaction_ends_late_is_not_passed_over(make: Make) -> None:
    world = await make({"events": ["*"]})
    async with world.database.transaction(world.tenant_id) as late:
        late.add(world.event("execution.paused"))
        await late.flush()
        await world.happens("execution.resumed")
        await world.queue()
        assert [row.event_type for row in await world.rows()] == ["execution.resumed"]
    await world.queue()
    assert [row.event_type for row in await world.rows()] == ["execution.paused", "execution.resumed"]


async def test_workers_at_once_queue_each_event_once(make: Make) -> None:
    world = await make(
        {"events": ["*"]}, {"events": ["execution.*"], "channels": [{"type": "webhook", "url": "http://a/"}]}
    )
    async with world.database.transaction(world.tenant_id) as db:
        db.add_all([world.event("execution.failed") for _ in range(250)])
    await asyncio.gather(*(world.queue() for _ in range(5)))
    rows = await world.rows()
    assert len(rows) == len({(row.event_id, row.source) for row in rows}) == 500


async def test_queue_whose_transaction_fails_is_filled_again(make: Make) -> None:
    world = await make({"events": ["*"]})
    await world.happens("execution.failed")

    async def die_in_the_middle() -> None:
        async with world.database.transaction(world.tenant_id) as dying:
            assert await queue_marked(dying) >= 1
            await dying.flush()
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await die_in_the_middle()
    assert await world.rows() == []
    await world.queue()
    await world.queue()
    assert len(await world.rows()) == 1


async def test_channel_of_two_policies_hears_once(make: Make, receiver: Receiver) -> None:
    world = await make(
        {"events": ["execution.*"], "channels": [hook(receiver), "log"]},
        {"events": ["*"]},
        definition={"events": ["execution.failed"], "channels": [{"url": f"{receiver.url}/hook"}]},
    )
    await world.happens("execution.failed")
    await world.queue()
    assert sorted(row.channel_type for row in await world.rows()) == ["log", "webhook"]


async def test_definition_names_channels(make: Make, receiver: Receiver, notifier: Notifier) -> None:
    world = await make(definition={"events": ["execution.failed"], "channels": [hook(receiver)]})
    await world.happens("execution.failed")
    [row] = await until_done(notifier, world, "sent")
    assert (row.source, row.target, len(receiver.arrived)) == ("definition", "127.0.0.1", 1)


async def test_log_is_where_nobody_names_a_channel(make: Make, notifier: Notifier) -> None:
    world = await make({"events": ["execution.failed"]})
    await world.happens("execution.failed")
    with capture_logs() as logs:
        await until_done(notifier, world, "sent")
    of_run = {"event": "notification", "execution_id": str(world.execution_id)}
    [line] = [entry for entry in logs if of_run.items() <= entry.items()]
    assert (line["event_type"], line["data"]) == ("execution.failed", {"step": 1})


async def test_receiver_that_is_down_for_the_first_tries(make: Make, receiver: Receiver, notifier: Notifier) -> None:
    receiver.answers[:] = [503, 302]
    world = await make({"events": ["*"], "channels": [hook(receiver, secret=SECRET)]})
    await world.happens("execution.failed")
    [row] = await until_done(notifier, world, "sent")
    assert (row.attempts, row.last_error) == (3, None)
    assert len({delivery.headers["x-omium-delivery"] for delivery in receiver.arrived}) == 1
    assert len({delivery.content for delivery in receiver.arrived}) == 1
    assert [delivery.path for delivery in receiver.arrived] == ["/hook"] * 3, "redirects are not followed"


async def test_given_up_then_sent_again(make: Make, receiver: Receiver, notifier: Notifier) -> None:
    receiver.answers[:] = [500] * 3
    world = await make({"events": ["*"], "channels": [hook(receiver, "/path-as-password", secret=SECRET)]})
    await world.happens("execution.failed")
    with capture_logs() as logs:
        [row] = await until_done(notifier, world, "sent", "failed")
    assert (row.status, row.attempts, row.last_error) == ("failed", 3, "127.0.0.1 answered 500.")
    assert not any(word in str((logs, row)) for word in (SECRET, "path-as-password"))

    async with world.database.transaction(world.tenant_id) as db:
        await NotificationRepository(db, world.tenant_id).retry(row.id)
    [row] = await until_done(notifier, world, "sent", "failed")
    assert (row.status, row.attempts, len(receiver.arrived)) == ("sent", 1, 4)
    with pytest.raises(NotificationAlreadySent):
        async with world.database.transaction(world.tenant_id) as db:
            await NotificationRepository(db, world.tenant_id).retry(row.id)


async def test_nobody_listens(make: Make, notifier: Notifier) -> None:
    world = await make({"events": ["*"], "channels": [{"url": f"http://127.0.0.1:{free_port()}/"}]})
    await world.happens("execution.failed")
    [row] = await until_done(notifier, world, "sent", "failed")
    assert row.status == "failed"
    assert "127.0.0.1 failed" in (row.last_error or "")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://localhost:1/", "http://0x7f000001:1/"])
async def test_private_address_is_refused_at_the_door(make: Make, database: Database, url: str) -> None:
    world = await make({"events": ["*"], "channels": [{"url": url}]})
    await world.happens("execution.failed")
    careful = Notifier(database, SETTINGS.model_copy(update={"http_allow_private": ()}))
    [row] = await until_done(careful, world, "sent", "failed", "dropped")
    assert (row.status, row.attempts) == ("dropped", 1)
    assert "not a public address" in (row.last_error or "")


async def test_worker_that_dies_while_it_sends_leaves_it_to_another(
    make: Make, receiver: Receiver, notifier: Notifier, database: Database
) -> None:
    receiver.hold.clear()
    world = await make({"events": ["*"], "channels": [hook(receiver)]})
    await world.happens("execution.failed")
    dying = asyncio.create_task(notifier.run())
    await asyncio.to_thread(wait_until, lambda: bool(receiver.arrived), seconds=20, what="a request")
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    receiver.hold.set()
    [row] = await world.rows()
    assert (row.status, row.attempts) == ("pending", 1)
    assert row.next_attempt_at > now() + timedelta(seconds=5), "nobody else sends it meanwhile"
    async with database.transaction(world.tenant_id) as db:
        await db.execute(update(Notification).where(col(Notification.id) == row.id).values(next_attempt_at=now()))
    [row] = await until_done(Notifier(database, SETTINGS), world, "sent")
    assert [delivery.body["id"] for delivery in receiver.arrived] == [str(row.id)] * 2


async def test_slow_receiver_keeps_nobody_waiting(make: Make, receiver: Receiver, notifier: Notifier) -> None:
    receiver.hold.clear()
    slow = await make({"events": ["*"], "channels": [hook(receiver)]})
    await slow.happens("execution.failed", "execution.retried")
    other = await make({"events": ["*"]})
    await other.happens("execution.failed")
    await until_done(notifier, other, "sent")
    assert {row.status for row in await slow.rows()} == {"pending"}
    receiver.hold.set()
    await until_done(notifier, slow, "sent")


async def test_policy_that_is_gone_is_told(make: Make, receiver: Receiver, notifier: Notifier) -> None:
    world = await make({"events": ["*"], "channels": [hook(receiver)]})
    await world.happens("execution.failed")
    await world.queue()
    async with world.database.transaction(world.tenant_id) as db:
        gone = update(Notification).where(col(Notification.execution_id) == world.execution_id)
        await db.execute(gone.values(source=str(new_id())))
    [row] = await until_done(notifier, world, "sent", "dropped")
    assert (row.status, receiver.arrived) == ("dropped", [])
