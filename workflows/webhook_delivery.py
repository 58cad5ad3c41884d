"""Sends what one webhook endpoint is to be told, for as long as something waits: now, or after a pause that the rows say.

One for each endpoint, so that one that hangs keeps no other waiting. `wake` says that there is something new; what nobody
says is found by the workers, which wake it too.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from models.wire_webhooks import Endpoint, Sent
    from omium_core import temporal

_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60))
#: A round of sending takes half a minute at most, and one request more.
_ROUND = timedelta(minutes=5)
_HEARTBEAT = timedelta(seconds=30)


@workflow.defn(name=temporal.WEBHOOK_WORKFLOW)
class WebhookDelivery:
    def __init__(self) -> None:
        self._woken = True

    @workflow.signal(description="something is to be sent")
    def wake(self) -> None:
        self._woken = True

    @workflow.run
    async def run(self, endpoint: Endpoint) -> None:
        while True:
            self._woken = False
            sent = await workflow.execute_activity(
                "deliver_webhooks",
                endpoint,
                result_type=Sent,
                start_to_close_timeout=_ROUND,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_RETRIES,
            )
            if sent.next_in < 0 and not self._woken:
                return
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(endpoint)
            if sent.next_in > 0 and not self._woken:
                await self._pause(sent.next_in)

    async def _pause(self, seconds: float) -> None:
        try:
            await workflow.wait_condition(lambda: self._woken, timeout=seconds)
        except TimeoutError:
            return
