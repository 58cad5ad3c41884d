"""Keeps places free for others: one tenant has at most a part of the steps that this process does for a queue.

Temporal's fairness orders those who wait, and takes nothing from those who run. If one tenant's long steps held every place
of a worker, another tenant's first step would be next in line and wait all the same. A step beyond its tenant's part is given
back to Temporal, with a time to come again: it holds no place meanwhile, and any other worker may take it. That time is when a
place is likely to be free, each step after the one before it, so that few of them come in vain: each time costs as much as a step.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prometheus_client import Counter as Metric
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.heartbeat import times_given_back
from omium_core.settings import Settings

#: The activities that take long.
SHARED = frozenset({"run_step"})
#: Seconds after which a step that was given back comes again. It grows with each time, for steps that last longer than those before.
FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 0.3, 10.0, 1.5
#: How much of what is known of the length of steps comes from the last one.
NEWEST = 0.1

GIVEN_BACK = Metric("omium_steps_given_back_total", "Steps given back because their tenant had its part of the worker")


@dataclass
class Part:
    """What one tenant has of one queue's places."""

    in_flight: int = 0
    #: Seconds, as far as steps have ended.
    step_seconds: float = 1.0
    #: Until when places that will become free are promised to steps that were given back.
    promised: float = 0.0

    def ended(self, seconds: float) -> None:
        self.in_flight -= 1
        self.step_seconds += (seconds - self.step_seconds) * NEWEST

    def pause(self, most: int, times: int, now: float) -> float:
        """Seconds until a step that is given back, for so many times now, comes again."""
        self.promised = min(max(self.promised, now) + self.step_seconds / most, now + LONGEST_PAUSE)
        grown = FIRST_PAUSE * GROWTH ** min(times - 1, 20)
        # a little later, and spread: who comes too early comes in vain
        return min(max(self.promised - now, grown), LONGEST_PAUSE) * random.uniform(1.0, 1.2)  # noqa: S311 - no secret


class StepShare(Interceptor):
    """One per process, for all its queues. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        # of a single place there is no part
        self.most = max(1, int(settings.max_concurrent_steps * settings.tenant_step_share))
        #: By queue and tenant, while steps are in flight.
        self.parts: dict[tuple[str, str], Part] = {}

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Shared(next, self)


class _Shared(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, share: StepShare) -> None:
        super().__init__(next)
        self._share = share

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        if info.activity_type not in SHARED:
            return await self.next.execute_activity(input)
        whose, began = (info.task_queue, str(input.args[0].tenant_id)), time.monotonic()
        parts, most = self._share.parts, self._share.most
        part = parts.setdefault(whose, Part())
        if part.in_flight >= most:
            GIVEN_BACK.inc()
            times = times_given_back() + 1
            # goes with the failure: it is no attempt of the step
            activity.heartbeat(times)
            raise ApplicationError(
                f"The tenant has its part of this worker, {most} steps at once: the step comes again.",
                type="tenant_share",
                next_retry_delay=timedelta(seconds=part.pause(most, times, began)),
            )
        part.in_flight += 1
        try:
            return await self.next.execute_activity(input)
        finally:
            part.ended(time.monotonic() - began)
            if not part.in_flight:
                del parts[whose]
