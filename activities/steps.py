"""The one activity that a step costs, and the one that ends a run which no step could end.

`run_step` loads the definition and the last checkpoint, lets the framework do one step behind the gateway, and leaves a
checkpoint. It may run more than once: a step that has its checkpoint returns it, a newer attempt fences off an older one,
and calls that were answered are answered from the journal.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.adapters.base import (
    Adapter,
    BadDefinition,
    JsonObject,
    ModelRejected,
    StaleAttempt,
    StepContext,
    StepError,
    StepResult,
    StepTimedOut,
    StorageUnavailable,
    ToolFailed,
)
from activities.failures import advice
from activities.frameworks import Frameworks
from activities.gateway.gateway import Gateway
from activities.gateway.identity import calling_as
from activities.gateway.session import StepSession
from activities.loops import LoopThread
from activities.records import Begun, Records, StepDone
from activities.stores.base import ObjectStoreUnavailable
from activities.stores.values import Stored, ValueStore
from models.database import is_database_away
from models.repositories.journal import StepKey
from models.wire import FinishInput, StepInput, StepOutcome
from omium_core.errors import CheckpointCorrupted

log = structlog.get_logger(__name__)

#: The longest text of an error that is kept with a step.
ERROR_LENGTH = 4000


class StepActivities:
    """The activities of one worker process, with what they work with."""

    def __init__(
        self, frameworks: Frameworks, gateway: Gateway, records: Records, values: ValueStore, agents_loop: LoopThread
    ) -> None:
        self._frameworks = frameworks
        self._gateway = gateway
        self._records = records
        self._values = values
        self._agents_loop = agents_loop

    @activity.defn(name="run_step")
    async def run_step(self, step: StepInput) -> StepOutcome:
        """One step. Fails with the failure's type; retryable until the step failed `limits.max_failures` times."""
        log.info("step started", execution_id=step.execution_id, step=step.step.name, index=step.step.index)
        async with _heartbeat():
            try:
                begun = await self._begin(step)
            except Exception as error:
                failure = _classify(error)
                raise ApplicationError(
                    _for_history(failure), type=failure.failure_type, non_retryable=not failure.retryable
                ) from None
            if begun.outcome is not None:
                return begun.outcome
            attempt = begun.attempt
            limit = asyncio.timeout(step.limits.step_timeout)
            try:
                async with limit:
                    done = await self._do(step, begun)
                return await self._records.complete_step(step, attempt, done)
            except Exception as error:
                failure = _classify(error)
                if limit.expired():
                    failure = StepTimedOut(f"The step took longer than {step.limits.step_timeout:.0f} s.")
                raise await self._fail(step, attempt, failure) from None

    @activity.defn(name="finish_run")
    async def finish_run(self, end: FinishInput) -> None:
        """Records the end of a run that failed or was cancelled."""
        meaning = advice(end.failure_type)
        async with _heartbeat():
            await self._records.finish(end, meaning.suggestion, meaning.severity)

    async def _begin(self, step: StepInput) -> Begun:
        if step.prepared and activity.info().attempt == 1:
            return Begun(attempt=1, inputs=Stored())
        return await self._records.begin_step(step)

    async def _do(self, step: StepInput, begun: Begun) -> StepDone:
        definition = await self._records.definition(step)
        adapter = await self._frameworks.adapter(step.framework)
        state = await self._state(step, begun, adapter, definition)
        decided = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(decided.set)

        key = StepKey(UUID(step.execution_id), step.lineage, step.step.index)
        with self._gateway.session(UUID(step.tenant_id), key, begun.attempt, wake) as session:
            context = StepContext(
                execution_id=step.execution_id,
                step_index=step.step.index,
                attempt=begun.attempt,
                model=self._gateway.endpoint(session),
                tools=self._gateway.tools(session),
            )
            with calling_as(session.token):
                work = asyncio.create_task(self._agents_loop.run(adapter.run_step(definition, state, context)))
            result = await _unless_decided(work, decided, session)
            return await self._keep(step, session, result)

    async def _state(self, step: StepInput, begun: Begun, adapter: Adapter, definition: JsonObject) -> JsonObject:
        if step.checkpoint.blob:
            state: JsonObject = await self._values.get(step.tenant_id, step.checkpoint.blob)
            return state
        value = await self._values.read(step.tenant_id, begun.inputs)
        return adapter.start(definition, value or {})

    async def _keep(self, step: StepInput, session: StepSession, result: StepResult) -> StepDone:
        try:
            blob = await self._values.put(step.tenant_id, result.state)
            unit = await self._values.keep(step.tenant_id, result.unit)
            outputs = await self._values.keep(step.tenant_id, result.outputs)
        except (TypeError, ValueError) as error:
            raise BadDefinition(f"The state after the step cannot be stored as JSON: {error}") from error
        return StepDone(
            blob=blob.key,
            size=blob.size,
            unit=unit.inline if unit.blob is None else {"blob": unit.blob},
            next_step=result.next_step,
            outputs=outputs.inline,
            outputs_blob=outputs.blob,
            model_calls=session.model_calls,
            tool_calls=session.tool_calls,
            tokens=session.tokens,
        )

    async def _fail(self, step: StepInput, attempt: int, error: StepError) -> ApplicationError:
        """The error for Temporal. Only our own words go into history; what an agent said stays in the database."""
        told = _for_history(error)
        if isinstance(error, (StaleAttempt, StorageUnavailable)):
            return ApplicationError(told, type=error.failure_type)
        try:
            failures = await self._records.fail_attempt(step, attempt, error.failure_type, _full_text(error))
        except Exception as unwritten:
            # what could not be written may hold the agent's words, which are not for Temporal's history
            reason = _classify(unwritten)
            return ApplicationError(_for_history(reason), type=reason.failure_type)
        log.warning("step failed", execution_id=step.execution_id, step=step.step.name, failures=failures, error=told)
        if not error.retryable or failures >= step.limits.max_failures:
            return ApplicationError(told, type=error.failure_type, non_retryable=True)
        pause = min(step.limits.retry_initial * 2 ** (failures - 1), step.limits.retry_max)
        pause = max(pause, error.retry_after or 0.0)
        return ApplicationError(told, type=error.failure_type, next_retry_delay=timedelta(seconds=pause))


class AgentFailed(StepError):
    """The agent's own code raised; the cause holds what."""


class ToolInvocationFailed(StepError):
    failure_type = "tool_invocation"


def _classify(error: Exception) -> StepError:
    """The failure's type, for what our own side raised; what agents raise is sorted by `_agents_error`."""
    if isinstance(error, StepError):
        return error
    if isinstance(error, CheckpointCorrupted):
        return BadDefinition(f"The checkpoint cannot be read: {error.message}")
    if is_database_away(error) or isinstance(error, ObjectStoreUnavailable):
        return StorageUnavailable("The database or the object store cannot be reached.")
    log.error("step failed in the platform itself", exc_info=error)
    return StepError(f"{type(error).__name__} in the platform; the worker's log has the details.")


def _agents_error(error: Exception, session: StepSession) -> StepError:
    """The failure's type, for what the framework, the agent or a tool raised."""
    if session.rejection is not None and (isinstance(error, ModelRejected) or _is_from_endpoint(error)):
        # the gateway's words name the endpoint
        return session.rejection
    if isinstance(error, StepError):
        return error
    if isinstance(error, ToolFailed):
        return ToolInvocationFailed(f"A tool failed: {error}")
    return AgentFailed(f"{type(error).__name__} in the agent's code.")


def _is_from_endpoint(error: BaseException | None) -> bool:
    """Whether a refusal by the endpoint is what the framework wrapped; an agent may also have coped with one before."""
    while error is not None:
        if isinstance(getattr(error, "status_code", None), int):
            return True
        error = error.__cause__ or error.__context__
    return False


def _for_history(error: StepError) -> str:
    """The part of a message that is ours: what an endpoint, a tool or a library said follows a colon."""
    return str(error).partition(": ")[0][:500]


def _full_text(error: StepError) -> str:
    cause = error.__cause__
    if isinstance(error, AgentFailed) and cause is not None:
        return _storable("".join(traceback.format_exception(cause)))[-ERROR_LENGTH:]
    return _storable(str(error))[:ERROR_LENGTH]


def _storable(text: str) -> str:
    """Without what PostgreSQL's text cannot hold: NUL, and halves of surrogate pairs."""
    return text.replace("\x00", "").encode(errors="replace").decode()


async def _unless_decided(work: asyncio.Task[StepResult], decided: asyncio.Event, session: StepSession) -> StepResult:
    """The step's result, unless the gateway decided the step's outcome: then this is raised and the step stopped."""
    waiting = asyncio.create_task(decided.wait())
    try:
        await asyncio.wait((work, waiting), return_when=asyncio.FIRST_COMPLETED)
        if session.outcome is not None:
            raise session.outcome
        try:
            return work.result()
        except Exception as error:
            raise _agents_error(error, session) from error
    finally:
        waiting.cancel()
        if not work.done():
            work.cancel()


@asynccontextmanager
async def _heartbeat() -> AsyncIterator[None]:
    """Tells Temporal that the worker lives: its silence is how a dead worker is noticed."""
    every = (activity.info().heartbeat_timeout or timedelta(seconds=3)).total_seconds() / 3

    async def beat() -> None:
        while True:
            # a short step ends before its first heartbeat, and spares the server a write
            await asyncio.sleep(every)
            activity.heartbeat()

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
