"""Tells Temporal that a worker lives: its silence is how a dead worker is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import activity


def times_given_back() -> int:
    """How often this activity was given back to Temporal before it began: attempts that were none (`workers.step_share`)."""
    details = activity.info().heartbeat_details
    return int(details[0]) if details else 0


@asynccontextmanager
async def heartbeat() -> AsyncIterator[None]:
    """Heartbeats for as long as the block runs. Needs an activity around it."""
    every = (activity.info().heartbeat_timeout or timedelta(seconds=3)).total_seconds() / 3

    # each heartbeat replaces what the one before told
    details = activity.info().heartbeat_details

    async def beat() -> None:
        while True:
            # a short activity ends before its first heartbeat, and spares the server a write
            await asyncio.sleep(every)
            activity.heartbeat(*details)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
