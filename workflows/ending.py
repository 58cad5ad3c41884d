"""How a run ends: well, cancelled, failed, or before it began."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from models.wire import Branch, CheckpointRef, RunResult
    from workflows.calls import Calls, reason_of

#: How long a run that was started for one command waits for it.
HOLD_PATIENCE = timedelta(seconds=30)


class Ending:
    """The part of a run that closes it, once nobody waits for an answer from it."""

    _calls: Calls
    _lineage: int
    _done: int
    _seen: list[str]
    _failing: Branch | None
    _end_recorded: bool
    _closing: bool
    _ended: bool

    async def _stand_still(self) -> None:
        raise NotImplementedError

    def _last(self) -> CheckpointRef:
        raise NotImplementedError

    def _set(self, state: str, reason: str = "", note: str = "") -> None:
        raise NotImplementedError

    async def _accepted(self, command_id: str) -> bool:
        """Whether the command came for which the run was started."""
        try:
            await workflow.wait_condition(
                lambda: command_id in self._seen, timeout=HOLD_PATIENCE, timeout_summary="hold"
            )
        except TimeoutError:
            return False
        return True

    def _made_it(self) -> bool:
        """Whether the last step had ended before anybody could stop it: its checkpoint says that the run completed."""
        return self._end_recorded

    async def _cancelled(self, reason: str, actor: str) -> RunResult:
        self._closing = True
        await self._calls.finish("cancelled", self._lineage, note=reason, actor=actor)
        return await self._end("cancelled")

    async def _end_badly(self, error: BaseException) -> None:
        """Records the failure or the cancellation. The workflow then ends as Temporal's own, so that its lists are true."""
        self._closing = True
        await self._stand_still()
        cancelled = is_cancelled_exception(error)
        state, reason = ("cancelled", None) if cancelled else ("failed", reason_of(error))
        self._set(state, note=reason.message if reason else "")
        step = self._failing.step if self._failing is not None else None
        await self._calls.finish(state, self._lineage, step, reason)
        self._ended = True
        await workflow.wait_condition(workflow.all_handlers_finished)

    async def _end(self, state: str) -> RunResult:
        self._closing = self._ended = True
        self._set(state)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return RunResult(status=state, steps=self._done, checkpoint=self._last())
