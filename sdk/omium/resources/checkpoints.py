"""`client.checkpoints`: the states that a run left behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omium.calls import ClientT, Request, Resource, endpoint, fresh_key, operation
from omium.types import (
    Checkpoint,
    CheckpointData,
    CheckpointEnvelope,
    CheckpointPage,
    RollbackEnvelope,
    RollbackPlan,
)


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
        kind: str | None = None,
        lineage: int | None = None,
    ) -> Request[CheckpointPage]:
        """One page of the checkpoints of a run, without their states. `kind` is step, named or base."""
        query = {
            "execution_id": execution_id,
            "kind": kind,
            "lineage": lineage,
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

    @operation
    def create(
        self,
        execution_id: str,
        checkpoint_name: str,
        state: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        agent_id: str | None = None,
    ) -> Request[CheckpointEnvelope]:
        """Gives the state that a run stands on a name. With `state`, as `get_data(raw=True)` shows one, stores that.

        Raises:
            Conflict: the name is taken, or the run has no checkpoint yet.
        """
        body = {
            "execution_id": execution_id,
            "checkpoint_name": checkpoint_name,
            "state": state,
            "metadata": metadata,
            "agent_id": agent_id,
        }
        return Request("POST", "checkpoints", body=body)

    @operation
    def rollback(
        self,
        checkpoint_id: str,
        reason: str | None = None,
        trigger_type: str | None = None,
        edits: Mapping[str, Any] | None = None,
        resume: bool | None = None,
        confirm: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Request[RollbackEnvelope]:
        """Takes a run back to a checkpoint: undoes the effects after it, and waits, or goes on at once with `resume`.

        Works on running, paused and ended runs. What happened stays readable (`executions.lineage`).

        Args:
            edits: what changes, as `{"prompts": {"writer": "..."}, "models": {}, "values": {}, "inputs": {}}`.
            confirm: agrees that effects which cannot be undone stay.

        Raises:
            Conflict: `ROLLBACK_BLOCKED`, with the plan under `details`, where something cannot be undone.
            InvalidInput: `problems` names the edits that do not fit.
        """
        return rollback_request(
            checkpoint_id,
            reason=reason,
            trigger_type=trigger_type,
            edits=edits,
            resume=resume,
            confirm=confirm,
            idempotency_key=idempotency_key,
        )

    @operation
    def plan_rollback(self, checkpoint_id: str, edits: Mapping[str, Any] | None = None) -> Request[RollbackPlan]:
        """What a rollback would do: what is undone, what cannot be, which approvals fall, what was spent. Changes nothing."""
        body = {"dry_run": True, "edits": edits}
        return Request("POST", endpoint("checkpoints", checkpoint_id, "rollback"), body=body)

    @operation
    def delete(self, checkpoint_id: str) -> Request[None]:
        """Nothing leads back to it any more; what came after it still stands.

        Raises:
            Conflict: a run stands on it.
        """
        return Request("DELETE", endpoint("checkpoints", checkpoint_id))


def rollback_request(checkpoint_id: str, *, idempotency_key: str | None, **body: Any) -> Request[RollbackEnvelope]:
    """The request of a rollback, which is safe to repeat because it carries a key."""
    return Request(
        "POST",
        endpoint("checkpoints", checkpoint_id, "rollback"),
        body=body,
        idempotency_key=fresh_key(idempotency_key),
    )
