"""`client.executions`: runs, how they stand, and waiting for their end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from omium.calls import ClientT, Flow, Pause, Request, Resource, endpoint, fresh_key, operation
from omium.errors import ExecutionTimeout, OmiumAPIError, OmiumConnectionError, OmiumError
from omium.resources.checkpoints import rollback_request
from omium.types import TERMINAL_STATUSES, Costs, Execution, ExecutionEnvelope, ExecutionPage, LineageTree

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
        budget: float | None = None,
    ) -> Request[ExecutionEnvelope]:
        """Starts a run, like `workflows.execute`, and answers the run under `execution`."""
        body = {"workflow_id": workflow_id, "inputs": dict(inputs or {}), "metadata": metadata, "budget": budget}
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
    def pause(
        self,
        execution_id: str,
        reason: str | None = None,
        mode: str | None = None,
        idempotency_key: str | None = None,
    ) -> Request[ExecutionEnvelope]:
        """Lets the step in flight end and then stands still; `pause_requested` is true until it does.

        With the `mode` `hard` the step is cancelled and begins again at the resume.

        Raises:
            Conflict: the run has ended, or is paused already.
        """
        return _action(execution_id, "pause", idempotency_key, reason=reason, mode=mode)

    @operation
    def resume(self, execution_id: str, idempotency_key: str | None = None) -> Request[ExecutionEnvelope]:
        """Goes on after a pause or a rollback, from the last checkpoint.

        Raises:
            Conflict: the run is not paused.
        """
        return _action(execution_id, "resume", idempotency_key)

    @operation
    def cancel(
        self, execution_id: str, reason: str | None = None, idempotency_key: str | None = None
    ) -> Request[ExecutionEnvelope]:
        """Ends a run now, with the step in flight. It can be retried, rolled back or forked afterwards.

        Raises:
            Conflict: the run has ended already.
        """
        return _action(execution_id, "cancel", idempotency_key, reason=reason)

    @operation
    def fork(
        self,
        execution_id: str,
        checkpoint_id: str,
        edits: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        budget: float | None = None,
    ) -> Request[ExecutionEnvelope]:
        """Starts a new run from a checkpoint of this one, which stays as it is. Answers the new run under `execution`.

        `edits` as in `checkpoints.rollback`; `inputs` are laid over the run's inputs. `budget` is what it may spend, in
        credits, beside the budget of the run that it comes from.
        """
        return _action(
            execution_id,
            "fork",
            idempotency_key,
            checkpoint_id=checkpoint_id,
            edits=edits,
            inputs=inputs,
            metadata=metadata,
            budget=budget,
        )

    @operation
    def costs(self, execution_id: str) -> Request[Costs]:
        """What a run did cost by agent, step and model, and how much of that came to nothing."""
        return Request("GET", endpoint("executions", execution_id, "costs"))

    @operation
    def lineage(self, execution_id: str) -> Request[LineageTree]:
        """The history of a run as a tree: each rollback leaves a line behind, readable as it was, and begins the next."""
        return Request("GET", endpoint("executions", execution_id, "lineage"))

    @operation
    def restore_from_checkpoint(
        self,
        checkpoint_id: str,
        reason: str | None = None,
        edits: Mapping[str, Any] | None = None,
        confirm: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Flow[Execution]:
        """Rolls the run of a checkpoint back to it and goes on from there at once. Answers the run.

        Raises:
            Conflict: the run cannot go back, as where effects cannot be undone and `confirm` does not agree to that.
        """
        answer = yield rollback_request(
            checkpoint_id, reason=reason, edits=edits, resume=True, confirm=confirm, idempotency_key=idempotency_key
        )
        if isinstance(answer, OmiumError):
            raise answer
        execution = yield Request("GET", endpoint("executions", answer["execution"]["id"]))
        if isinstance(execution, OmiumError):
            raise execution
        return cast(Execution, execution)

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


def _action(execution_id: str, action: str, key: str | None, **body: Any) -> Request[ExecutionEnvelope]:
    """An action on a run, which is safe to repeat because it carries a key."""
    given = {name: value for name, value in body.items() if value is not None}
    path = endpoint("executions", execution_id, action)
    return Request("POST", path, body=given or None, idempotency_key=fresh_key(key))


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
