"""`client.data_rights`: a copy of what is stored, that it is forgotten, and for how long it is kept."""

from __future__ import annotations

from typing import IO

from omium.calls import ClientT, Download, Flow, Pause, Request, Resource, endpoint, operation
from omium.errors import OmiumError
from omium.types import DataExport, DataExportPage, Erasure, PersonErasure, RetentionDays

_EXPORTS = "tenant/exports"
#: A large export takes its time.
_LONG = 3600.0


class DataRights(Resource[ClientT]):
    """Exports and erasure of the tenant or of one of its people, and retention."""

    @operation
    def export(self, user_id: str | None = None) -> Request[DataExport]:
        """Begins an export of everything of the tenant, or of what it has of one person."""
        return Request("POST", _EXPORTS, body={"user_id": user_id})

    @operation
    def get_export(self, export_id: str) -> Request[DataExport]:
        """How far it is."""
        return Request("GET", endpoint("tenant", "exports", export_id))

    @operation
    def exports(
        self,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[DataExportPage]:
        """One page of exports, the newest first."""
        query = {"limit": limit, "cursor": cursor, "page": page, "per_page": per_page}
        return Request("GET", _EXPORTS, query=query)

    @operation
    def wait_for_export(self, export_id: str, every: float = 1.0) -> Flow[DataExport]:
        """Waits until it is ready, or has failed; looks `every` so many seconds."""
        while True:
            answer = yield Request("GET", endpoint("tenant", "exports", export_id))
            if isinstance(answer, OmiumError):
                raise answer
            export: DataExport = answer
            if export.get("status") not in ("pending", "running"):
                return export
            yield Pause(every)

    @operation
    def download_export(self, export_id: str, file: IO[bytes]) -> Flow[int]:
        """Writes the zip of an export that is ready to `file`. How many bytes that are."""
        path = endpoint("tenant", "exports", export_id, "download")
        size = yield Download(Request("GET", path, timeout=_LONG), file)
        if isinstance(size, OmiumError):
            raise size
        return int(size)

    @operation
    def erase_tenant(
        self, confirm: str, grace_days: float = 0, password: str | None = None, code: str | None = None
    ) -> Request[Erasure]:
        """Destroys everything of the tenant, for ever.

        Args:
            confirm: the tenant's slug.
            grace_days: for so long it can be taken back.
            password: of the person who is signed in, with the `code` where codes are asked for.
        """
        body = {"confirm": confirm, "grace_days": grace_days, "password": password, "code": code}
        return Request("POST", "tenant/erasure", body=body)

    @operation
    def erasure(self) -> Request[Erasure]:
        """The last one that was asked for."""
        return Request("GET", "tenant/erasure")

    @operation
    def cancel_erasure(self) -> Request[Erasure]:
        """Takes it back, in the time of grace."""
        return Request("DELETE", "tenant/erasure")

    @operation
    def erase_person(self, user_id: str) -> Request[PersonErasure]:
        """Removes a person, and replaces what tells who it was."""
        return Request("POST", endpoint("users", user_id, "erasure"))

    @operation
    def retention(self) -> Request[RetentionDays]:
        """For how many days things are kept."""
        return Request("GET", "tenant/retention")

    @operation
    def change_retention(
        self, checkpoint_days: int | None = None, trace_days: int | None = None, audit_days: int | None = None
    ) -> Request[RetentionDays]:
        """What is not given stays as it is."""
        body = {"checkpoint_days": checkpoint_days, "trace_days": trace_days, "audit_days": audit_days}
        return Request("PATCH", "tenant/retention", body=body)
