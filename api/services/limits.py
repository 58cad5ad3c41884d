"""What the caller's tenant may use, and what it has used."""

from __future__ import annotations

from typing import Literal, cast

from api.auth.principal import Principal
from api.schemas.limits import ExecutionPlaces, LimitsView, Quota, Quotas, RequestLimit
from api.wiring import Wiring
from models.repositories.limits import next_month
from models.repositories.queue import count_places


class LimitsService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def show(self, caller: Principal) -> LimitsView:
        limits, settings = self._process.limits, self._process.settings
        meter = await limits.meter(caller.tenant_id)
        allowance, resets_at = meter.allowance, next_month(meter.month)
        checkpoints = await limits.checkpoints(caller.tenant_id, meter)
        async with self._process.database.transaction(caller.tenant_id) as session:
            running, queued = await count_places(session, caller.tenant_id)
        standings = await limits.standings(caller) if settings.rate_limits_enabled else []
        return LimitsView(
            tier=allowance.tier,
            requests=[
                RequestLimit(
                    scope=cast(Literal["tenant", "caller"], standing.window.subject.partition(":")[0]),
                    window_seconds=standing.window.seconds,
                    limit=standing.window.limit,
                    remaining=standing.remaining,
                    resets_in=round(standing.resets_in, 1),
                )
                for standing in standings
            ],
            quotas=Quotas(
                api_calls=Quota(limit=allowance.max_api_calls_per_month, used=meter.calls, resets_at=resets_at),
                checkpoints=Quota(limit=allowance.max_checkpoints_per_month, used=checkpoints, resets_at=resets_at),
            ),
            executions=ExecutionPlaces(
                max_concurrent=allowance.max_concurrent_executions, running=running, queued=queued
            ),
            max_input_bytes=settings.max_input_bytes,
            max_body_bytes=settings.max_body_bytes,
        )
