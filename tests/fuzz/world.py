"""A server, and a tenant of it with one thing of every kind and every kind of caller."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import requests
import uvicorn
from sqlalchemy import update
from sqlmodel import col

from activities.loops import LoopThread
from activities.stores.encrypted import EncryptedStore
from activities.stores.factory import open_bytes
from activities.stores.values import ValueStore
from api.app import create_app
from api.auth.permissions import SYSTEM_ROLES
from api.server import server_options
from models.database import Database
from models.tables import Checkpoint, Schedule, WebhookDelivery, WebhookEndpoint, WorkflowVersion
from models.tables.base import new_id
from omium_core.settings import Settings
from tests.support.database import database_at
from tests.support.light import WORKFLOW
from tests.support.loopback import free_port, wait_until
from tests.support.tenants import Owned, add, add_execution, add_key, add_tenant

#: As LangGraph's adapter leaves it before the workflow's only step.
STATE = {"format": 1, "inputs": {"name": "Ada"}, "values": {"name": "Ada"}, "next": ["greet"], "ran": []}
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Server:
    url: str
    settings: Settings
    database: Database
    loop: LoopThread

    def wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop.loop).result(timeout=60)


@contextmanager
def running_api(database_url: str, temporal_address: str, folder: Path) -> Iterator[Server]:
    """The API as it runs: behind a real server, on a port."""
    settings = Settings(
        database_url=database_url,
        temporal_address=temporal_address,
        store_path=folder / "objects",
        worker_check_timeout=0.2,
        rate_limits_enabled=False,
        password_memory_kib=8,
        password_passes=1,
        max_body_bytes=100_000,
    )
    port = free_port()
    options = {**server_options(settings), "port": port, "log_level": "error"}
    served = uvicorn.Server(uvicorn.Config(create_app(settings), **options))
    thread = threading.Thread(target=served.run)
    thread.start()
    loop = LoopThread("world-of-the-fuzzer")
    database = database_at(database_url, pool_size=2)
    server = Server(f"http://127.0.0.1:{port}", settings, database, loop)
    try:
        wait_until(lambda: served.started, seconds=60, what="the API")
        yield server
    finally:
        server.wait(database.close())
        loop.stop()
        served.should_exit = True
        thread.join(60)


class World:
    """A tenant. `callers` are pairs of a name and the headers that say who asks."""

    def __init__(self, server: Server) -> None:
        self.server = server
        person = self._register()
        self.tenant_id = UUID(person["tenant"]["id"])
        self.ids = self._things(self.tenant_id)
        self.ids["user_id"] = person["user"]["id"]
        self._foreign: dict[str, str] | None = None
        owner = ("the owner", {"Authorization": f"Bearer {person['access_token']}"})
        admin = ("a key for admin", self._key("admin"))
        self.callers: list[tuple[str, dict[str, str]]] = [
            # most requests should get past the door, and the first ones are taken most often
            *((owner, admin) * 6),
            *((f"a key for {scope}", self._key(scope)) for scope in ("read", "write")),
            *((f"a key of the role {role}", self._key("admin", role=role)) for role in sorted(SYSTEM_ROLES)),
            ("a wrong key", {"X-API-Key": "omium_test_" + "0" * 32}),
            ("nobody", {}),
        ]

    def use_known_ids(self, case: Any, *, foreign: bool) -> None:
        """Lets a case be about things that there are: of this tenant, or of another."""
        ids = self._others() if foreign else self.ids
        for name in list(case.path_parameters or {}):
            if name in ids:
                case.path_parameters[name] = ids[name]
        if isinstance(case.body, dict):
            for name in case.body.keys() & ids.keys():
                case.body[name] = ids[name]

    def _others(self) -> dict[str, str]:
        if self._foreign is None:
            self._foreign = self._things(self.server.wait(add_tenant(self.server.database)))
        return self._foreign

    async def _make_real(self, owned: Owned) -> None:
        """A definition that can be run, and a state at the checkpoint."""
        database = self.server.database
        store = EncryptedStore(open_bytes(self.server.settings), database.keys)
        state = await ValueStore(store, inline_bytes=0).put(str(owned.tenant_id), STATE)
        async with database.transaction(owned.tenant_id) as session:
            version = update(WorkflowVersion).where(col(WorkflowVersion.id) == owned.version)
            await session.execute(version.values(workflow_definition=WORKFLOW["workflow_definition"]))
            checkpoint = update(Checkpoint).where(col(Checkpoint.id) == owned.checkpoint)
            await session.execute(checkpoint.values(checksum=state.key, state_size_bytes=state.size))

    def _register(self) -> dict[str, Any]:
        body = {"email": f"{new_id().hex}@example.com", "password": PASSWORD, "tenant_name": "Acme"}
        answer = requests.post(f"{self.server.url}/api/v1/auth/register", json=body, timeout=60)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def _key(self, *scopes: str, role: str = "") -> dict[str, str]:
        narrowed = {"permissions": sorted(SYSTEM_ROLES[role][1])} if role else {}
        pepper = self.server.settings.api_key_pepper.get_secret_value()
        key = self.server.wait(add_key(self.server.database, self.tenant_id, pepper, *scopes, **narrowed))
        return {"X-API-Key": key}

    def _things(self, tenant_id: UUID) -> dict[str, str]:
        """The ids of one thing of every kind, by the names that paths give them."""
        owned: Owned = self.server.wait(add_execution(self.server.database, tenant_id, approval="pending"))
        self.server.wait(self._make_real(owned))
        schedule = Schedule(tenant_id=tenant_id, workflow_id=owned.workflow, name="yearly", cron=["@yearly"])
        endpoint = WebhookEndpoint(
            tenant_id=tenant_id,
            url="https://hooks.example.com",
            host="hooks.example.com",
            events=["webhook.test"],
            secret="whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
        )
        delivery = WebhookDelivery(
            tenant_id=tenant_id,
            endpoint_id=endpoint.id,
            message_id="msg_1",
            event_type="execution.failed",
            payload={"type": "execution.failed", "timestamp": "2026-01-01T00:00:00Z", "data": {}},
            status="failed",
        )
        for row in (schedule, endpoint, delivery):
            self.server.wait(add(self.server.database, row, None))
        found = {
            "workflow": owned.workflow,
            "execution": owned.execution,
            "checkpoint": owned.checkpoint,
            "failure": owned.failure,
            "approval": owned.approval,
            "log": owned.log,
            "policy": owned.policy,
            "action": owned.action,
            "notification": owned.notification,
            "schedule": schedule.id,
            "webhook": endpoint.id,
            "delivery": delivery.id,
        }
        return {f"{name}_id": str(value) for name, value in found.items()}
