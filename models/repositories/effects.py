"""Effects: calls of tools that change the world, from before the call to their undoing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update
from sqlmodel import col

from models.database import Database
from models.repositories.base import Repository
from models.repositories.journal import StepKey
from models.repositories.lineages import Path
from models.tables import Effect
from models.tables.base import new_id, now
from omium_core.errors import NotFound

#: Statuses of an effect that is, or may be, in the world.
STANDING = ("pending", "done", "undoing")
#: What `executions.reason` says while a rollback undoes effects: no new one may begin.
ROLLING_BACK = "rollback"

# Locks the step and its execution, so that a rollback either sees the effect or refuses it.
_BEGIN = text("""
WITH mine AS (
    SELECT agents.tenant_id, agents.execution_id, agents.lineage, agents.step_index
    FROM agents JOIN executions ON executions.id = agents.execution_id
    WHERE agents.tenant_id = CAST(:tenant AS uuid) AND agents.execution_id = CAST(:execution AS uuid)
      AND agents.lineage = CAST(:lineage AS int) AND agents.step_index = CAST(:step AS int)
      AND agents.attempt = CAST(:attempt AS int) AND agents.status = 'running'
      AND executions.lineage = CAST(:lineage AS int) AND executions.reason IS DISTINCT FROM CAST(:refused AS text)
    FOR SHARE
), made AS (
    INSERT INTO effects (id, tenant_id, execution_id, lineage, step_index, idempotency_key, tool, arguments, reversible,
                         inverse, status, created_at)
    SELECT CAST(:id AS uuid), tenant_id, execution_id, lineage, step_index, CAST(:key AS text), CAST(:tool AS text),
           CAST(:arguments AS bytea), CAST(:reversible AS boolean), CAST(:inverse AS text), 'pending',
           CAST(:begun AS timestamptz)
    FROM mine
    ON CONFLICT (execution_id, idempotency_key) DO UPDATE
    SET status = 'pending', error = NULL, rollback_id = NULL, undone_at = NULL, reversible = excluded.reversible,
        inverse = excluded.inverse, created_at = excluded.created_at
    RETURNING id
)
SELECT count(*) AS made FROM made
""")


@dataclass(frozen=True)
class NewEffect:
    """A call that is about to be made. `inverse` is the name of the tool that undoes it."""

    key: str
    tool: str
    arguments: Any
    reversible: bool
    inverse: str | None


async def begin_effect(
    database: Database, tenant_id: UUID, step: StepKey, attempt: int, effect: NewEffect, *, patience: float = 60.0
) -> bool:
    """Writes an effect before its call is made. False if the attempt may not act any more: then it must not be made.

    The same call of a later attempt writes the same row again: what came of it is not known any more.
    """
    cipher = await database.cipher(tenant_id, patience=patience)
    row = await database.statement(
        tenant_id,
        _BEGIN,
        {
            "id": new_id(),
            "tenant": tenant_id,
            "execution": step.execution_id,
            "lineage": step.lineage,
            "step": step.step_index,
            "attempt": attempt,
            "refused": ROLLING_BACK,
            "key": effect.key,
            "tool": effect.tool,
            "arguments": None if effect.arguments is None else cipher.seal_json(effect.arguments),
            "reversible": effect.reversible,
            "inverse": effect.inverse,
            "begun": now(),
        },
        patience=patience,
    )
    return bool(row.made)


class EffectRepository(Repository):
    async def settle(
        self, execution_id: UUID, key: str, status: str, *, result: Any = None, error: str | None = None
    ) -> None:
        """What came of a call: `done` with its result, or `failed`. Changes nothing if it is known already."""
        await self.session.execute(
            update(Effect)
            .where(*self._of(execution_id), col(Effect.idempotency_key) == key, col(Effect.status) == "pending")
            .values(status=status, result=result, error=error)
        )

    async def set_status(
        self, effect_id: UUID, status: str, *, rollback_id: UUID | None = None, error: str | None = None
    ) -> None:
        values: dict[str, Any] = {"status": status, "error": error, "rollback_id": rollback_id}
        if status == "undone":
            values["undone_at"] = now()
        await self.session.execute(
            update(Effect).where(col(Effect.tenant_id) == self.tenant_id, col(Effect.id) == effect_id).values(**values)
        )

    async def get(self, effect_id: UUID) -> Effect:
        query = select(Effect).where(col(Effect.tenant_id) == self.tenant_id, col(Effect.id) == effect_id)
        effect = (await self.session.execute(query)).scalar_one_or_none()
        if effect is None:
            raise NotFound(f"Effect {effect_id} does not exist.", effect_id=str(effect_id))
        return effect

    async def by_key(self, execution_id: UUID, key: str) -> Effect | None:
        """What is known of the call with this key; None if it was never begun."""
        query = select(Effect).where(*self._of(execution_id), col(Effect.idempotency_key) == key)
        return (await self.session.execute(query)).scalar_one_or_none()

    async def of_run(self, execution_id: UUID) -> Sequence[Effect]:
        """All effects of a run, newest first."""
        query = select(Effect).where(*self._of(execution_id))
        query = query.order_by(col(Effect.created_at).desc(), col(Effect.id).desc())
        return (await self.session.execute(query)).scalars().all()

    def _of(self, execution_id: UUID) -> tuple[Any, ...]:
        return col(Effect.tenant_id) == self.tenant_id, col(Effect.execution_id) == execution_id


def standing_beyond(effects: Iterable[Effect], path: Path) -> list[Effect]:
    """What is, or may be, in the world and does not belong to a path."""
    return [e for e in effects if e.status in STANDING and (e.lineage, e.step_index) not in path.steps]


def lost_on(effects: Iterable[Effect], path: Path) -> list[Effect]:
    """What a path believes in although it was undone. What needed no undoing is still there."""
    return [e for e in effects if e.status == "undone" and e.inverse and (e.lineage, e.step_index) in path.steps]
