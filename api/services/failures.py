"""Failures: what went wrong, and what to do about it."""

from __future__ import annotations

from uuid import UUID

from api.auth.principal import Principal
from api.schemas.failures import FailureView
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.failures import FailureRepository
from models.tables import Failure

#: The names that the two documents use for the same thing.
_OPEN_NAMES = {"unresolved": "pending", "pending": "pending", "resolved": "resolved"}


class FailureService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def get(self, caller: Principal, failure_id: UUID) -> FailureView:
        async with self._process.database.transaction() as session:
            return view(await FailureRepository(session, caller.tenant_id).get(failure_id))

    async def list(
        self, caller: Principal, page: Page, *, execution_id: UUID | None, severity: str | None, status: str | None
    ) -> Listing[Failure]:
        async with self._process.database.transaction() as session:
            return await FailureRepository(session, caller.tenant_id).list(
                page,
                execution_id=execution_id,
                severity=severity,
                recovery_status=_OPEN_NAMES[status] if status else None,
            )


def view(failure: Failure) -> FailureView:
    return FailureView(
        **failure.model_dump(exclude={"meta"}),
        metadata=failure.meta,
        suggested_fix=failure.recovery_suggestion,
        detected_at=failure.created_at,
    )
