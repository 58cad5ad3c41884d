"""`client.consensus`: handoffs between agents that are voted on."""

from __future__ import annotations

from omium.calls import ClientT, Request, Resource, endpoint, fresh_key, operation
from omium.types import Acknowledgement, Consensus


class ConsensusLogs(Resource[ClientT]):
    """A handoff commits when its quorum has agreed; until then the run waits."""

    @operation
    def get(
        self,
        execution_id: str,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[Consensus]:
        """The log of a run's handoffs with their votes, in its own order, and who leads now."""
        query = {"limit": limit, "cursor": cursor, "page": page, "per_page": per_page}
        return Request("GET", endpoint("executions", execution_id, "consensus"), query=query)

    @operation
    def acknowledge(
        self,
        log_id: str,
        agent_id: str,
        valid: bool = True,
        reason: str | None = None,
        term: int | None = None,
        payload_hash: str | None = None,
        idempotency_key: str | None = None,
    ) -> Request[Acknowledgement]:
        """Votes on a handoff in the name of a voter. Without `term` and `payload_hash` the present ones are meant.

        Raises:
            Conflict: the vote is over.
            InvalidInput: `agent_id` names nobody who has a vote.
        """
        body = {
            "agent_id": agent_id,
            "valid": valid,
            "reason": reason,
            "term": term,
            "payload_hash": payload_hash,
        }
        path = endpoint("consensus", log_id, "acknowledge")
        return Request("POST", path, body=body, idempotency_key=fresh_key(idempotency_key))
