"""The chain over the audit log, as arithmetic: what is hashed, how a link binds its predecessor, how a head is signed.

Hashes are made over what is stored: the clear columns as text, the sealed ones as ciphertext. So whoever can read the rows can
check the chain without any tenant's key, and destroying a key changes nothing in it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

#: The columns of an entry, in the order in which they are hashed. Adding one needs another version in `_ENTRY`.
COLUMNS = (
    "id",
    "tenant_id",
    "user_id",
    "api_key_id",
    "action",
    "resource_type",
    "resource_id",
    "old_values",
    "new_values",
    "ip_address",
    "user_agent",
    "request_id",
    "metadata",
    "status",
    "created_at",
)
_ENTRY, _LINK, _HEAD = b"omium-audit-entry-1", b"omium-audit-link-1", b"omium-audit-head-1"
_ABSENT = b"\xff" * 8
#: What the first link is bound to.
GENESIS = bytes(32)
NOTHING_REMOVED = UUID(int=0)


def entry_hash(row: Mapping[str, str | bytes | None]) -> bytes:
    """SHA-256 over all columns of an entry, each with its length before it, so that none can lend a byte to the next."""
    digest = hashlib.sha256(_ENTRY)
    for name in COLUMNS:
        value = row[name]
        if value is None:
            digest.update(_ABSENT)
            continue
        data = value.encode() if isinstance(value, str) else bytes(value)
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class Link:
    """One link as it is stored."""

    seq: int
    tenant_id: UUID
    tenant_seq: int
    audit_id: UUID
    entry_hash: bytes
    previous_hash: bytes
    sealed_at: datetime

    def chain_hash(self) -> bytes:
        """What the next link is bound to."""
        parts = (
            _LINK,
            self.previous_hash,
            self.seq.to_bytes(8, "big"),
            self.tenant_id.bytes,
            self.tenant_seq.to_bytes(8, "big"),
            self.audit_id.bytes,
            self.entry_hash,
            _micros(self.sealed_at),
        )
        return hashlib.sha256(b"".join(parts)).digest()


@dataclass(frozen=True, slots=True)
class Head:
    """How far the chain reaches: its last link, and where it begins since retention removed what was before."""

    seq: int = 0
    chain_hash: bytes = GENESIS
    first_seq: int = 1
    first_previous: bytes = GENESIS
    removed_before: UUID = NOTHING_REMOVED

    def mac(self, key: bytes, created_at: datetime) -> bytes:
        """The signature of a head, with a key that no table holds."""
        parts = (
            _HEAD,
            self.seq.to_bytes(8, "big"),
            self.chain_hash,
            self.first_seq.to_bytes(8, "big"),
            self.first_previous,
            self.removed_before.bytes,
            _micros(created_at),
        )
        return hmac.digest(key, b"".join(parts), "sha256")

    def is_signed(self, key: bytes, created_at: datetime, mac: bytes) -> bool:
        return hmac.compare_digest(self.mac(key, created_at), mac)


def signing_key(pepper: str) -> bytes:
    """The key that signs heads, made from the secret that also protects the hashes of API keys."""
    return hmac.digest(pepper.encode(), b"omium-audit-heads", "sha256")


def made_at(audit_id: UUID) -> float:
    """When an id was made, in seconds since 1970: the first 48 bits of a UUIDv7 are milliseconds."""
    return (audit_id.int >> 80) / 1000


def _micros(moment: datetime) -> bytes:
    whole = int(moment.timestamp()) * 10**6 + moment.microsecond
    return whole.to_bytes(8, "big", signed=True)
