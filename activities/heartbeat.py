"""Tells Temporal that a worker lives: its silence is how a dead worker is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import activity


@asynccontextmanager
async def heartbeat() -> AsyncIterator[None]:
    """Heartbeats for as long as the block runs. Needs an activity around it."""
    every = (activity.info().heartbeat_timeout or timedelta(seconds=3)).total_seconds() / 3

    async def beat() -> None:
        while True:
            # a short activity ends before its first heartbeat, and spares the server a write
            await asyncio.sleep(every)
            activity.heartbeat()

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
