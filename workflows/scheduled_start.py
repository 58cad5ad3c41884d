"""What a schedule runs each time: it starts an execution and lasts as long as that, so that Temporal sees overlaps.

Cancelled, it ends the execution first: this is how the overlap policy `cancel_other` works.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from models.wire_schedules import Fire, Fired, Started
    from omium_core import temporal

_SCHEDULED_AT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
_ENDED = ("completed", "failed", "cancelled", "rolled_back", "gone")
_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60))
_ATTEMPT = timedelta(seconds=60)
#: Pauses between two looks at the execution: a tenth of the time that it has taken, within these bounds, in seconds.
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


@workflow.defn(name=temporal.SCHEDULED_WORKFLOW)
class ScheduledStart:
    @workflow.run
    async def run(self, fire: Fire) -> Fired:
        fired = Fired(execution_id=fire.execution_id)
        if not fired.execution_id:
            begun = asyncio.ensure_future(self._start(replace(fire, at=fire.at or _time().isoformat())))
            try:
                fired = await asyncio.shield(begun)
            except asyncio.CancelledError:
                # the execution may be there already
                fired = await begun
                await self._cancel(fire, fired)
                raise
        if not fired.execution_id:
            return fired
        try:
            status = await self._end_of(fire, fired, fire.since or workflow.time())
        except (asyncio.CancelledError, ActivityError) as error:
            # one that comes during a look at the execution is told as the failure of that look
            if is_cancelled_exception(error):
                await self._cancel(fire, fired)
            raise
        return replace(fired, status=status)

    @staticmethod
    async def _start(fire: Fire) -> Fired:
        fired: Fired = await workflow.execute_activity(
            "start_scheduled",
            fire,
            result_type=Fired,
            start_to_close_timeout=_ATTEMPT,
            retry_policy=_RETRIES,
            summary=fire.at,
        )
        return fired

    async def _cancel(self, fire: Fire, fired: Fired) -> None:
        """Ends the execution, and waits until it has ended."""
        if not fired.execution_id:
            return
        started = Started(fire.tenant_id, fired.execution_id, command_id=f"schedule-{workflow.info().workflow_id}")
        await workflow.execute_activity(
            "cancel_scheduled", started, start_to_close_timeout=_ATTEMPT, retry_policy=_RETRIES
        )
        await self._end_of(fire, fired, workflow.time(), in_one_run=True)

    async def _end_of(self, fire: Fire, fired: Fired, since: float, *, in_one_run: bool = False) -> str:
        """The status with which the execution ended."""
        while True:
            # before the first look: nothing that was just started has ended
            await asyncio.sleep(_pause(since))
            status = await self._status(fire, fired)
            if status in _ENDED:
                return status
            if workflow.info().is_continue_as_new_suggested() and not in_one_run:
                workflow.continue_as_new(replace(fire, execution_id=fired.execution_id, since=since))

    @staticmethod
    async def _status(fire: Fire, fired: Fired) -> str:
        status: str = await workflow.execute_activity(
            "scheduled_status",
            Started(fire.tenant_id, fired.execution_id),
            result_type=str,
            start_to_close_timeout=_ATTEMPT,
            retry_policy=_RETRIES,
        )
        return status


def _pause(since: float) -> float:
    return min(max((workflow.time() - since) / 10, SHORTEST_PAUSE), LONGEST_PAUSE)


def _time() -> datetime:
    """The time for which this fires, in UTC and whole seconds."""
    at = workflow.info().typed_search_attributes.get(_SCHEDULED_AT) or workflow.now()
    return at.astimezone(UTC).replace(microsecond=0)
