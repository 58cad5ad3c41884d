"""`client.analytics`: how runs went, what was used, and what it cost."""

from __future__ import annotations

from typing import IO, Literal

from omium.calls import ClientT, Download, Flow, Request, Resource, endpoint, operation
from omium.errors import OmiumError
from omium.types import (
    CheckpointAnalyticsEnvelope,
    CostAnalyticsEnvelope,
    ExecutionAnalyticsEnvelope,
    FailureAnalyticsEnvelope,
    UsageAnalyticsEnvelope,
)

#: Reports on a great many runs take their time.
_LONG = 300.0


class Analytics(Resource[ClientT]):
    """Figures of the tenant. Days are included on both sides; `start_date` and `end_date` may be moments too.

    Without a period it is the last 30 days; without a `timezone`, days are those of UTC.
    """

    @operation
    def executions(
        self,
        start_date: str | None = None,
        end_date: str | None = None,
        group_by: str | None = None,
        timezone: str | None = None,
        workflow_id: str | None = None,
        framework: str | None = None,
        status: str | None = None,
    ) -> Request[ExecutionAnalyticsEnvelope]:
        """Runs that were made in the period: how many ended well, how long they took, what they cost.

        Args:
            group_by: `hour`, `day` (as if not said), `week`, `month`, `workflow`, `framework` or `model`.

        Raises:
            InvalidInput: the period makes no sense.
        """
        query = _period(start_date, end_date, timezone, group_by)
        query |= {"workflow_id": workflow_id, "framework": framework, "status": status}
        return Request("GET", "analytics/executions", query=query)

    @operation
    def usage(
        self,
        start_date: str | None = None,
        end_date: str | None = None,
        group_by: str | None = None,
        timezone: str | None = None,
        workflow_id: str | None = None,
    ) -> Request[UsageAnalyticsEnvelope]:
        """What was used in the period: runs, steps, calls, tokens, credits, requests, storage.

        Args:
            group_by: `hour`, `day` (as if not said), `week`, `month` or `workflow`.
        """
        query = _period(start_date, end_date, timezone, group_by) | {"workflow_id": workflow_id}
        return Request("GET", "analytics/usage", query=query)

    @operation
    def costs(
        self,
        start_date: str | None = None,
        end_date: str | None = None,
        group_by: str | None = None,
        timezone: str | None = None,
        workflow_id: str | None = None,
    ) -> Request[CostAnalyticsEnvelope]:
        """Credits that were spent in the period, by workflow, model, agent and kind, and over time.

        Args:
            group_by: of the list over time: `hour`, `day` (as if not said), `week` or `month`.
        """
        query = _period(start_date, end_date, timezone, group_by) | {"workflow_id": workflow_id}
        return Request("GET", "analytics/costs", query=query)

    @operation
    def failures(
        self,
        start_date: str | None = None,
        end_date: str | None = None,
        group_by: str | None = None,
        timezone: str | None = None,
        workflow_id: str | None = None,
        framework: str | None = None,
        status: str | None = None,
    ) -> Request[FailureAnalyticsEnvelope]:
        """What went wrong in the period, by type and over time; also what runs got over."""
        query = _period(start_date, end_date, timezone, group_by)
        query |= {"workflow_id": workflow_id, "framework": framework, "status": status}
        return Request("GET", "analytics/failures", query=query)

    @operation
    def checkpoints(
        self,
        start_date: str | None = None,
        end_date: str | None = None,
        group_by: str | None = None,
        timezone: str | None = None,
        workflow_id: str | None = None,
    ) -> Request[CheckpointAnalyticsEnvelope]:
        """How many checkpoints were made in the period, how often, and how large they are."""
        query = _period(start_date, end_date, timezone, group_by) | {"workflow_id": workflow_id}
        return Request("GET", "analytics/checkpoints", query=query)

    @operation
    def report(
        self,
        file: IO[bytes],
        report: Literal["executions", "usage", "costs"],
        format: Literal["csv", "json"] = "csv",
        start_date: str | None = None,
        end_date: str | None = None,
        group_by: str | None = None,
        timezone: str | None = None,
        workflow_id: str | None = None,
    ) -> Flow[int]:
        """Writes a report to `file`: CSV with a line for each group, or JSON. How many bytes that are."""
        query = _period(start_date, end_date, timezone, group_by) | {"workflow_id": workflow_id, "format": format}
        request: Request[None] = Request("GET", endpoint("analytics", "reports", report), query=query, timeout=_LONG)
        return _saved(request, file)


def _saved(request: Request[None], file: IO[bytes]) -> Flow[int]:
    size = yield Download(request, file)
    if isinstance(size, OmiumError):
        raise size
    return int(size)


def _period(
    start_date: str | None, end_date: str | None, timezone: str | None, group_by: str | None
) -> dict[str, str | int | bool | None]:
    return {"start_date": start_date, "end_date": end_date, "timezone": timezone, "group_by": group_by}
