"""`client.executions`: runs, how they stand, and waiting for their end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from omium.calls import ClientT, Flow, Pause, Request, Resource, endpoint, fresh_key, operation
from omium.errors import ExecutionTimeout, OmiumAPIError, OmiumConnectionError, OmiumError
from omium.types import TERMINAL_STATUSES, Execution, ExecutionEnvelope, ExecutionPage

#: Seconds between the first two looks at a run: short ones are over soon. Grows up to `poll_interval`.
FIRST_LOOK = 0.1
GROWTH = 1.5
#: One look never takes longer than this, so that a hanging connection is noticed.
LOOK_TIMEOUT = 10.0


class Executions(Resource[ClientT]):
    """Runs of workflows."""

    @operation
    def create(
        self,
        workflow_id: str,
        inputs: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Request[ExecutionEnvelope]:
        """Starts a run, like `workflows.execute`, and answers the run under `execution`."""
        body = {"workflow_id": workflow_id, "inputs": dict(inputs or {}), "metadata": metadata}
        return Request("POST", "executions", body=body, idempotency_key=fresh_key(idempotency_key))

    @operation
    def list(
        self,
        status: str | None = None,
        workflow_id: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
        framework: str | None = None,
    ) -> Request[ExecutionPage]:
        """One page of runs, the newest first: by `limit` and the last `next_cursor`, or by `page` and `per_page`."""
        query = {
            "status": status,
            "workflow_id": workflow_id,
            "limit": limit,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
            "framework": framework,
        }
        return Request("GET", "executions", query=query)

    @operation
    def get(self, execution_id: str) -> Request[Execution]:
        """How a run stands: status, progress, steps, result."""
        return Request("GET", endpoint("executions", execution_id))

    @operation
    def retry(self, execution_id: str, idempotency_key: str | None = None) -> Request[ExecutionEnvelope]:
        """Takes up a failed run again from its last checkpoint.

        Raises:
            Conflict: the run is not in a state to be taken up again.
        """
        path = endpoint("executions", execution_id, "retry")
        return Request("POST", path, idempotency_key=fresh_key(idempotency_key))

    @operation
    def wait_for_completion(
        self,
        execution_id: str,
        timeout: float | None = 300,
        poll_interval: float = 1.0,
        on_change: Callable[[Execution], object] | None = None,
        on_outage: Callable[[OmiumError], object] | None = None,
    ) -> Flow[Execution]:
        """Waits until a run has ended, whatever its end: completed, failed, cancelled or rolled back. Check `status`.

        An API that is away for a while is waited for too.

        Args:
            timeout: seconds; None waits for ever.
            poll_interval: the longest pause between two looks, in seconds.
            on_change: called with the run each time it has moved, the first and the last time included.
            on_outage: called with the error each time the API could not be asked.

        Raises:
            ExecutionTimeout: the run had not ended in time; it goes on.
            NotFound: there is no such run.
        """
        path = endpoint("executions", execution_id)
        deadline = None if timeout is None else time.monotonic() + timeout
        seen: Execution | None = None
        outage: OmiumError | None = None
        pause = min(FIRST_LOOK, poll_interval)
        while True:
            # the time of one look is bounded by what is left, but is never so short that no answer could come
            look = min(LOOK_TIMEOUT, max(1.0, _left(deadline)))
            answer = yield Request("GET", path, timeout=look, retry=False)
            if isinstance(answer, OmiumError):
                if not _passes(answer):
                    raise answer
                outage = answer
                if on_outage:
                    on_outage(answer)
            else:
                execution, outage = cast(Execution, answer), None
                if on_change and (seen is None or _standing(execution) != _standing(seen)):
                    on_change(execution)
                seen = execution
                if execution.get("status") in TERMINAL_STATUSES:
                    return execution
            left = _left(deadline)
            if left <= 0:
                raise ExecutionTimeout(_timeout_message(execution_id, timeout, seen, outage), execution_id, seen)
            yield Pause(min(pause, left))
            pause = min(pause * GROWTH, poll_interval)


def _left(deadline: float | None) -> float:
    return float("inf") if deadline is None else deadline - time.monotonic()


def _passes(error: OmiumError) -> bool:
    """Whether an error may be over soon: nobody there, too busy, or broken on the server's side."""
    if isinstance(error, OmiumAPIError):
        return error.status_code >= 500 or error.status_code == 429
    return isinstance(error, OmiumConnectionError)


def _standing(execution: Execution) -> dict[str, Any]:
    """A run without its clocks, which move although nothing happens."""
    standing = {name: value for name, value in execution.items() if name != "duration_ms"}
    agents = execution.get("agents") or []
    standing["agents"] = [{name: value for name, value in agent.items() if name != "duration_ms"} for agent in agents]
    return standing


def _timeout_message(
    execution_id: str, timeout: float | None, seen: Execution | None, outage: OmiumError | None
) -> str:
    if outage is not None:
        state = f"the API does not answer: {outage}"
    else:
        state = f"it is {seen.get('status') if seen else 'unknown'} and goes on."
    return f"Execution {execution_id} had not ended after {timeout:g} s; {state}"
