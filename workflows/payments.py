"""Works off events of Stripe, one workflow each, and asks Stripe once a day what was missed.

An event is applied from its own payload, so neither needs the other, and each can be done again at any time.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from omium_core import temporal

_PATIENT = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
#: What fails so often, for hours, is a fault of ours: the event is set aside for people to look at.
_GIVES_UP = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=10), maximum_attempts=30
)
_HEARTBEAT = timedelta(seconds=15)


@workflow.defn(name=temporal.STRIPE_EVENT_WORKFLOW)
class StripeEvent:
    @workflow.run
    async def run(self, event_id: str) -> str:
        """Empty when the event is done, else why it was refused."""
        try:
            refused: str = await workflow.execute_activity(
                "apply_stripe_event",
                event_id,
                result_type=str,
                start_to_close_timeout=timedelta(minutes=2),
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_GIVES_UP,
            )
        except ActivityError:
            await workflow.execute_activity(
                "refuse_stripe_event",
                event_id,
                start_to_close_timeout=timedelta(minutes=2),
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_PATIENT,
            )
            raise
        return refused


@workflow.defn(name=temporal.STRIPE_RECONCILIATION_WORKFLOW)
class StripeReconciliation:
    @workflow.run
    async def run(self) -> dict[str, int]:
        """How much was found, by kind."""
        found: dict[str, int] = await workflow.execute_activity(
            "reconcile_stripe",
            result_type=dict[str, int],
            start_to_close_timeout=timedelta(hours=6),
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_GIVES_UP,
        )
        return found
