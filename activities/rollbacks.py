"""The activity that takes a run back to a checkpoint: fence, undo effects, edit, begin the next lineage.

It may be killed anywhere and is then done again from its rows: the rollback's own row says whether it was begun and how it
ended, each effect says whether it was undone, and the new lineage appears in one transaction, or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio import activity

from activities import rollback_rows as rows
from activities.adapters.base import Edit, Json, JsonObject
from activities.edits import read_edits
from activities.frameworks import Frameworks
from activities.heartbeat import heartbeat
from activities.policies.texts import filled
from activities.rollback_plan import RollbackPlan, plan_rollback
from activities.sources import Continuation, Source, continue_from, read_source
from activities.stores.base import ObjectStoreUnavailable
from activities.stores.values import ValueStore
from activities.tools.registry import ToolRegistry
from activities.undo import Patience, Saga, UndoFailed
from models.database import Database, is_database_away
from models.tables import Rollback
from models.wire import RollbackInput, RollbackOutcome
from omium_core.errors import InvalidInput, OmiumError, RollbackFailed

__all__ = ["RollbackActivities", "RollbackPlan", "plan_rollback"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Prepared:
    source: Source
    to: Continuation


class RollbackActivities:
    """Belongs to one event loop. `frameworks` makes the state before a first step."""

    def __init__(
        self,
        database: Database,
        values: ValueStore,
        tools: ToolRegistry,
        frameworks: Frameworks,
        patience: Patience | None = None,
    ) -> None:
        self._database = database
        self._values = values
        self._tools = tools
        self._frameworks = frameworks
        self._patience = patience or Patience()

    @activity.defn(name="roll_back")
    async def roll_back(self, wish: RollbackInput) -> RollbackOutcome:
        """Where the run stands after it; with an `error` it stands where it stood. Repeatable by `command_id`."""
        async with heartbeat():
            return await self.carry_out(wish)

    async def carry_out(self, wish: RollbackInput) -> RollbackOutcome:
        """The same outside of an activity. Raises what only waiting can mend: a database or an object store that is away."""
        known = await self._database.run(UUID(wish.tenant_id), lambda db: rows.find(db, wish))
        if known is not None and known.status != "in_progress":
            return await self._told(known)
        try:
            prepared = await self._prepare(wish, known)
            rollback = known
            if rollback is None:
                rollback = await self._database.run(
                    UUID(wish.tenant_id), lambda db: rows.begin(db, wish, prepared.source)
                )
        except OmiumError as error:
            log.info("rollback refused", execution_id=wish.execution_id, reason=error.message)
            ours = _for_history(error)
            if known is not None:
                return await self._give_up(known, ours)
            await self._database.run(UUID(wish.tenant_id), lambda db: rows.refuse(db, wish, ours))
            return RollbackOutcome(error=ours, code=error.code)
        if rollback.status == "in_progress":
            return await self._undo_and_move(wish, rollback, prepared)
        return await self._told(rollback)

    async def _undo_and_move(self, wish: RollbackInput, rollback: Rollback, prepared: _Prepared) -> RollbackOutcome:
        try:
            path = await self._database.run(UUID(wish.tenant_id), lambda db: rows.path_to(db, prepared.source))
            await Saga(self._database, self._tools, self._patience, rollback).run(path)
        except UndoFailed as failure:
            effect = failure.effect
            ours = f"The effect of {effect.tool} (step {effect.step_index}) could not be undone."
            return await self._give_up(rollback, ours, str(failure))
        await self._database.run(UUID(wish.tenant_id), lambda db: rows.complete(db, wish, prepared.source, prepared.to))
        log.info("run rolled back", execution_id=wish.execution_id, lineage=rollback.to_lineage)
        return await self._told(rollback)

    async def _prepare(self, wish: RollbackInput, known: Rollback | None) -> _Prepared:
        """What the run goes on from, edits applied. Changes no row, so whatever is wrong is told before anything is done."""
        source = await self._database.run(UUID(wish.tenant_id), lambda db: _source(db, wish, known))

        async def start(definition: JsonObject, inputs: JsonObject) -> JsonObject:
            return (await self._frameworks.adapter(wish.framework)).start(definition, inputs)

        try:
            edits = await self._edits(wish, source.execution.policy)
            return _Prepared(source, await continue_from(self._values, source, edits, start=start))
        except Exception as error:
            if isinstance(error, (OmiumError, ObjectStoreUnavailable)) or is_database_away(error):
                raise
            log.error("edits could not be applied", execution_id=wish.execution_id, exc_info=error)
            raise RollbackFailed(f"The edits could not be applied ({type(error).__name__}).") from error

    async def _edits(self, wish: RollbackInput, policy: JsonObject | None) -> Edit:
        given: Json = wish.edits
        if wish.edits_blob:
            given = await self._values.get(wish.tenant_id, wish.edits_blob)
        if wish.policy_source:
            parts = ("prompts", "append_prompts")
            given = {**given, **{p: filled(given[p], policy, wish.policy_source) for p in parts if p in given}}
        return read_edits(given)

    async def _give_up(self, rollback: Rollback, ours: str, said: str = "") -> RollbackOutcome:
        """`ours` may be in a run's history; what a tool said is for the rollback's row alone."""
        await self._database.run(
            rollback.tenant_id, lambda db: rows.fail(db, rollback.id, rollback.tenant_id, ours, said)
        )
        log.warning("rollback failed", execution_id=str(rollback.execution_id), reason=ours)
        return await self._told(rollback)

    async def _told(self, rollback: Rollback) -> RollbackOutcome:
        """The outcome, as the rows tell it."""
        return await self._database.run(
            rollback.tenant_id, lambda db: rows.outcome(db, rollback.tenant_id, rollback.id)
        )


async def _source(db: AsyncSession, wish: RollbackInput, known: Rollback | None) -> Source:
    execution = await rows.execution_of(db, wish)
    target = await rows.target_of(db, execution, wish, known)
    return await read_source(db, execution, target)


def _for_history(error: OmiumError) -> str:
    """What may be in a run's history: where an edit is wrong, and not what it says."""
    if isinstance(error, InvalidInput) and error.problems:
        return f"The edits are wrong at: {', '.join(problem.path or 'edits' for problem in error.problems)}."[:1000]
    return error.message[:1000]
