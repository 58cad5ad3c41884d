"""Looking a key up does the same work whatever the key: nothing tells which prefixes or keys exist, or whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import event, text

from models.database import Database
from models.keys import hash_key, new_key
from models.tables.base import now
from omium_core.settings import Settings
from tests.api.conftest import Caller, KeyMaker
from tests.isolation.walk import told
from tests.support.tenants import add_tenant


@contextmanager
def statements(database: Database) -> Iterator[list[tuple[str, int]]]:
    """What is asked of the database inside the block: each statement, and how many values came with it."""
    seen: list[tuple[str, int]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        seen.append((statement, len(parameters)))

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)


@pytest.fixture
async def keys(database: Database, key_of: KeyMaker) -> dict[str, str]:
    """Keys that do not work, each for another reason."""
    tenant = await add_tenant(database)
    known = await key_of(tenant, "read")
    return {
        "another end of a key that exists": known[:-1] + ("a" if known[-1] != "a" else "b"),
        "a key of this kind that nobody has": new_key("test"),
        "a prefix that nobody has": "omium_absent_" + "0" * 32,
        "no key at all": "x",
        "expired": await key_of(tenant, "read", expires_at=now() - timedelta(days=1)),
        "revoked": await key_of(tenant, "read", revoked_at=now()),
        "switched off": await key_of(tenant, "read", is_active=False),
    }


async def test_every_key_that_does_not_work_is_looked_up_and_refused_alike(
    app: FastAPI, as_caller: Caller, key_of: KeyMaker, keys: dict[str, str], database: Database
) -> None:
    asked, answers = {}, {}
    works = await key_of(await add_tenant(database), "read")
    for name, key in {**keys, "works": works}.items():
        async with as_caller(key) as client:
            with statements(app.state.wiring.database) as seen:
                # a path that is none asks nothing more
                answer = await client.get("/api/v1/nowhere")
        assert answer.status_code == (404 if name == "works" else 401), name
        asked[name], answers[name] = [statement for statement in seen if "api_keys" in statement[0]], told(answer, {})
    assert {tuple(found) for found in asked.values()} == {tuple(asked["works"])}
    assert len(asked["works"]) == 1
    assert "key_prefix" not in asked["works"][0][0]
    del answers["works"]
    assert all(answer == answers["no key at all"] for answer in answers.values())


async def test_the_look_up_goes_by_the_hash_and_its_index(
    app: FastAPI, as_caller: Caller, key_of: KeyMaker, database: Database, settings: Settings
) -> None:
    key = await key_of(await add_tenant(database), "read")
    async with as_caller(key) as client:
        with statements(app.state.wiring.database) as seen:
            await client.get("/api/v1/nowhere")
    [(statement, _)] = [found for found in seen if "api_keys" in found[0]]
    digest = hash_key(settings.api_key_pepper.get_secret_value(), key)
    assert key not in statement
    assert digest not in statement
    plain = statement
    for number, value in ((1, f"'{digest}'"), (2, "now()"), (3, "now()"), (4, f"'{digest}'")):
        plain = plain.replace(f"${number}", value)
    async with database.system() as session:
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join((await session.execute(text(f"EXPLAIN {plain}".replace(":", "\\:")))).scalars())
    assert "Seq Scan" not in plan, plan
    assert "key_hash" in plan, plan
