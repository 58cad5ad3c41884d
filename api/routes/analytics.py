"""`/analytics`"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from api.auth.principal import Principal
from api.deps import Analytics, Reports, requires
from api.schemas.analytics import (
    CheckpointAnalyticsView,
    CostAnalyticsView,
    ExecutionAnalyticsView,
    FailureAnalyticsView,
    PeriodQuery,
    Report,
    RunGroup,
    RunQuery,
    StepQuery,
    Unit,
    UsageAnalyticsView,
    UsageGroup,
)
from api.services.analytics_reports import Format

router = APIRouter(prefix="/analytics", tags=["analytics"])

Reader = Annotated[Principal, requires("usage:read")]
Period = Annotated[PeriodQuery, Depends()]
Runs = Annotated[RunQuery, Depends()]
Steps = Annotated[StepQuery, Depends()]

_MEDIA_TYPES = {"json": "application/json", "csv": "text/csv; charset=utf-8"}


@router.get("/executions", response_model=ExecutionAnalyticsView)
async def executions(
    analytics: Analytics, caller: Reader, period: Period, runs: Runs, group_by: RunGroup = "day"
) -> dict[str, Any]:
    """Runs that were made in the period, as they stand now: how many ended well, how long they took, what they cost."""
    return {"analytics": await analytics.executions(caller, period, runs.wanted, group_by)}


@router.get("/usage", response_model=UsageAnalyticsView)
async def usage(
    analytics: Analytics, caller: Reader, period: Period, steps: Steps, group_by: UsageGroup = "day"
) -> dict[str, Any]:
    """What was used in the period: runs, steps, calls, tokens, credits, requests, storage."""
    return {"analytics": await analytics.usage(caller, period, steps.wanted, group_by)}


@router.get("/costs", response_model=CostAnalyticsView)
async def costs(
    analytics: Analytics, caller: Reader, period: Period, steps: Steps, group_by: Unit = "day"
) -> dict[str, Any]:
    """Credits that were spent in the period: by time, workflow, model, agent, and kind of what was paid for."""
    return {"analytics": await analytics.costs(caller, period, steps.wanted, group_by)}


@router.get("/failures", response_model=FailureAnalyticsView)
async def failures(
    analytics: Analytics, caller: Reader, period: Period, runs: Runs, group_by: Unit = "day"
) -> dict[str, Any]:
    """What went wrong in the period, by type and over time; also what runs got over."""
    return {"analytics": await analytics.failures(caller, period, runs.wanted, group_by)}


@router.get("/checkpoints", response_model=CheckpointAnalyticsView)
async def checkpoints(
    analytics: Analytics, caller: Reader, period: Period, steps: Steps, group_by: UsageGroup = "day"
) -> dict[str, Any]:
    """How many checkpoints were made in the period, how often, and how large they are."""
    return {"analytics": await analytics.checkpoints(caller, period, steps.wanted, group_by)}


@router.get(
    "/reports/{report}",
    response_class=Response,
    responses={200: {"content": {"application/json": {}, "text/csv": {"schema": {"type": "string"}}}}},
)
async def report(
    report: Report,
    reports: Reports,
    caller: Reader,
    period: Period,
    steps: Steps,
    group_by: Unit = "day",
    format: Format = "csv",
) -> Response:
    """The same as a file: CSV with a line for each group, or the whole answer as JSON."""
    content, name = await reports.report(caller, report, format, period, steps.wanted, group_by)
    return Response(
        content,
        media_type=_MEDIA_TYPES[format],
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )
