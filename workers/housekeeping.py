"""What a worker does beside runs for the installation as a whole: seals the audit log, and sees that retention and roll-ups are scheduled."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
)
from temporalio.service import RPCError

from activities.maintenance.sealing import Sealer
from models.wire_maintenance import RetentionInput
from omium_core import temporal

log = structlog.get_logger(__name__)

AGAIN = 30.0
#: Every day at this hour, in UTC, spread over an hour.
HOUR = 3
#: Few rows come together in this time, and an idle installation is hardly woken.
ROLLUPS_EVERY = timedelta(minutes=10)


async def keep_house(client: Client, sealer: Sealer) -> None:
    """For ever."""
    await asyncio.gather(sealer.run(), _schedule(client))


async def _schedule(client: Client) -> None:
    """Makes the schedules, once they can be made. Those that are there stay as somebody may have changed them."""
    while True:
        try:
            await schedule_retention(client)
            await schedule_rollups(client)
        except (RPCError, RuntimeError) as error:
            log.warning("the platform's own work is not scheduled yet", error=str(error))
            await asyncio.sleep(AGAIN)
            continue
        return


async def schedule_retention(client: Client) -> bool:
    """Whether it was made now; False when it was there. Raises `RPCError` and `RuntimeError` while Temporal is away."""
    name, workflow = temporal.RETENTION_SCHEDULE, temporal.RETENTION_WORKFLOW
    return await make_schedule(client, name, workflow, daily(HOUR), [RetentionInput()])


async def schedule_rollups(client: Client) -> bool:
    """The same for roll-ups."""
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=ROLLUPS_EVERY)], jitter=ROLLUPS_EVERY / 5)
    return await make_schedule(
        client, temporal.ROLLUP_SCHEDULE, temporal.ROLLUP_WORKFLOW, spec, [], catchup=ROLLUPS_EVERY
    )


def daily(hour: int) -> ScheduleSpec:
    """Every day at this hour, in UTC, spread over an hour."""
    return ScheduleSpec(
        calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(hour)], comment="every day")], jitter=timedelta(hours=1)
    )


async def make_schedule(
    client: Client,
    name: str,
    workflow: str,
    spec: ScheduleSpec,
    arguments: list[Any],
    *,
    catchup: timedelta = timedelta(days=1),
) -> bool:
    """A schedule of the platform's own work. Whether it was made now; False when it was there."""
    action = ScheduleActionStartWorkflow(workflow, args=arguments, id=name, task_queue=temporal.maintenance_queue())
    policy = SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=catchup)
    try:
        await client.create_schedule(name, Schedule(action=action, spec=spec, policy=policy))
    except ScheduleAlreadyRunningError:
        return False
    return True
