"""`client.schedules`: workflows that are run by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omium.calls import ClientT, Request, Resource, endpoint, fresh_key, operation
from omium.types import Schedule, ScheduleEnvelope, SchedulePage, ScheduleRunPage


class Schedules(Resource[ClientT]):
    """When a workflow is run, in which time zone, and what happens when the run before has not ended."""

    @operation
    def create(
        self,
        workflow_id: str,
        name: str,
        cron: str | Sequence[str] | None = None,
        interval: float | str | None = None,
        timezone: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        overlap_policy: str | None = None,
        catchup_window: float | str | None = None,
        paused: bool | None = None,
        start_at: str | None = None,
        end_at: str | None = None,
        description: str | None = None,
        note: str | None = None,
    ) -> Request[Schedule]:
        """Runs a workflow by `cron` (five fields, one expression or several) or by `interval` (seconds, or `PT15M`).

        Args:
            timezone: an IANA name such as `Europe/Berlin`; UTC without one.
            overlap_policy: `skip` (the default), `buffer_one`, `buffer_all`, `cancel_other` or `allow_all`.
            catchup_window: for how long a time that was missed is made up for, in seconds or as `PT1H`.

        Raises:
            InvalidInput: `problems` names each field that is wrong.
        """
        body = {
            "workflow_id": workflow_id,
            "name": name,
            "description": description,
            "cron": cron,
            "interval": interval,
            "timezone": timezone,
            "inputs": inputs,
            "overlap_policy": overlap_policy,
            "catchup_window": catchup_window,
            "paused": paused,
            "note": note,
            "start_at": start_at,
            "end_at": end_at,
        }
        return Request("POST", "schedules", body=body)

    @operation
    def list(
        self,
        workflow_id: str | None = None,
        paused: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[SchedulePage]:
        """One page of schedules, the newest first."""
        query = {
            "workflow_id": workflow_id,
            "paused": paused,
            "limit": limit,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
        }
        return Request("GET", "schedules", query=query)

    @operation
    def get(self, schedule_id: str) -> Request[Schedule]:
        """A schedule with its next times and the last ones that it fired."""
        return Request("GET", endpoint("schedules", schedule_id))

    @operation
    def update(
        self,
        schedule_id: str,
        name: str | None = None,
        cron: str | Sequence[str] | None = None,
        interval: float | str | None = None,
        timezone: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        overlap_policy: str | None = None,
        catchup_window: float | str | None = None,
        start_at: str | None = None,
        end_at: str | None = None,
        description: str | None = None,
    ) -> Request[Schedule]:
        """Changes what is given; the rest stays as it is. Runs that have begun keep what they began with."""
        body = {
            "name": name,
            "description": description,
            "cron": cron,
            "interval": interval,
            "timezone": timezone,
            "inputs": inputs,
            "overlap_policy": overlap_policy,
            "catchup_window": catchup_window,
            "start_at": start_at,
            "end_at": end_at,
        }
        return Request("PATCH", endpoint("schedules", schedule_id), body=body)

    @operation
    def delete(self, schedule_id: str) -> Request[None]:
        """Nothing fires any more; runs that have begun go on."""
        return Request("DELETE", endpoint("schedules", schedule_id))

    @operation
    def runs(
        self,
        schedule_id: str,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[ScheduleRunPage]:
        """One page of the times that it fired, the newest first: what each started, or why it started nothing."""
        query = {"limit": limit, "cursor": cursor, "page": page, "per_page": per_page}
        return Request("GET", endpoint("schedules", schedule_id, "runs"), query=query)

    @operation
    def pause(self, schedule_id: str, note: str | None = None) -> Request[ScheduleEnvelope]:
        """Nothing fires until it is resumed."""
        return Request("POST", endpoint("schedules", schedule_id, "pause"), body={"note": note})

    @operation
    def resume(self, schedule_id: str, note: str | None = None) -> Request[ScheduleEnvelope]:
        """Fires again at its times. Those in between are not made up for."""
        return Request("POST", endpoint("schedules", schedule_id, "resume"), body={"note": note})

    @operation
    def trigger(
        self, schedule_id: str, overlap_policy: str | None = None, idempotency_key: str | None = None
    ) -> Request[ScheduleEnvelope]:
        """Fires now, also when it is paused."""
        path = endpoint("schedules", schedule_id, "trigger")
        body = {"overlap_policy": overlap_policy}
        return Request("POST", path, body=body, idempotency_key=fresh_key(idempotency_key))

    @operation
    def backfill(
        self,
        schedule_id: str,
        start: str,
        end: str,
        overlap_policy: str | None = None,
        idempotency_key: str | None = None,
    ) -> Request[ScheduleEnvelope]:
        """Fires for the times from `start` to `end`, which are past. A time that has its run already starts no other."""
        path = endpoint("schedules", schedule_id, "backfill")
        body = {"from": start, "to": end, "overlap_policy": overlap_policy}
        return Request("POST", path, body=body, idempotency_key=fresh_key(idempotency_key))
