"""The codec by itself: whose key seals what, and what becomes of payloads that do not open."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import ActivitySerializationContext, DataConverter, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError

from activities.payload_codec import sealing_converter
from models.database import Database
from omium_core.errors import TenantErased
from omium_core.keyring import Cipher, DataKey
from omium_core.temporal import summary
from tests.support.database import PostgresServer, database_at
from tests.support.sealed import KnownKeys, a_cipher
from tests.support.tenants import add_tenant

MINE, THEIRS = UUID(int=1), UUID(int=2)
KEYS = KnownKeys([a_cipher(MINE, 1), a_cipher(THEIRS, 2)])


def of(name: str, keys: Any = KEYS) -> DataConverter:
    return sealing_converter(keys).with_context(WorkflowSerializationContext("default", name))


async def test_payloads_are_sealed_and_opened() -> None:
    converter = of(f"{MINE}/a")
    values = [{"text": "canary"}, "canary", None, 7, b"canary"]
    sealed = await converter.encode(values)
    assert [payload.metadata["encoding"] for payload in sealed] == [b"binary/encrypted"] * 5
    assert [payload.metadata["encryption-key-id"] for payload in sealed] == [str(UUID(int=1)).encode()] * 5
    assert not any(b"canary" in payload.SerializeToString() for payload in sealed)
    assert await converter.decode(sealed) == values
    # the same tenant's other workflows and activities open it too: a result becomes an input
    assert await of(f"{MINE}/b").decode(sealed) == values


async def test_payload_of_another_tenant_does_not_open() -> None:
    sealed = await of(f"{THEIRS}/a").encode(["canary"])
    with pytest.raises(KeyError, match="binary/encrypted"):
        await of(f"{MINE}/a").decode(sealed)
    codec = of(f"{MINE}/a").payload_codec
    assert codec is not None
    assert await codec.decode(sealed) == list(sealed), "and stays as it was"


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x00plain", b"\x01" + b"x" * 90, b"nonsense"])
async def test_nonsense_stays_as_it_is(data: bytes) -> None:
    """To raise would fail the workflow task in which it comes, and each one after it."""
    codec = of(f"{MINE}/a").payload_codec
    assert codec is not None
    payload = Payload(metadata={"encoding": b"binary/encrypted"}, data=data)
    assert await codec.decode([payload]) == [payload]


async def test_plain_payloads_pass() -> None:
    plain = await DataConverter.default.encode([{"id": "from a shell"}])
    assert await of(f"{MINE}/a").decode(plain) == [{"id": "from a shell"}]


async def test_platform_has_no_secrets_and_nobody_else_goes_in_the_clear() -> None:
    [payload] = await of("platform/retention").encode(["x"])
    assert payload.metadata["encoding"] == b"json/plain"
    for name in ("no-tenant", "x/y", f"{MINE}", ""):
        with pytest.raises(ValueError, match="names no tenant"):
            await of(name).encode(["x"])
    with pytest.raises(ValueError, match="names no tenant"):
        await sealing_converter(KEYS).encode(["x"])


async def test_activity_without_a_workflow_goes_by_its_own_id() -> None:
    def context(workflow_id: str | None, activity_id: str) -> ActivitySerializationContext:
        return ActivitySerializationContext("default", activity_id, None, None, workflow_id, None, False)

    alone = sealing_converter(KEYS).with_context(context(None, f"{MINE}/check/1"))
    inside = sealing_converter(KEYS).with_context(context(f"{MINE}/a", "1"))
    assert await inside.decode(await alone.encode(["x"])) == ["x"]


async def test_failures_keep_their_words_to_themselves() -> None:
    converter, failure = of(f"{MINE}/a"), Failure()
    try:
        raise ApplicationError("canary of the message", "canary of a detail")
    except ApplicationError as error:
        await converter.encode_failure(error, failure)
    assert b"canary" not in failure.SerializeToString()
    told = await converter.decode_failure(failure)
    assert "canary of the message" in str(told)


async def test_longest_summary_stays_within_what_temporal_takes() -> None:
    for text in ("x" * 500, "漢" * 500, '"\\' * 500):
        [payload] = await of(f"{MINE}/a").encode([summary(text)])
        assert payload.ByteSize() <= 400


async def test_key_that_another_process_made_is_found() -> None:
    class Rotated(KnownKeys):
        reads = 0

        def forget(self, tenant_id: UUID) -> None:
            self.reads += 1
            newer = DataKey(UUID(int=9), b"9" * 32)
            self._ciphers[tenant_id] = Cipher(tenant_id, newer, (DataKey(UUID(int=1), bytes([1]) * 32),))

    newer = Cipher(MINE, DataKey(UUID(int=9), b"9" * 32))
    sealed = await of(f"{MINE}/a", KnownKeys([newer])).encode(["x"])
    old = await of(f"{MINE}/a").encode(["y"])
    keys = Rotated([a_cipher(MINE, 1)])
    assert await of(f"{MINE}/a", keys).decode([*sealed, *old]) == ["x", "y"]
    assert keys.reads == 1


def test_database_that_is_away_stops_no_run(postgres: PostgresServer) -> None:
    with asyncio.Runner() as runner:
        database: Database = database_at(postgres.url, pool_size=1)
        tenant = runner.run(add_tenant(database))
        converter = of(f"{tenant}/a", database.keys)
        sealed = runner.run(converter.encode(["x"]))
        # the server is started by the thread that outlives the test: it dies with whoever started it
        postgres.kill()
        try:
            database.keys.forget(tenant)
            assert runner.run(converter.decode(sealed)) == ["x"]
            assert runner.run(converter.decode(runner.run(converter.encode(["y"])))) == ["y"]
        finally:
            postgres.start()
            runner.run(database.close())


async def test_erased_tenant_is_sealed_for_good() -> None:
    class Erased(KnownKeys):
        erased = False

        async def cipher(self, tenant_id: UUID) -> Cipher:
            if self.erased:
                raise TenantErased("gone")
            return await super().cipher(tenant_id)

    keys = Erased([a_cipher(MINE, 1)])
    converter = of(f"{MINE}/a", keys)
    sealed = await converter.encode(["x"])
    keys.erased = True
    with pytest.raises(TenantErased):
        await converter.decode(sealed)
    with pytest.raises(TenantErased):
        await converter.encode(["x"])
