"""Keeps places free for others: one tenant has at most a part of the steps that this process does for a queue.

Temporal's fairness orders those who wait, and takes nothing from those who run. If one tenant's long steps held every place
of a worker, another tenant's first step would be next in line and wait all the same. A step beyond its tenant's part is given
back to Temporal, with a time to come again: it holds no place meanwhile, and any other worker may take it.
"""

from __future__ import annotations

import random
from collections import Counter
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
#: Seconds after which a step that was given back comes again: grows with each time, and is spread so that not all come at once.
FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 0.3, 5.0, 1.5

GIVEN_BACK = Metric("omium_steps_given_back_total", "Steps given back because their tenant had its part of the worker")


class StepShare(Interceptor):
    """One per process, for all its queues. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        # of a single place there is no part
        self.most = max(1, int(settings.max_concurrent_steps * settings.tenant_step_share))
        #: Steps in flight, by queue and tenant.
        self.in_flight: Counter[tuple[str, str]] = Counter()

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
        share, whose = self._share, (info.task_queue, str(input.args[0].tenant_id))
        if share.in_flight[whose] >= share.most:
            GIVEN_BACK.inc()
            times = times_given_back() + 1
            # goes with the failure: it is no attempt of the step
            activity.heartbeat(times)
            raise ApplicationError(
                f"The tenant has its part of this worker, {share.most} steps at once: the step comes again.",
                type="tenant_share",
                next_retry_delay=timedelta(seconds=pause(times)),
            )
        share.in_flight[whose] += 1
        try:
            return await self.next.execute_activity(input)
        finally:
            share.in_flight[whose] -= 1
            if not share.in_flight[whose]:
                del share.in_flight[whose]


def pause(times: int) -> float:
    """Seconds until a step that was given back so many times comes again."""
    longest = min(FIRST_PAUSE * GROWTH ** min(times - 1, 20), LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - a spread, no secret
