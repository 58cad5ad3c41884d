"""`client.audit`: who did what to which thing."""

from __future__ import annotations

from typing import IO, Literal

from omium.calls import ClientT, Download, Flow, Request, Resource, endpoint, operation
from omium.errors import OmiumError
from omium.types import AuditEntry, AuditPage, AuditVerdict

#: An export takes as long as there are entries.
_LONG = 600.0


class AuditLogs(Resource[ClientT]):
    """The audit log of the tenant. Entries are added by whatever happens, and never changed."""

    @operation
    def list(
        self,
        user_id: str | None = None,
        api_key_id: str | None = None,
        action: str | None = None,
        resource_type: str | None = None,
        resource_id: str | None = None,
        request_id: str | None = None,
        status: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[AuditPage]:
        """One page of entries, the newest first.

        Args:
            action: such as `execution.pause`.
            status: `success`, `denied` or `failure`.
            since: the first moment, in ISO 8601; included. `until` is not.
        """
        query = _filters(user_id, api_key_id, action, resource_type, resource_id, request_id, status, since, until)
        query |= {"limit": limit, "cursor": cursor, "page": page, "per_page": per_page}
        return Request("GET", "audit-logs", query=query)

    @operation
    def get(self, audit_id: str) -> Request[AuditEntry]:
        """One entry."""
        return Request("GET", endpoint("audit-logs", audit_id))

    @operation
    def export(
        self,
        file: IO[bytes],
        format: Literal["jsonl", "csv"] = "jsonl",
        user_id: str | None = None,
        api_key_id: str | None = None,
        action: str | None = None,
        resource_type: str | None = None,
        resource_id: str | None = None,
        request_id: str | None = None,
        status: str | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Flow[int]:
        """Writes all entries that match to `file`, the oldest first. How many bytes that are."""
        query = _filters(user_id, api_key_id, action, resource_type, resource_id, request_id, status, since, until)
        request: Request[None] = Request("GET", "audit-logs/export", query={**query, "format": format}, timeout=_LONG)
        return _saved(request, file)

    @operation
    def verify(self) -> Request[AuditVerdict]:
        """Checks every entry of the tenant against the chain."""
        return Request("GET", "audit-logs/verify", timeout=_LONG)


def _saved(request: Request[None], file: IO[bytes]) -> Flow[int]:
    size = yield Download(request, file)
    if isinstance(size, OmiumError):
        raise size
    return int(size)


def _filters(
    user_id: str | None,
    api_key_id: str | None,
    action: str | None,
    resource_type: str | None,
    resource_id: str | None,
    request_id: str | None,
    status: str | None,
    since: str | None,
    until: str | None,
) -> dict[str, str | int | bool | None]:
    return {
        "user_id": user_id,
        "api_key_id": api_key_id,
        "action": action,
        "resource_type": resource_type,
        "resource_id": resource_id,
        "request_id": request_id,
        "status": status,
        "from": since,
        "to": until,
    }
