"""How runs went, what was used, and what it cost."""

from __future__ import annotations

from typing import TypedDict


class Period(TypedDict, total=False):
    """What an answer is about: from `start` on, and before `end`."""

    start: str
    end: str
    timezone: str
    group_by: str


class RunFigures(TypedDict, total=False):
    """One group of runs. It is named by what is grouped by: `date`, `hour`, `week`, `month`, `workflow_id`, `framework`,
    `model`."""

    date: str
    hour: str
    week: str
    month: str
    workflow_id: str | None
    workflow_name: str | None
    framework: str | None
    model: str | None
    total: int
    successful: int
    failed: int
    running: int
    cancelled: int
    rolled_back: int
    success_rate: float | None
    avg_duration_ms: int | None
    p50_duration_ms: int | None
    p95_duration_ms: int | None
    total_cost_usd: float
    total_tokens: int
    llm_calls: int
    tool_calls: int
    checkpoints: int
    checkpoints_per_execution: float | None
    rollbacks: int
    retries: int


class ExecutionAnalytics(TypedDict, total=False):
    """Runs that were made in the period, as they stand now. Of the lists, the one that was asked for is there."""

    total_executions: int
    successful: int
    failed: int
    running: int
    cancelled: int
    rolled_back: int
    success_rate: float | None
    avg_duration_ms: int | None
    p50_duration_ms: int | None
    p95_duration_ms: int | None
    total_cost_usd: float
    total_tokens: int
    llm_calls: int
    tool_calls: int
    checkpoints: int
    checkpoints_per_execution: float | None
    rollbacks: int
    retries: int
    failure_breakdown: dict[str, int]
    by_hour: list[RunFigures]
    by_day: list[RunFigures]
    by_week: list[RunFigures]
    by_month: list[RunFigures]
    by_workflow: list[RunFigures]
    by_framework: list[RunFigures]
    by_model: list[RunFigures]
    period: Period


class UsageFigures(TypedDict, total=False):
    """What was used in one part of the period, or by one workflow. `api_calls` belong to no workflow."""

    date: str
    hour: str
    week: str
    month: str
    workflow_id: str | None
    workflow_name: str | None
    executions: int
    steps: int
    model_calls: int
    tool_calls: int
    tokens: int
    credits: float
    api_calls: int | None
    storage_bytes: int


class UsageAnalytics(TypedDict, total=False):
    """What was used in the period, when it was used."""

    executions: int
    steps: int
    model_calls: int
    tool_calls: int
    tokens: int
    credits: float
    api_calls: int | None
    storage_bytes: int
    by_hour: list[UsageFigures]
    by_day: list[UsageFigures]
    by_week: list[UsageFigures]
    by_month: list[UsageFigures]
    by_workflow: list[UsageFigures]
    period: Period


class CostFigures(TypedDict, total=False):
    """What one part of the period, one workflow, model, agent, or kind of charge cost."""

    date: str
    hour: str
    week: str
    month: str
    workflow_id: str | None
    workflow_name: str | None
    model: str | None
    agent: str | None
    type: str | None
    credits: float
    cost_usd: float
    charges: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int


class CostAnalytics(TypedDict, total=False):
    """Credits that were spent in the period, the most expensive first."""

    total_credits: float
    total_cost_usd: float
    charges: int
    by_hour: list[CostFigures]
    by_day: list[CostFigures]
    by_week: list[CostFigures]
    by_month: list[CostFigures]
    by_workflow: list[CostFigures]
    by_model: list[CostFigures]
    by_agent: list[CostFigures]
    by_type: list[CostFigures]
    period: Period


class FailureFigures(TypedDict, total=False):
    date: str
    hour: str
    week: str
    month: str
    total: int
    by_type: dict[str, int]


class FailureAnalytics(TypedDict, total=False):
    """Everything that went wrong in the period, also what runs got over (`resolved`)."""

    total: int
    resolved: int
    unresolved: int
    by_type: dict[str, int]
    by_severity: dict[str, int]
    by_hour: list[FailureFigures]
    by_day: list[FailureFigures]
    by_week: list[FailureFigures]
    by_month: list[FailureFigures]
    period: Period


class CheckpointFigures(TypedDict, total=False):
    date: str
    hour: str
    week: str
    month: str
    workflow_id: str | None
    workflow_name: str | None
    checkpoints: int
    bytes: int
    avg_bytes: int | None


class CheckpointAnalytics(TypedDict, total=False):
    """Checkpoints that steps made in the period."""

    total_checkpoints: int
    total_bytes: int
    avg_bytes: int | None
    per_execution: float | None
    per_hour: float
    by_hour: list[CheckpointFigures]
    by_day: list[CheckpointFigures]
    by_week: list[CheckpointFigures]
    by_month: list[CheckpointFigures]
    by_workflow: list[CheckpointFigures]
    period: Period


class ExecutionAnalyticsEnvelope(TypedDict, total=False):
    analytics: ExecutionAnalytics


class UsageAnalyticsEnvelope(TypedDict, total=False):
    analytics: UsageAnalytics


class CostAnalyticsEnvelope(TypedDict, total=False):
    analytics: CostAnalytics


class FailureAnalyticsEnvelope(TypedDict, total=False):
    analytics: FailureAnalytics


class CheckpointAnalyticsEnvelope(TypedDict, total=False):
    analytics: CheckpointAnalytics
