"""Failures: what went wrong, why, and what would help."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.flow.definition import DEFINITION as FLOW
from activities.analysis import DAYS, Analysis, Observed, analyze
from api.auth.principal import Principal
from api.payloads import for_ourselves
from api.schemas.failures import FailureView
from api.schemas.recovery import AnalysisView, AnalyzeAnswer, ResolveAnswer, SuggestedAction
from api.services.auditing import detailed
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.executions import ExecutionRepository
from models.repositories.failures import FailureRepository
from models.repositories.journal import JournalRepository
from models.repositories.recovery import RecoveryRepository
from models.repositories.workflows import WorkflowRepository
from models.tables import Agent, Execution, ExecutionEvent, Failure
from models.tables.base import now

#: What callers may ask for: the document's word for all that is open, and our own.
OPEN = ("pending", "in_progress", "escalated")
_STATUSES = {"unresolved": OPEN}


class FailureService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def get(self, caller: Principal, failure_id: UUID) -> FailureView:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return view(await FailureRepository(session, caller.tenant_id).get(failure_id))

    async def list(
        self,
        caller: Principal,
        page: Page,
        *,
        execution_id: UUID | None,
        severity: str | None,
        failure_type: str | None,
        status: str | None,
    ) -> Listing[Failure]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await FailureRepository(session, caller.tenant_id).list(
                page,
                execution_id=execution_id,
                severity=severity,
                failure_type=failure_type,
                recovery_statuses=_STATUSES.get(status, (status,)) if status else (),
            )

    async def analyze(self, caller: Principal, failure_id: UUID) -> AnalyzeAnswer:
        """Finds out again, from what is stored, what a failure was. What it finds is kept with the failure."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            failures = FailureRepository(session, caller.tenant_id)
            failure = await failures.get(failure_id, lock=True)
            execution = await ExecutionRepository(session, caller.tenant_id).get(failure.execution_id)
            found = analyze(await self._observe(session, failure, execution))
            # what was told when it happened is kept: it is what every analysis begins with
            detected = failure.meta.get("detected") or {"root_cause": failure.root_cause}
            answer = _analysis_view(found)
            with for_ourselves():
                kept = answer.model_dump(
                    mode="json", exclude={"payloads_hidden": True, "suggested_action": {"payloads_hidden"}}
                )
            failure.meta = {**failure.meta, "detected": detected, "analysis": kept}
            failure.root_cause, failure.recovery_suggestion = found.root_cause, found.suggested_fix
            session.add(failure)
        return AnalyzeAnswer(failure=view(failure), analysis=answer)

    async def resolve(self, caller: Principal, failure_id: UUID, note: str) -> ResolveAnswer:
        """Somebody has taken care of it elsewhere."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            failure = await FailureRepository(session, caller.tenant_id).get(failure_id, lock=True)
            before = failure.recovery_status
            if before != "resolved":
                failure.recovery_status, failure.resolved_at = "resolved", now()
                data = {"failure_id": str(failure.id), "note": note, "by": caller.name}
                detailed(old={"recovery_status": before}, new={"recovery_status": "resolved", "note": note})
                failure.meta = {**failure.meta, "resolution": {name: data[name] for name in ("note", "by")}}
                session.add(failure)
                session.add(
                    ExecutionEvent(
                        tenant_id=caller.tenant_id,
                        execution_id=failure.execution_id,
                        event_type="failure.resolved",
                        data=data,
                    )
                )
        return ResolveAnswer(failure=view(failure), message="Failure resolved")

    async def _observe(self, session: AsyncSession, failure: Failure, execution: Execution) -> Observed:
        tenant = failure.tenant_id
        step = await ExecutionRepository(session, tenant).find_agent(execution.id, str(failure.agent_id or ""))
        usage = await JournalRepository(session, tenant).usage([execution.id])
        recovery = RecoveryRepository(session, tenant)
        alike = await recovery.count_alike(execution.workflow_id, failure.failure_type, failure.step_name, DAYS)
        before = await recovery.checkpoint_before(execution.id, failure.lineage, failure.step_index or 0)
        version = await WorkflowRepository(session, tenant).version_by_id(execution.version_id)
        asked = any(
            entry.model_calls and (entry.lineage, entry.step_index) == (failure.lineage, failure.step_index)
            for entry in usage.get(execution.id, [])
        )
        return Observed(
            failure_type=failure.failure_type,
            severity=failure.severity,
            message=failure.error_message,
            cause=failure.meta.get("detected", {"root_cause": failure.root_cause})["root_cause"] or "",
            stack_trace=failure.stack_trace,
            step=failure.step_name,
            attempts=step.attempt if step else 0,
            recoverable=failure.is_recoverable,
            alike=max(alike - 1, 0),
            editable=asked and not _is_code(execution.framework, version.workflow_definition, step),
            earlier=before is not None and before.checkpoint_number > 0,
            default_model=self._process.settings.llm_model,
        )


def view(failure: Failure) -> FailureView:
    return FailureView(
        **failure.model_dump(exclude={"meta"}),
        metadata=failure.meta,
        suggested_fix=failure.recovery_suggestion,
        detected_at=failure.created_at,
    )


def _analysis_view(found: Analysis) -> AnalysisView:
    return AnalysisView(
        **{**asdict(found), "suggested_action": SuggestedAction(**asdict(found.suggested_action))}, similar_days=DAYS
    )


def _is_code(framework: str, definition: dict[str, Any], step: Agent | None) -> bool:
    """Whether a step's prompts are in code, where nobody can edit them from outside."""
    if framework == FLOW.name and step is not None and step.branch:
        _, definition = FLOW.agent_of(definition, step.branch)
    return "entrypoint" in definition
