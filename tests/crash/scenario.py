"""One run that is steered in every way, by an operator who asks again until the answer is there.

The run is paused in its first step and resumed; its handoff is voted on and its approval given; when it has ended it is
rolled back behind two effects and runs to its end again; then it is forked from the same checkpoint, and the fork runs to
its end. Whatever dies meanwhile, the operator does the same, and the run comes to the same end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.crash import trips
from tests.support.model_log import Call
from tests.support.platform import Platform

Json = dict[str, Any]

#: Seconds until one wish must have come true, with every death that may come in between.
PATIENCE = 150.0
_PAUSE = 0.05


class Operator:
    """Steers one trip over REST. `began` hears the Temporal workflow id of each execution that starts."""

    def __init__(
        self, platform: Platform, framework: str, trip: str, folder: Path, began: Callable[[str], None]
    ) -> None:
        self._platform = platform
        self._framework = framework
        self._trip = trip
        self._began = began
        self.folder = folder
        self.execution_id = ""
        self.fork_id = ""

    def steer(self) -> None:
        """The whole scenario."""
        workflow_id = self._insist("register", "/workflows", trips.workflow(self._framework))["id"]
        given = {"inputs": trips.inputs(self._framework, self._trip)}
        started = self._insist("start", f"/workflows/{workflow_id}/execute", given)
        self.execution_id = started["execution_id"]
        self._tell(self.execution_id)
        self._pause_and_resume()
        self._attend(self.execution_id, lineage=0)
        planned = self._checkpoint()
        self._insist("rollback", f"/checkpoints/{planned}/rollback", {"reason": "Another hotel", "resume": True})
        self._attend(self.execution_id, lineage=1)
        forked = self._insist("fork", f"/executions/{self.execution_id}/fork", {"checkpoint_id": planned})
        self.fork_id = forked["execution"]["id"]
        self._tell(self.fork_id)
        self._attend(self.fork_id, lineage=0)

    def _pause_and_resume(self) -> None:
        """In the first step: its call is held until the pause is asked for."""
        self._until(lambda: any(call.state == "held" for call in self.calls()), "the planner asks its model")
        self._insist("pause", f"/executions/{self.execution_id}/pause")
        self._platform.model.release(self._trip)
        self._until(self._is_paused, "paused")
        self._insist("resume", f"/executions/{self.execution_id}/resume")
        self._until(lambda: not self._is_paused(), "resumed")

    def _is_paused(self) -> bool:
        execution = self.read(f"/executions/{self.execution_id}")
        return (execution["status"], execution["reason"]) == ("paused", "operator")

    def _attend(self, execution_id: str, *, lineage: int) -> None:
        """Votes and approves what the run asks for, until it has completed."""

        def completed() -> bool:
            execution = self.read(f"/executions/{execution_id}")
            assert execution["status"] in ("pending", "running", "paused", "completed", "rolled_back"), execution
            if execution["lineage"] == lineage and execution["status"] == "completed":
                return True
            self._vote(execution_id)
            self._approve(execution_id)
            return False

        self._until(completed, f"completed in lineage {lineage}")

    def _vote(self, execution_id: str) -> None:
        for entry in self.read(f"/executions/{execution_id}/consensus")["logs"]:
            if entry["status"] == "open" and not entry["acks"]:
                body = {"agent_id": trips.VOTER, "valid": True}
                self._insist(f"vote-{entry['id']}", f"/consensus/{entry['id']}/acknowledge", body)

    def _approve(self, execution_id: str) -> None:
        asked = self.read("/approvals", execution_id=execution_id, status="pending")["approvals"]
        for approval in asked:
            self._insist(f"approve-{approval['id']}", f"/approvals/{approval['id']}/approve")

    def _checkpoint(self) -> str:
        """The id of the checkpoint before the two effects."""
        found = self.read("/checkpoints", execution_id=self.execution_id)["checkpoints"]
        return next(str(row["id"]) for row in found if row["checkpoint_number"] == 1)

    def _tell(self, execution_id: str) -> None:
        self._began(self.read(f"/executions/{execution_id}")["temporal"]["workflow_id"])

    def calls(self) -> list[Call]:
        """What the model was asked for this trip, in order."""
        return [call for call in self._platform.model.calls if self._trip in str(call.body["messages"])]

    # Requests

    def read(self, path: str, **query: str) -> Json:
        """What a path answers, as soon as it can."""
        return self._patiently("GET", path, params=query)

    def _insist(self, wish: str, path: str, body: Json | None = None) -> Json:
        """Asks until it is taken; asked twice, it counts once."""
        return self._patiently("POST", path, json=body, headers={"Idempotency-Key": f"{self._trip}-{wish}"})

    def _patiently(self, method: str, path: str, **request: Any) -> Json:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = self._platform.http.request(method, path, **request)
            except httpx.TransportError as error:
                said = repr(error)
            else:
                if answer.status_code < 500:
                    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
                    told: Json = answer.json()
                    return told
                said = f"{answer.status_code} {answer.text}"
            assert time.monotonic() < deadline, f"{self._trip}: {method} {path} only says {said}"
            time.sleep(_PAUSE)

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                stands = self.read(f"/executions/{self.fork_id or self.execution_id}")
                raise AssertionError(f"{self._trip}: not within {PATIENCE:.0f} s: {what}; it stands so: {stands}")
            time.sleep(_PAUSE)
