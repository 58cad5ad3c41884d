"""Follows the histories of a run and of its fork while they are written, and counts their moments.

Events that are written together are one moment: nobody ever sees a history that ends between them. So a worker that was
killed at each moment was killed at every event.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.service import RPCError

#: What begins something new; all other events come with one of these. A signal is what an update becomes when no worker
#: answers in time, and comes with the same work.
_FIRST = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED,
        EventType.EVENT_TYPE_TIMER_FIRED,
    }
)
#: A workflow task that was begun and is begun again: its first beginning counts for nothing.
_LOST = frozenset({EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED, EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT})
_POLL = 0.02


class Follower:
    """Follows from a thread of its own, all Temporal runs of each workflow one after the other.

    `at(n)` is called when the n-th moment, from 1, is in a history. What a death repeats is not counted twice, so that a
    moment has the same number whatever died before.
    """

    def __init__(self, address: str, namespace: str, at: Callable[[int], None] = lambda _moment: None) -> None:
        self._address = address
        self._namespace = namespace
        self._at = at
        self._workflows: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="follower", daemon=True)
        #: The workflow tasks that have begun and not ended, by run.
        self._begun: set[str] = set()
        self.moments = 0

    def follow(self, workflow_id: str) -> None:
        """Begins with a workflow, besides those that are followed already."""
        self._workflows.put(workflow_id)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(60)

    async def _run(self) -> None:
        client = await Client.connect(self._address, namespace=self._namespace)
        following: list[asyncio.Task[None]] = []
        while not self._stopping.is_set():
            while not self._workflows.empty():
                following.append(asyncio.create_task(self._follow(client, self._workflows.get())))
            await asyncio.sleep(_POLL)
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)

    async def _follow(self, client: Client, workflow_id: str) -> None:
        seen: dict[str, int] = {}
        current = ""
        while True:
            try:
                newest = (await client.get_workflow_handle(workflow_id).describe()).run_id
                if newest != current:
                    current = newest
                    await self._read(client, workflow_id, current, seen)
            except RPCError:
                # the server is away, or about to know the workflow
                current = ""
            await asyncio.sleep(_POLL)

    async def _read(self, client: Client, workflow_id: str, run_id: str, seen: dict[str, int]) -> None:
        """Reads on until the run has closed."""
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.event_id <= seen.get(run_id, 0):
                continue
            seen[run_id] = event.event_id
            await self._take(run_id, event.event_type)

    async def _take(self, run_id: str, kind: EventType.ValueType) -> None:
        if kind in _LOST and run_id in self._begun:
            self.moments -= 1
        if kind == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            self._begun.add(run_id)
        elif kind in _LOST or kind == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            self._begun.discard(run_id)
        if kind in _FIRST:
            self.moments += 1
            await asyncio.to_thread(self._at, self.moments)
