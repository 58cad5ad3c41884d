"""`client.checkpoints`: the states that a run left behind."""

from __future__ import annotations

from omium.calls import ClientT, Request, Resource, endpoint, operation
from omium.types import Checkpoint, CheckpointData, CheckpointPage


class Checkpoints(Resource[ClientT]):
    """A checkpoint follows each step that was accepted."""

    @operation
    def list(
        self,
        execution_id: str,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[CheckpointPage]:
        """One page of the checkpoints of a run, without their states."""
        query = {
            "execution_id": execution_id,
            "limit": limit,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
        }
        return Request("GET", "checkpoints", query=query)

    @operation
    def get(self, checkpoint_id: str) -> Request[Checkpoint]:
        """Name, number, size and checksum of a checkpoint."""
        return Request("GET", endpoint("checkpoints", checkpoint_id))

    @operation
    def get_data(self, checkpoint_id: str, raw: bool = False) -> Request[CheckpointData]:
        """The state itself, under `state`: as people read it, or with `raw` as the framework keeps it."""
        return Request("GET", endpoint("checkpoints", checkpoint_id, "data"), query={"raw": raw or None})
