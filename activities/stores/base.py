"""What an object store is to the rest of the code: bytes under keys that never change, and five calls.

Only what every S3 stand-in does alike is asked for: no conditional puts, no tags, no ACLs, no metadata. Whoever needs
more (encryption, deduplication) wraps a store; `tests/stores/` holds the suite that every store passes.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

from omium_core.errors import Unavailable

# no segment begins with a dot: neither "..", nor the names that a store keeps for itself
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_PREFIX = re.compile(rf"(?:{_KEY.pattern}/?)?")
_LONGEST_KEY = 1024  # S3's own limit, in bytes; keys are ASCII


class InvalidKey(ValueError):
    """A key that not every store can hold; always a mistake in the calling code."""


class ObjectMissing(LookupError):
    """No object has this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object {key!r}")
        self.key = key


class ObjectStoreUnavailable(Unavailable):
    """The store did not do what was asked (down, full, refused); the message names the place and the key."""

    code = "OBJECT_STORE_UNAVAILABLE"


class ObjectStore(Protocol):
    """Bytes under immutable keys.

    A key is `/`-separated segments of letters, digits, `.`, `_` and `-`, none of which begins with a dot, and is never
    the folder of another key (`a` beside `a/b`). Every call raises `InvalidKey` for other keys and
    `ObjectStoreUnavailable` when the store fails.
    """

    async def put(self, key: str, data: bytes) -> None:
        """Stores `data`. Idempotent: the caller puts equal bytes under equal keys. Readers see all of it or nothing."""

    async def get(self, key: str) -> bytes:
        """The bytes of an object; raises `ObjectMissing`."""

    async def exists(self, key: str) -> bool: ...

    async def written_at(self, key: str) -> datetime | None:
        """When an object was last written, by the store's clock; None when there is none."""

    async def delete(self, key: str) -> None:
        """Removes an object; no error when there is none."""

    def list(self, prefix: str) -> AsyncIterator[str]:
        """All keys that begin with `prefix` (any text that begins a key; empty for all), in no promised order."""


def check_key(key: str) -> str:
    """`key` itself; raises `InvalidKey` unless every store can hold it."""
    if len(key) > _LONGEST_KEY or not _KEY.fullmatch(key):
        raise InvalidKey(f"not a key: {key[:100]!r}")
    return key


def check_prefix(prefix: str) -> str:
    """`prefix` itself; raises `InvalidKey` unless a key can begin with it."""
    if len(prefix) > _LONGEST_KEY or not _PREFIX.fullmatch(prefix):
        raise InvalidKey(f"not the beginning of a key: {prefix[:100]!r}")
    return prefix
