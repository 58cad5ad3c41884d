"""The one activity that a step costs.

`run_step` loads the definition and the last checkpoint, lets the framework do one step behind the gateway, and leaves a
checkpoint. It may run more than once: a step that has its checkpoint returns it, a newer attempt fences off an older one,
and calls that were answered are answered from the journal. A step that needs a person or a vote says so instead, and runs
again when it has them.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import step_gates
from activities.adapters.base import (
    Adapter,
    BadDefinition,
    Interrupt,
    JsonObject,
    StaleAttempt,
    StepContext,
    StepError,
    StepResult,
    StepTimedOut,
    StorageUnavailable,
    Unaffordable,
)
from activities.adapters.flow.adapter import FlowAdapter
from activities.adapters.flow.definition import DEFINITION as FLOW
from activities.adapters.registry import definition_for
from activities.contracts import reading
from activities.contracts.evaluation import ApprovalWish, StepContract
from activities.frameworks import Frameworks
from activities.gateway.gateway import Gateway
from activities.gateway.identity import calling_as
from activities.gateway.session import StepSession
from activities.heartbeat import heartbeat, times_given_back
from activities.loops import LoopThread
from activities.questions import Questions
from activities.records import Begun, Records, StepDone
from activities.step_errors import agents_error, classify, for_history, full_text
from activities.step_gates import Gate, StepWork
from activities.stores.values import Stored, ValueStore
from models.repositories.journal import StepKey
from models.wire import HandoffWish, RunLimits, StepInput, StepOutcome

log = structlog.get_logger(__name__)


#: A worker that dies is no failure of the step, but a step that kills each worker it meets must end some time.
MOST_ATTEMPTS = 100
#: Seconds that calls which are under way get to end when their step cannot pay for another one.
LAST_CALLS = 300.0


class StepActivities:
    """The steps of one worker process, with what they work with."""

    def __init__(
        self,
        frameworks: Frameworks,
        gateway: Gateway,
        records: Records,
        questions: Questions,
        values: ValueStore,
        agents_loop: LoopThread,
    ) -> None:
        self._frameworks = frameworks
        self._gateway = gateway
        self._records = records
        self._questions = questions
        self._values = values
        self._agents_loop = agents_loop

    @activity.defn(name="run_step")
    async def run_step(self, step: StepInput) -> StepOutcome:
        """One step. Fails with the failure's type; retryable until the step failed as often as it may."""
        log.info("step started", execution_id=step.execution_id, step=step.step.name, index=step.step.index)
        if activity.info().attempt - times_given_back() > MOST_ATTEMPTS:
            raise ApplicationError(
                f"No worker could finish the step in {MOST_ATTEMPTS} attempts.",
                {"retryable": True},
                type="worker_lost",
                non_retryable=True,
            )
        async with heartbeat():
            try:
                begun = await self._begin(step)
            except Exception as error:
                failure = classify(error)
                raise ApplicationError(
                    for_history(failure), type=failure.failure_type, non_retryable=not failure.retryable
                ) from None
            if begun.outcome is not None:
                return begun.outcome
            limits = _limits(step, ())
            limit = asyncio.timeout(limits.step_timeout)
            work: StepWork | None = None
            try:
                async with limit:
                    work = await self.prepare(step, begun)
                    if work is None:
                        return await self._records.skip_step(step, begun.attempt)
                    limits = _limits(step, work.units)
                    limit.reschedule(asyncio.get_running_loop().time() + limits.step_timeout)
                    return await self._do(step, begun.attempt, work)
            except ApplicationError:
                # nothing failed: the step is to be run again with the answers that it has now
                raise
            except Exception as error:
                failure = classify(error)
                if isinstance(failure, Unaffordable):
                    return await self._park(step, begun.attempt, failure)
                if limit.expired():
                    failure = StepTimedOut(f"The step took longer than {limits.step_timeout:g} s.")
                raise await self._fail(step, begun.attempt, failure, limits, work) from None

    async def prepare(self, step: StepInput, begun: Begun) -> StepWork | None:
        """All that a step needs to run; None for a node of a flow that is skipped."""
        whole = await self._records.definition(step, self._values)
        half = definition_for(step.framework)
        definition = reading.bare(whole, step.framework)
        node = FLOW.contracts_for(whole, step.node, step.sources) if step.node else None
        steps = node.steps if node else reading.read(whole)
        stored = begun.inputs
        if (steps or node) and stored == Stored():
            stored = await self._records.inputs(step)
        inputs: JsonObject = await self._values.read(step.tenant_id, stored) or {}
        state = await self._state(step, definition, inputs)
        if state is None:
            return None
        work = StepWork(half, definition, state, inputs, steps, senders=step.senders)
        if node is not None:
            work.end = node.end
            if not step.checkpoint.blob:
                work.start, work.senders = node.start, node.senders
        if work.has_contracts or step.policy is not None:
            # names cost a look at the whole definition, which most steps need not have
            work.units = half.units(definition, state)
        if step.answered or begun.attempt > 1:
            work.answers = await self._questions.answers(step)
        return work

    async def _begin(self, step: StepInput) -> Begun:
        if step.prepared and activity.info().attempt == 1:
            return Begun(attempt=1, inputs=Stored())
        return await self._records.begin_step(step)

    async def _state(self, step: StepInput, definition: JsonObject, inputs: JsonObject) -> JsonObject | None:
        if step.checkpoint.blob:
            state: JsonObject = await self._values.get(step.tenant_id, step.checkpoint.blob)
            return state
        if step.node:
            ends = {node: await self._values.get(step.tenant_id, blob) for node, blob in step.sources.items()}
            wrapper = await asyncio.to_thread(FLOW.begin, definition, step.node, inputs, ends)
            adapter = await self._frameworks.adapter(step.framework)
            assert isinstance(adapter, FlowAdapter), "only flows have nodes"
            return None if wrapper is None else await adapter.prepare(definition, wrapper)
        return (await self._frameworks.adapter(step.framework)).start(definition, inputs)

    async def _do(self, step: StepInput, attempt: int, work: StepWork) -> StepOutcome:
        gate = await step_gates.before(work, step.committed)
        if gate:
            return await self._wait(step, attempt, gate)
        adapter = await self._frameworks.adapter(step.framework)
        session, result = await self._run(step, attempt, work, adapter)
        if result.interrupts:
            return await self._wait(step, attempt, Gate([_wish(interrupt) for interrupt in result.interrupts]))
        gate, result, contract = await step_gates.after(work, result, step.committed)
        if gate:
            return await self._wait(step, attempt, gate)
        done = await self._keep(step, session, result)
        if contract is not None:
            done = _with_contract(done, contract, work)
        if attempt > 1:
            await self._records.mark_used(step, attempt, session.answered)
        return await self._records.complete_step(step, attempt, done)

    async def _run(
        self, step: StepInput, attempt: int, work: StepWork, adapter: Adapter
    ) -> tuple[StepSession, StepResult]:
        decided = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(decided.set)

        key = StepKey(UUID(step.execution_id), step.lineage, step.step.index)
        with self._gateway.session(UUID(step.tenant_id), key, attempt, wake) as session:
            work.session = session
            context = StepContext(
                execution_id=step.execution_id,
                step_index=step.step.index,
                attempt=attempt,
                model=self._gateway.endpoint(session),
                tools=self._gateway.tools(session),
                answers=work.answers,
                external=self._gateway.external(session, _stop_asked),
            )
            with calling_as(session.token):
                running = self._agents_loop.run(adapter.run_step(work.definition, work.state, context))
                task = asyncio.create_task(running)
            return session, await _unless_decided(task, decided, session)

    async def _wait(self, step: StepInput, attempt: int, gate: Gate) -> StepOutcome:
        """The step is not done: what it waits for goes to the run."""
        if gate.handoff is not None:
            await self._records.wait(step, attempt)
            asked = gate.handoff
            wish = HandoffWish(asked.proposal, list(asked.votes), [validator.name for validator in asked.validators])
            return StepOutcome(checkpoint=step.checkpoint, handoff=wish)
        questions = await self._questions.ask(step, attempt, gate.questions)
        if not questions:
            # answered in the meantime; the next attempt reads it
            raise ApplicationError("The questions were answered.", type="answered", next_retry_delay=timedelta(0))
        return StepOutcome(checkpoint=step.checkpoint, questions=questions)

    async def _park(self, step: StepInput, attempt: int, lack: Unaffordable) -> StepOutcome:
        """The step stands before a call that cannot be paid for. Nothing failed; it is run again when it can be."""
        key = StepKey(UUID(step.execution_id), step.lineage, step.step.index)
        # other calls of the step are paid for already: their answers are kept for the next attempt
        await self._gateway.calls_ended(key, LAST_CALLS)
        try:
            await self._records.wait(step, attempt)
        except Exception as error:
            reason = classify(error)
            raise ApplicationError(for_history(reason), type=reason.failure_type) from None
        log.info("step waits", execution_id=step.execution_id, step=step.step.name, reason=lack.failure_type)
        return StepOutcome(
            checkpoint=step.checkpoint, parked=lack.failure_type, required=lack.required, budget_id=lack.budget_id
        )

    async def _keep(self, step: StepInput, session: StepSession, result: StepResult) -> StepDone:
        began = time.monotonic()
        try:
            blob = await self._values.put(step.tenant_id, result.state)
            overhead = time.monotonic() - began
            unit = await self._values.keep(step.tenant_id, result.unit)
            outputs = await self._values.keep(step.tenant_id, None if step.node else result.outputs)
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
            cost=session.cost,
            tool_failures=session.tool_failures,
            overhead_us=int(overhead * 1e6),
        )

    async def _fail(
        self, step: StepInput, attempt: int, error: StepError, limits: RunLimits, work: StepWork | None
    ) -> ApplicationError:
        """The error for Temporal. Only our own words go into history; what an agent said stays in the database."""
        told = for_history(error)
        if isinstance(error, (StaleAttempt, StorageUnavailable)):
            return ApplicationError(told, type=error.failure_type)
        try:
            failures = await self._records.fail_attempt(step, attempt, error.failure_type, full_text(error))
        except Exception as unwritten:
            # what could not be written may hold the agent's words, which are not for Temporal's history
            reason = classify(unwritten)
            return ApplicationError(for_history(reason), type=reason.failure_type)
        log.warning("step failed", execution_id=step.execution_id, step=step.step.name, failures=failures, error=told)
        if not error.retryable or failures >= limits.max_failures:
            redoable = error.retryable if error.redoable is None else error.redoable
            details = {
                "retryable": redoable,
                "units": list(work.units) if work else [],
                "severity": error.severity or "",
                "usage": _used(work),
            }
            return ApplicationError(told, details, type=error.failure_type, non_retryable=True)
        pause = min(limits.retry_initial * limits.retry_backoff ** (failures - 1), limits.retry_max)
        pause = max(pause, error.retry_after or 0.0)
        return ApplicationError(told, type=error.failure_type, next_retry_delay=timedelta(seconds=pause))


def _limits(step: StepInput, units: tuple[str, ...]) -> RunLimits:
    """The run's limits, as far as no policy says otherwise for what runs in this step."""
    limits, policy = step.limits, step.policy
    if policy is None:
        return limits
    timeout, retry = policy.timeout_of(units), policy.retry_of(units)
    if timeout is not None:
        limits = replace(limits, step_timeout=timeout)
    if retry is not None:
        limits = replace(
            limits,
            max_failures=retry.max_retries + 1,
            retry_initial=retry.initial_interval,
            retry_backoff=retry.backoff,
            retry_max=retry.max_interval,
        )
    return limits


def _used(work: StepWork | None) -> dict[str, int]:
    session = work.session if work is not None else None
    names = ("model_calls", "tool_calls", "tokens", "cost")
    return {name: getattr(session, name) for name in names} if session is not None else {}


def _stop_asked() -> bool:
    """Whether the run wants the step to stop. A worker that ends, or a step that takes too long, wants nothing of that kind."""
    details = activity.cancellation_details()
    return details is not None and details.cancel_requested


def _wish(interrupt: Interrupt) -> ApprovalWish:
    return ApprovalWish(interrupt.id, interrupt.title, interrupt.question)


def _with_contract(done: StepDone, contract: StepContract, work: StepWork) -> StepDone:
    return replace(
        done,
        checkpoint_name=contract.checkpoint_name,
        preconditions=contract.preconditions_json or None,
        postconditions=contract.postconditions_json or None,
        # only a handoff asks who came before
        units=contract.units if work.steps.handoffs else (),
    )


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
            raise agents_error(error, session) from error
    finally:
        waiting.cancel()
        if not work.done():
            work.cancel()
