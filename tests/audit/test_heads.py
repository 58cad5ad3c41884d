"""Heads of the chain: signed, and kept outside of the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from pydantic import SecretStr

from activities.maintenance import sealing
from activities.maintenance.sealing import Sealer
from activities.maintenance.verification import verify
from activities.stores.file import FileStore
from models.audit_chain import entry_hash
from models.database import Database
from models.repositories.audit_chain import links_after
from omium_core.settings import Settings
from tests.audit.conftest import Place
from tests.audit.support import Checks, tamper, write


@pytest.fixture
def settings(apart: Place, tmp_path: Path) -> Settings:
    return Settings(database_url=SecretStr(apart.url), store_path=tmp_path)


@pytest.mark.parametrize("with_heads", [False, True])
async def test_a_tail_that_is_cut_off(
    check: Checks,
    owner: asyncpg.Connection,
    sealed: Sequence[UUID],
    sealer: Sealer,
    database: Database,
    tenant: UUID,
    with_heads: bool,
) -> None:
    [before] = await owner.fetch("SELECT max(seq) AS seq FROM audit_chain")
    [last] = await write(database, tenant)
    await sealer.seal()
    await sealer.anchor()
    kept = (await check()).head
    statements = [
        f"DELETE FROM audit_logs WHERE id = '{last}'",
        f"DELETE FROM audit_chain WHERE audit_id = '{last}'",
    ]
    if with_heads:
        statements.append(f"DELETE FROM audit_heads WHERE seq > {before['seq']}")
    await tamper(owner, *statements)
    verdict = await check()
    assert verdict.broken is not None
    assert (verdict.broken.kind, verdict.broken.seq) == ("cut", before["seq"] + 1)
    number, _, digest = kept.partition(":")
    assert not (await check(expected=(int(number), digest))).valid


async def test_a_head_that_somebody_signed_without_the_key(
    check: Checks, owner: asyncpg.Connection, sealed: Sequence[UUID]
) -> None:
    await tamper(owner, "UPDATE audit_heads SET seq = seq - 1 WHERE number = (SELECT max(number) FROM audit_heads)")
    verdict = await check()
    assert verdict.broken is not None
    assert verdict.broken.kind == "head"


async def test_a_whole_new_chain_is_not_the_one_that_was_kept(
    check: Checks, owner: asyncpg.Connection, sealed: Sequence[UUID]
) -> None:
    verdict = await check(expected=(2, "00" * 32))
    assert verdict.broken is not None
    assert (verdict.broken.kind, verdict.broken.seq) == ("changed", 1)


async def test_links_that_are_made_anew_to_fit_a_changed_entry(
    check: Checks, owner: asyncpg.Connection, sealed: Sequence[UUID], sealer: Sealer, database: Database, tenant: UUID
) -> None:
    """All hashes are right, as only one who knows the code makes them; the heads of each batch tell where it begins."""
    for _ in range(3):
        await write(database, tenant)
        await sealer.seal()
    last = await owner.fetchval("SELECT max(seq) FROM audit_chain")
    second = await owner.fetchrow("SELECT * FROM audit_chain WHERE seq = $1", last - 1)
    await tamper(owner, f"UPDATE audit_logs SET status = 'denied' WHERE id = '{second['audit_id']}'")
    async with database.system() as session:
        found = await links_after(session, last - 2, 10)
    previous = found[0].link.previous_hash
    for stored in found:
        assert stored.entry is not None
        link = replace(stored.link, entry_hash=entry_hash(stored.entry), previous_hash=previous)
        hashes = [value.hex() for value in (link.entry_hash, link.previous_hash, link.chain_hash())]
        named = zip(("entry_hash", "previous_hash", "chain_hash"), hashes, strict=True)
        changed = ", ".join(f"{name} = '\\x{value}'" for name, value in named)
        await tamper(owner, f"UPDATE audit_chain SET {changed} WHERE seq = {link.seq}")
        previous = link.chain_hash()
    verdict = await check()
    assert verdict.broken is not None
    assert (verdict.broken.kind, verdict.broken.audit_id) == ("changed", str(second["audit_id"]))


async def test_a_cut_that_the_chain_has_outgrown(
    check: Checks,
    owner: asyncpg.Connection,
    sealed: Sequence[UUID],
    sealer: Sealer,
    database: Database,
    tenant: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sealing, "ANCHOR_EVERY", 0.0)
    [last] = await write(database, tenant)
    await sealer.seal()
    await sealer.anchor()
    seq = await owner.fetchval("SELECT seq FROM audit_chain WHERE audit_id = $1", last)
    await tamper(
        owner,
        f"DELETE FROM audit_logs WHERE id = '{last}'",
        f"DELETE FROM audit_chain WHERE seq = {seq}",
        f"DELETE FROM audit_heads WHERE seq = {seq}",
    )
    for _ in range(2):
        await write(database, tenant)
        await sealer.seal()
        await sealer.anchor()
    verdict = await check()
    assert verdict.broken is not None
    assert (verdict.broken.kind, verdict.broken.seq) == ("changed", seq)


async def test_a_copy_of_a_head_that_is_none(
    check: Checks, sealed: Sequence[UUID], sealer: Sealer, objects: FileStore
) -> None:
    await sealer.anchor()
    await objects.put(f"{sealing.ANCHORS}{0:020d}", b"{}")
    assert (await check()).valid, "it says nothing"
    await objects.put(f"{sealing.ANCHORS}{10**9:020d}", b"\xff")
    verdict = await check()
    assert verdict.broken is not None
    assert verdict.broken.kind == "head"


async def test_anchors_are_pruned(sealer: Sealer, objects: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "ANCHORS_KEPT", 2)
    for number in range(4):
        await objects.put(f"{sealing.ANCHORS}{number:020d}", b"{}")
    await sealer.prune_anchors()
    assert sorted([key async for key in objects.list(sealing.ANCHORS)])[0].endswith("2")


async def test_another_secret_signs_nothing(
    check: Checks, sealed: Sequence[UUID], database: Database, settings: Settings, objects: FileStore
) -> None:
    other = settings.model_copy(update={"api_key_pepper": SecretStr("another")})
    verdict = await verify(database, other, objects)
    assert verdict.broken is not None
    assert verdict.broken.kind == "head"
