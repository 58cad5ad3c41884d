"""Checks the audit log against its chain, and names the first record that is not what was sealed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from activities.maintenance.sealing import Anchor, anchors
from activities.stores.base import ObjectStore
from models.audit_chain import GENESIS, Head, Link, entry_hash, made_at, signing_key
from models.database import Database
from models.repositories import audit_chain as rows
from models.repositories.audit_chain import SignedHead, StoredLink
from omium_core.settings import Settings

BATCH = 1000
#: An entry that is older by this many seconds than what was sealed long before it was written into the past.
LATEST = 600.0


@dataclass(frozen=True)
class Broken:
    """The first record that does not fit. `kind`: changed, deleted, inserted, reordered, cut, head."""

    kind: str
    message: str
    seq: int | None = None
    audit_id: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What came of a check. `pending` entries were written and wait to be sealed; `head` is worth keeping elsewhere."""

    valid: bool
    checked: int
    pending: int
    first_seq: int
    last_seq: int
    head: str
    removed_before: str | None = None
    broken: Broken | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class _Found(Exception):
    def __init__(self, broken: Broken) -> None:
        super().__init__(broken.message)
        self.broken = broken


async def verify(
    database: Database,
    settings: Settings,
    objects: ObjectStore | None,
    *,
    expected: tuple[int, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verdict:
    """Checks everything, of all tenants. `expected` is a head that somebody kept: its number and its hash in hexadecimal.

    `progress` is told how many links are checked, and how many there are. Raises what a database or an object store that is
    away raises.
    """
    key = signing_key(settings.api_key_pepper.get_secret_value())
    copies = [] if objects is None else await anchors(objects)
    async with database.system() as db:
        # sealing goes on meanwhile: what is read must be one moment
        await rows.fix_snapshot(db)
        signed = await rows.newest_head(db)
        pending = await rows.count_waiting(db)
        head = signed.head if signed else Head()
        walk = _Walk(head)
        broken: Broken | None = None
        try:
            _check_head(signed, key)
            kept = _kept(copies, key, expected)
            while batch := await rows.links_after(db, walk.seq, BATCH):
                signed_here = _heads(await rows.heads_between(db, walk.seq, batch[-1].link.seq), key)
                for stored in batch:
                    walk.check(stored)
                    walk.compare(signed_here.get(walk.seq, set()) | kept.get(walk.seq, set()))
                if progress is not None:
                    progress(walk.checked, head.seq - head.first_seq + 1)
            walk.end()
            _check_reach(kept, walk.seq)
            outside = await rows.outside_of_chain(db)
            if outside is not None:
                raise _Found(
                    Broken("inserted", "An entry is not in the chain: it was not written by Omium.", None, str(outside))
                )
            if (gone := await rows.waiting_in_vain(db)) is not None:
                raise _Found(Broken("deleted", "An entry that was to be sealed is gone.", None, str(gone)))
        except _Found as found:
            broken = found.broken
    return Verdict(
        valid=broken is None,
        checked=walk.checked,
        pending=pending,
        first_seq=head.first_seq,
        last_seq=walk.seq,
        head=f"{walk.seq}:{walk.chain_hash.hex()}",
        removed_before=None if head.removed_before.int == 0 else _moment(made_at(head.removed_before)),
        broken=broken,
    )


async def verify_tenant(database: Database, tenant_id: UUID) -> Verdict:
    """Checks the entries of one tenant: each against its hash, and that none is missing between the first and the last.

    How the links of different tenants are bound to one another, only the check of everything sees.
    """
    async with database.system() as db:
        await rows.fix_snapshot(db)
        signed = await rows.newest_head(db)
        head = signed.head if signed else Head()
        checked, last, hashed, first = 0, 0, GENESIS, 0
        broken: Broken | None = None
        while broken is None and (batch := await rows.links_after(db, last, BATCH, tenant_id)):
            for stored in batch:
                link = stored.link
                first = first or link.tenant_seq
                broken = _missing(last, link.tenant_seq) if last else None
                broken = broken or _entry_problem(stored, head)
                if broken is not None:
                    break
                checked, last, hashed = checked + 1, link.tenant_seq, stored.chain_hash
        if broken is None and (outside := await rows.outside_of_chain(db, tenant_id)) is not None:
            broken = Broken(
                "inserted", "An entry is not in the chain: it was not written by Omium.", None, str(outside)
            )
        pending = await rows.count_waiting(db, tenant_id)
    return Verdict(broken is None, checked, pending, first, last, f"{last}:{hashed.hex()}", None, broken)


class _Walk:
    """Goes along the chain, link by link, and raises at the first that does not fit."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self.seq = head.first_seq - 1
        self.chain_hash = head.first_previous
        self.checked = 0
        self._batch_at: datetime | None = None
        self._before: datetime | None = None
        #: The first link that no head has vouched for yet.
        self._unproven: Link | None = None

    def check(self, stored: StoredLink) -> None:
        link = stored.link
        if (missing := _missing(self.seq, link.seq)) is not None:
            raise _Found(missing)
        if link.seq > self._head.seq:
            raise _Found(Broken("inserted", "The chain goes on beyond its signed head.", link.seq, str(link.audit_id)))
        if (problem := _entry_problem(stored, self._head)) is not None:
            raise _Found(problem)
        if link.previous_hash != self.chain_hash:
            raise _Found(Broken("reordered", "A link is not bound to the one before it.", link.seq, str(link.audit_id)))
        self._check_age(stored)
        self.seq, self.chain_hash = link.seq, stored.chain_hash
        self.checked += 1
        self._unproven = self._unproven or link

    def compare(self, known: set[bytes]) -> None:
        """Holds the chain so far against heads that were signed, or kept, when it had just this length.

        Links that were all made anew fit one another: where they begin is after the last head that still agrees.
        """
        first = self._unproven
        if first is not None and known - {self.chain_hash}:
            message = (
                f"Links {first.seq} to {self.seq} are not those of which a head was kept: one of them was made anew."
            )
            raise _Found(Broken("changed", message, first.seq, str(first.audit_id)))
        if known:
            self._unproven = None

    def _check_age(self, stored: StoredLink) -> None:
        link = stored.link
        if self._batch_at is not None and link.sealed_at != self._batch_at:
            self._before = self._batch_at
        self._batch_at = link.sealed_at
        if self._before is not None and made_at(link.audit_id) < self._before.timestamp() - LATEST:
            message = "An entry was written into the past: what came later had long been sealed."
            raise _Found(Broken("inserted", message, link.seq, str(link.audit_id)))

    def end(self) -> None:
        if self.seq != self._head.seq:
            message = f"The end is cut off: the signed head is {self._head.seq}, the last link {self.seq}."
            raise _Found(Broken("cut", message, self.seq + 1))
        if self.chain_hash != self._head.chain_hash:
            raise _Found(Broken("reordered", "The last link is not the one that was signed.", self.seq))


def _missing(last: int, seq: int) -> Broken | None:
    if seq == last + 1:
        return None
    return Broken("deleted", f"The link after number {last} is gone; the next is {seq}.", last + 1)


def _entry_problem(stored: StoredLink, head: Head) -> Broken | None:
    """What is wrong with one entry and its link, as far as these two tell."""
    link = stored.link
    audit_id = str(link.audit_id)
    if link.chain_hash() != stored.chain_hash:
        return Broken("changed", "The link of an entry was changed.", link.seq, audit_id)
    if stored.entry is None:
        if link.audit_id < head.removed_before:
            return None
        return Broken("deleted", "An entry that was sealed is gone.", link.seq, audit_id)
    if entry_hash(stored.entry) != link.entry_hash:
        return Broken("changed", "An entry is not what was sealed.", link.seq, audit_id)
    return None


def _check_head(signed: SignedHead | None, key: bytes) -> None:
    if signed is not None and not signed.head.is_signed(key, signed.created_at, signed.mac):
        raise _Found(Broken("head", "The signature of the chain's head is wrong.", signed.head.seq))


def _kept(copies: list[Anchor], key: bytes, expected: tuple[int, str] | None) -> dict[int, set[bytes]]:
    """Heads that are known from elsewhere, by their number. More than one of a number: the chain was made anew."""
    if copies and not _is_signed(copies[-1], key):
        raise _Found(Broken("head", "The signature of the head in the object store is wrong.", copies[-1].seq))
    kept: dict[int, set[bytes]] = {}
    for copy in copies:
        if _is_signed(copy, key):
            kept.setdefault(copy.seq, set()).add(copy.chain_hash)
    if expected is not None:
        kept.setdefault(expected[0], set()).add(bytes.fromhex(expected[1]))
    return kept


def _is_signed(copy: Anchor, key: bytes) -> bool:
    return copy.head.is_signed(key, copy.created_at, copy.mac)


def _heads(signed: list[SignedHead], key: bytes) -> dict[int, set[bytes]]:
    """What heads in the database say of their number; those with a wrong signature say nothing."""
    found: dict[int, set[bytes]] = {}
    for one in signed:
        if one.head.is_signed(key, one.created_at, one.mac):
            found.setdefault(one.head.seq, set()).add(one.head.chain_hash)
    return found


def _check_reach(kept: dict[int, set[bytes]], last: int) -> None:
    furthest = max(kept, default=0)
    if furthest > last:
        message = f"The end is cut off: a head of number {furthest} was kept, the last link is {last}."
        raise _Found(Broken("cut", message, last + 1))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
