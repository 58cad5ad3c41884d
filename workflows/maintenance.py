"""What the platform does for an installation as a whole, and what takes long: exports, erasure, retention, roll-ups.

All of it is made of small steps that may be repeated, so that a worker that dies costs one of them.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from models.wire_maintenance import (
        ErasureInput,
        ExportEnd,
        ExportInput,
        PartDone,
        PartInput,
        Removed,
        RetentionInput,
        TenantBatch,
    )
    from omium_core import temporal

_PATIENT = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
#: What fails this often for another reason than a part that is away will fail again.
_GIVES_UP = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1), maximum_attempts=30
)
_STEP = timedelta(minutes=30)
_HEARTBEAT = timedelta(seconds=15)
#: Processes remember a tenant's keys for two seconds; what they still write in that time is removed too.
_FORGOTTEN = 5.0
#: Tenants whose retention runs at once, and batches of tenants after which a fresh history goes on.
_AT_ONCE, _BATCHES = 4, 50


async def _do(name: str, argument: Any = None, *, result: Any = None, retries: RetryPolicy = _PATIENT) -> Any:
    """One activity; it heartbeats, so a dead worker is noticed."""
    return await workflow.execute_activity(
        name,
        args=[] if argument is None else [argument],
        result_type=result,
        start_to_close_timeout=_STEP,
        heartbeat_timeout=_HEARTBEAT,
        retry_policy=retries,
    )


@workflow.defn(name=temporal.EXPORT_WORKFLOW)
class TenantExport:
    """Writes the tables of a tenant, or what they have of one person, part by part; removes the parts when they expire."""

    @workflow.run
    async def run(self, export: ExportInput) -> None:
        error = ""
        try:
            tables: list[str] = await _do("begin_export", export, result=list[str], retries=_GIVES_UP)
            rows = 0
            for table in tables:
                rows += await self._table(export, table, rows)
        except ActivityError:
            error = "EXPORT_FAILED"
        await _do("end_export", ExportEnd(export, error))
        if not error:
            await workflow.sleep(timedelta(seconds=export.keep_seconds))
        await _do("remove_export", export)

    @staticmethod
    async def _table(export: ExportInput, table: str, before: int) -> int:
        """How many rows it has."""
        part = PartInput(export, table, before=before)
        while True:
            done: PartDone = await _do("export_part", part, result=PartDone, retries=_GIVES_UP)
            if done.done:
                return done.offset
            part = PartInput(export, table, part.number + 1, done.after, done.offset, before)


@workflow.defn(name=temporal.ERASURE_WORKFLOW)
class TenantErasure:
    """Waits for the time of grace, destroys the tenant's keys, then removes everything that they made unreadable."""

    def __init__(self) -> None:
        self._cancelled = False
        self._begun = False

    @workflow.update(name="cancel")
    def cancel(self) -> bool:
        """Whether it is taken back: not once it has begun."""
        self._cancelled = self._cancelled or not self._begun
        return self._cancelled

    @workflow.run
    async def run(self, erasure: ErasureInput) -> None:
        if erasure.grace_seconds > 0:
            try:
                await workflow.wait_condition(lambda: self._cancelled, timeout=timedelta(seconds=erasure.grace_seconds))
            except TimeoutError:
                workflow.logger.info("the time of grace is over")
        if self._cancelled:
            await _do("cancel_erasure", erasure)
            return
        self._begun = True
        # from here on nothing is readable any more, wherever a copy of it lies
        await _do("destroy_keys", erasure)
        await _do("erase_runs", erasure)
        await workflow.sleep(_FORGOTTEN)
        await _do("erase_runs", erasure)
        await _do("erase_objects", erasure)
        await _do("erase_rows", erasure)
        await _do("end_erasure", erasure)


@workflow.defn(name=temporal.RETENTION_WORKFLOW)
class Retention:
    """Once a day: partitions ahead of time, and what is older than its tenant keeps it."""

    @workflow.run
    async def run(self, at: RetentionInput) -> Removed:
        if not at.after:
            await _do("make_partitions")
        removed = dict(at.removed)
        batches = 0
        while True:
            batch: TenantBatch = await _do("tenants_to_tidy", at.after, result=TenantBatch)
            for first in range(0, len(batch.tenants), _AT_ONCE):
                done: list[Removed] = await asyncio.gather(
                    *(_do("tidy_tenant", tenant, result=Removed) for tenant in batch.tenants[first : first + _AT_ONCE])
                )
                for kind, count in (pair for part in done for pair in part.counts.items()):
                    removed[kind] = removed.get(kind, 0) + count
            if not batch.more:
                last: Removed = await _do("drop_audit_partitions", result=Removed)
                return Removed({**removed, **last.counts})
            at = RetentionInput(batch.tenants[-1], removed)
            batches += 1
            if batches == _BATCHES:
                workflow.continue_as_new(at)


@workflow.defn(name=temporal.ROLLUP_WORKFLOW)
class RollUp:
    """Every few minutes: what is over is added to the roll-ups that analytics are read from."""

    @workflow.run
    async def run(self) -> None:
        batch: TenantBatch = await _do("tenants_to_roll_up", result=TenantBatch)
        for tenant in batch.tenants:
            # one after the other: there is no hurry, and runs need the database more
            await _do("roll_up_tenant", tenant)
