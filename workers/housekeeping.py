"""What a worker does beside runs for the installation as a whole: seals the audit log, and sees that retention is scheduled."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
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


async def keep_house(client: Client, sealer: Sealer) -> None:
    """For ever."""
    await asyncio.gather(sealer.run(), _schedule(client))


async def _schedule(client: Client) -> None:
    """Makes the schedule of retention, once it can be made. One that is there stays as somebody may have changed it."""
    while True:
        try:
            await schedule_retention(client)
        except (RPCError, RuntimeError) as error:
            log.warning("retention is not scheduled yet", error=str(error))
            await asyncio.sleep(AGAIN)
            continue
        return


async def schedule_retention(client: Client) -> bool:
    """Whether it was made now; False when it was there. Raises `RPCError` and `RuntimeError` while Temporal is away."""
    try:
        await client.create_schedule(
            temporal.RETENTION_SCHEDULE,
            Schedule(
                action=ScheduleActionStartWorkflow(
                    temporal.RETENTION_WORKFLOW,
                    RetentionInput(),
                    id=temporal.RETENTION_SCHEDULE,
                    task_queue=temporal.maintenance_queue(),
                ),
                spec=ScheduleSpec(
                    calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(HOUR)], comment="every day")],
                    jitter=timedelta(hours=1),
                ),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(days=1)),
            ),
        )
    except ScheduleAlreadyRunningError:
        return False
    return True
