"""Counts requests in windows of a minute and an hour, with the library `limits`: in memory, or in a Redis for all processes."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from importlib.util import find_spec

import structlog
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.errors import ConfigurationError as LibraryError
from limits.errors import StorageError

from omium_core.errors import ConfigurationError

log = structlog.get_logger(__name__)

_ADDRESS = re.compile(
    r"rediss?://(?:[^@/\s]*@)?(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[0-9]*)?(?:\?\S*)?"
)
#: How often, in seconds, windows that are over are removed from memory.
SWEEP_SECONDS = 30.0
#: How long, in seconds, requests are counted in memory after Redis did not answer.
REST_SECONDS = 5.0


@dataclass(frozen=True)
class Window:
    """One limit of one subject: how many requests, in how many seconds."""

    subject: str
    limit: int
    seconds: int


@dataclass(frozen=True)
class Standing:
    """How a subject stands in one window. `resets_in`: seconds until it ends; for one that is full, until it takes one more."""

    window: Window
    remaining: int
    resets_in: float


class Windows:
    """Sliding windows, so that the end of one is no moment at which twice as much is let through.

    What was sent in the window of the clock before the present one counts for as much of it as the last `seconds` still hold.
    """

    def __init__(self, store: str) -> None:
        """`store` is `memory` or the address of a Redis. Raises `ConfigurationError`."""
        self._memory = _Memory()
        self._shared = None if store == "memory" else _redis(store)
        self._rests_until = 0.0

    async def take(self, window: Window) -> bool:
        """Takes one request out of a window; False when it has none left, and then nothing is taken."""
        shared = self._reachable()
        if shared is not None:
            try:
                return await shared.acquire_sliding_window_entry(window.subject, window.limit, window.seconds)
            except StorageError as error:
                self._rest(error)
        return await self._memory.acquire_sliding_window_entry(window.subject, window.limit, window.seconds)

    async def standing(self, window: Window) -> Standing:
        """Takes nothing."""
        store = self._reachable() or self._memory
        try:
            before, _, count, _ = await store.get_sliding_window(window.subject, window.seconds)
        except StorageError as error:
            self._rest(error)
            before, _, count, _ = await self._memory.get_sliding_window(window.subject, window.seconds)
        left = window.seconds - time.time() % window.seconds
        remaining = max(0, math.floor(window.limit - before * left / window.seconds - count))
        return Standing(window, remaining, left if remaining else _until_free(window, before, count, left))

    def _reachable(self) -> RedisStorage | None:
        return self._shared if self._rests_until < time.monotonic() else None

    def _rest(self, error: Exception) -> None:
        """A store that is away must not take the API with it: each process counts for itself meanwhile."""
        self._rests_until = time.monotonic() + REST_SECONDS
        log.warning("the store of rate limits does not answer: requests are counted in memory", error=str(error))


class _Memory(MemoryStorage):
    """The library's own windows, without its locks and tasks: between two awaits one process does one thing."""

    def __init__(self) -> None:
        super().__init__()
        #: By key and length of the window: the number of the window, its count, the count of the one before.
        self._counts: dict[tuple[str, int], tuple[int, int, int]] = {}
        self._swept = time.monotonic()

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        number, count, before, left = self._at(key, expiry)
        if before * left / expiry + count + amount > limit:
            return False
        self._counts[key, expiry] = number, count + amount, before
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        _, count, before, left = self._at(key, expiry)
        return before, left if before else 0.0, count, left + expiry

    def _at(self, key: str, expiry: int) -> tuple[int, int, int, float]:
        """The present window of a key, and in how many seconds it ends."""
        if self._swept < time.monotonic() - SWEEP_SECONDS:
            self._sweep()
        number, passed = divmod(time.time(), expiry)
        known, count, before = self._counts.get((key, expiry), (0, 0, 0))
        if known != number:
            count, before = 0, count if known == number - 1 else 0
        return int(number), count, before, expiry - passed

    def _sweep(self) -> None:
        self._swept = time.monotonic()
        now = time.time()
        # a window counts for the next one too
        over = [(key, expiry) for (key, expiry), (number, _, _) in self._counts.items() if number + 2 <= now // expiry]
        for entry in over:
            del self._counts[entry]


def _until_free(window: Window, before: int, count: int, left: float) -> float:
    """In how many seconds a window that is full takes one more request."""
    places = window.limit - 1
    if count <= places:
        # enough of what was sent before grows too old within this window
        return left - (places - count) * window.seconds / before
    # and else, in the next one, enough of what was sent in this one
    return left + window.seconds * (1 - places / count)


def _redis(address: str) -> RedisStorage:
    if not _ADDRESS.fullmatch(address):
        # without saying what it is: it may hold a password
        raise ConfigurationError("OMIUM_RATE_LIMIT_STORE must be memory, or redis://user:password@host:port/number.")
    if find_spec("redis") is None:
        raise ConfigurationError(
            "OMIUM_RATE_LIMIT_STORE names a Redis, but the client for it is not installed: install the extra `redis`."
        )
    try:
        return RedisStorage(
            f"async+{address}",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix="omium-limits",
            socket_timeout=0.5,
            socket_connect_timeout=0.5,
        )
    except LibraryError as error:
        raise ConfigurationError(f"OMIUM_RATE_LIMIT_STORE names a Redis that cannot be used: {error}.") from error
