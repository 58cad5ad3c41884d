"""Rows -> answers: what is derived (progress, durations, usage) is derived here, and nowhere stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from api.schemas.executions import AgentView, ExecutionDetail, ExecutionSummary, Progress, TemporalLink
from models.repositories.execution_reads import ExecutionRead, StepRead
from models.repositories.journal import StepUsage
from models.tables import Agent, Execution
from models.tables.base import now
from models.wire_commands import CommandResult
from omium_core import temporal
from omium_core.settings import Settings

_STEP_FIELDS = (
    *("id", "name", "status", "lineage", "branch", "step_index", "attempt", "output", "error", "started_at"),
    "completed_at",
)
_SUMMARY_FIELDS = (
    *("id", "workflow_id", "workflow_version", "framework", "status", "reason", "error_message", "trigger_type"),
    *("current_checkpoint", "checkpoint_count", "retry_count", "lineage", "forked_from", "forked_from_checkpoint"),
    *("started_at", "paused_at", "completed_at", "created_at"),
)


def execution_summary(
    execution: Execution, usage: Sequence[StepUsage], after: CommandResult | None = None
) -> ExecutionSummary:
    """An execution in short; `after` a command it is shown as that left it, for it may have gone on since."""
    summary = ExecutionSummary(**_summary(execution, usage))
    if after is None or not after.state:
        return summary
    return summary.model_copy(update={"status": after.state, "reason": after.reason or None})


def execution_detail(
    execution: ExecutionRead,
    agents: Sequence[StepRead],
    inputs: dict[str, Any] | None,
    outputs: Any,
    settings: Settings,
) -> ExecutionDetail:
    return ExecutionDetail(
        **_summary(execution, execution.usage),
        inputs=inputs or {},
        outputs=outputs,
        agents=agent_views(agents, execution.usage),
        pending_approvals=execution.pending_approvals,
        queue_position=execution.queue_position,
        policies=(execution.policy or {}).get("sources", []),
        metadata=execution.meta,
        temporal=temporal_link(execution, settings),
    )


def agent_views(agents: Sequence[Agent | StepRead], usage: Sequence[StepUsage]) -> list[AgentView]:
    """Steps of any lineages with what their calls came to."""
    by_step = {(entry.lineage, entry.step_index): entry for entry in usage}
    return [_agent(agent, by_step.get((agent.lineage, agent.step_index))) for agent in agents]


def temporal_link(execution: Execution | ExecutionRead, settings: Settings) -> TemporalLink:
    run = temporal.workflow_id(execution.tenant_id, execution.id)
    ui = settings.temporal_ui_url.rstrip("/")
    return TemporalLink(
        workflow_id=run, ui_url=f"{ui}/namespaces/{settings.temporal_namespace}/workflows/{quote(run, safe='')}"
    )


def _summary(execution: Execution | ExecutionRead, usage: Sequence[StepUsage]) -> dict[str, Any]:
    return {
        **{name: getattr(execution, name) for name in _SUMMARY_FIELDS},
        "error": execution.error_message,
        "progress": _progress(execution),
        "credits_used": sum(entry.cost for entry in usage),
        "duration_ms": _duration(execution.started_at, execution.completed_at),
    }


def _progress(execution: Execution | ExecutionRead) -> Progress:
    done = execution.steps_done
    completed = execution.status == "completed"
    # a graph does not know how far it is; the step that runs, or that was not done, is one more
    total = max(execution.planned_steps, done + (0 if completed else 1))
    percentage = 100.0 if completed else round(100.0 * done / total, 1)
    return Progress(current_step=done, total_steps=total, percentage=percentage)


def _agent(agent: Agent | StepRead, usage: StepUsage | None) -> AgentView:
    return AgentView(
        **{name: getattr(agent, name) for name in _STEP_FIELDS},
        agent_type=agent.framework,
        duration_ms=_duration(agent.started_at, agent.completed_at),
        llm_calls=usage.model_calls if usage else 0,
        tool_calls=usage.tool_calls if usage else 0,
        tokens_used=usage.tokens if usage else 0,
    )


def _duration(started: datetime | None, ended: datetime | None) -> int | None:
    """Milliseconds; until now for what is still running."""
    if started is None:
        return None
    return int(((ended or now()) - started).total_seconds() * 1000)
