"""Decides for each request whether its tenant, and its key, may send one more now."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from uuid import UUID

from cachetools import LRUCache
from sqlmodel.ext.asyncio.session import AsyncSession

from api.auth.principal import Principal
from api.limits.headers import Pair, rate_headers
from api.limits.metering import Metering, TenantMeter
from api.limits.windows import Standing, Window, Windows
from models.database import Database
from models.repositories.limits import count_checkpoints, quota_exceeded
from omium_core.errors import RateLimitExceeded
from omium_core.settings import Settings

MINUTE, HOUR = 60, 3600
#: What runs and their history are asked by: these routes have limits for each key, beside those of the tenant.
_OF_EXECUTIONS = re.compile(r"/api/v1/(executions|checkpoints|failures)(/|$)|/api/v1/workflows/[^/]+/execute$")
#: What works, and is not counted, when the month's requests are used up: to see that, to pay, and to stop what runs.
_ALWAYS = re.compile(
    r"/api/v1/(limits|auth|billing|api-keys)(/|$)|/api/v1/executions/[^/]+/(cancel|pause)$|(/api/v1)?/temporal/"
)
#: How long, in seconds, the number of a month's checkpoints is used before it is counted again.
CHECKPOINTS_SECONDS = 5.0


class RequestLimits:
    """One per API process. Belongs to its event loop."""

    def __init__(self, settings: Settings, database: Database, metering: Metering, windows: Windows) -> None:
        self._settings = settings
        self._database = database
        self._metering = metering
        self._windows = windows
        self._checkpoints: LRUCache[UUID, tuple[float, int]] = LRUCache(maxsize=10_000)

    async def check(self, caller: Principal, path: str) -> list[Pair]:
        """Counts a request. The headers of its answer; raises `RateLimitExceeded`, `QuotaExceeded`."""
        meter = await self._metering.meter(caller.tenant_id)
        headers = await self._check_windows(self._of_request(caller, meter, path))
        if not _ALWAYS.match(path):
            self._check_calls(meter)
            self._metering.count(caller.tenant_id, meter)
        return headers

    async def check_address(self, name: str, address: str | None, per_minute: int, per_hour: int | None = None) -> None:
        """The same for a request without a caller, such as a sign-in, by the address that sent it. Raises `RateLimitExceeded`."""
        subject = f"address:{name}:{address or 'unknown'}"
        windows = [Window(subject, per_minute, MINUTE)]
        if per_hour is not None:
            windows.append(Window(subject, per_hour, HOUR))
        await self._check_windows(windows)

    async def check_checkpoints(self, session: AsyncSession, tenant_id: UUID) -> None:
        """Before an execution begins, in the transaction that makes it: who held one connection and waited for another would
        keep all of them from those who hold one. Runs that began end, whatever they still need. Raises `QuotaExceeded`."""
        meter = await self._metering.meter(tenant_id)
        limit = meter.allowance.max_checkpoints_per_month
        known = self._checkpoints.get(tenant_id)
        if known is None or known[0] < time.monotonic() - CHECKPOINTS_SECONDS:
            known = time.monotonic(), await count_checkpoints(session, tenant_id, meter.month)
            self._checkpoints[tenant_id] = known
        if known[1] >= limit:
            raise quota_exceeded("checkpoints", limit, known[1], meter.month)

    async def checkpoints(self, tenant_id: UUID, meter: TenantMeter) -> int:
        """How many checkpoints the tenant's runs made this month."""
        async with self._database.transaction(tenant_id) as session:
            return await count_checkpoints(session, tenant_id, meter.month)

    async def meter(self, tenant_id: UUID) -> TenantMeter:
        return await self._metering.meter(tenant_id)

    async def of_executions(self, tenant_id: UUID) -> tuple[int | None, int | None]:
        """What each key of a tenant may send to the routes of executions in a minute and an hour."""
        meter = await self._metering.meter(tenant_id)
        return self._number(meter, "execution_requests_per_minute"), self._number(meter, "execution_requests_per_hour")

    async def standings(self, caller: Principal) -> list[Standing]:
        """How a caller stands in each window that holds for him."""
        meter = await self._metering.meter(caller.tenant_id)
        windows = (*self._of_caller(caller, meter), *self._of_tenant(caller, meter))
        return [await self._windows.standing(window) for window in windows]

    async def _check_windows(self, windows: Sequence[Window]) -> list[Pair]:
        if not self._settings.rate_limits_enabled:
            return []
        standings = [await self._windows.standing(window) for window in windows]
        for standing in standings:
            # before anything is taken: what is refused by one window must not count in another
            if not standing.remaining:
                raise _too_many(standing)
        for window in windows:
            if not await self._windows.take(window):
                raise _too_many(await self._windows.standing(window))
        if not standings:
            return []
        closest = await self._windows.standing(min(standings, key=lambda standing: standing.remaining).window)
        return rate_headers(closest.window.limit, closest.remaining, closest.resets_in)

    def _of_request(self, caller: Principal, meter: TenantMeter, path: str) -> list[Window]:
        # the caller's own first, for it is told of the first that is full
        windows = self._of_caller(caller, meter) if _OF_EXECUTIONS.match(path) else []
        return windows + self._of_tenant(caller, meter)

    def _of_caller(self, caller: Principal, meter: TenantMeter) -> list[Window]:
        minute, hour = caller.rate_limits
        if minute is None:
            minute = self._number(meter, "execution_requests_per_minute")
        if hour is None:
            hour = self._number(meter, "execution_requests_per_hour")
        return _windows(f"caller:{caller.key_id or caller.user_id}", minute, hour)

    def _of_tenant(self, caller: Principal, meter: TenantMeter) -> list[Window]:
        minute, hour = self._number(meter, "requests_per_minute"), self._number(meter, "requests_per_hour")
        return _windows(f"tenant:{caller.tenant_id}", minute, hour)

    def _number(self, meter: TenantMeter, name: str) -> int | None:
        """The tenant's own number, None for no limit at all; else that of the settings."""
        overrides = meter.allowance.overrides
        number: int | None = overrides[name] if name in overrides else getattr(self._settings, name)
        return number

    @staticmethod
    def _check_calls(meter: TenantMeter) -> None:
        limit = meter.allowance.max_api_calls_per_month
        if meter.calls >= limit:
            raise quota_exceeded("api_calls", limit, meter.calls, meter.month)


def _windows(subject: str, minute: int | None, hour: int | None) -> list[Window]:
    given = ((minute, MINUTE), (hour, HOUR))
    return [Window(subject, limit, seconds) for limit, seconds in given if limit is not None]


def _too_many(standing: Standing) -> RateLimitExceeded:
    window = standing.window
    named = "minute" if window.seconds == MINUTE else "hour"
    return RateLimitExceeded(
        f"More than {window.limit} requests in {'a' if named == 'minute' else 'an'} {named}. Try again in a moment.",
        limit=window.limit,
        window_seconds=window.seconds,
        subject=window.subject.partition(":")[0],
        retry_after=max(1, math.ceil(standing.resets_in)),
    )
