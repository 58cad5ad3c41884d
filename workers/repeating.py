"""What workers do again and again beside runs, and what becomes of its errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog
from temporalio.service import RPCError

from models.database import is_database_away

log = structlog.get_logger(__name__)

#: Seconds until work is tried again that failed for a fault of ours.
AFTER_A_FAULT = 30.0


async def repeat(
    work: Callable[[], Awaitable[None]], *, every: float, waits: str, passing: type[Exception] = RPCError
) -> NoReturn:
    """Does the work for ever, `every` so many seconds. What goes wrong ends no run: it is logged, and tried again.

    `waits` says in the log what has to wait. A database or a Temporal (`passing`) that is away is no fault.
    """
    while True:
        pause = every
        try:
            await work()
        except Exception as error:
            if is_database_away(error) or isinstance(error, (RPCError, passing)):
                log.warning("work has to wait", what=waits, error=str(error))
            else:
                log.exception("work has to wait", what=waits)
                pause = max(every, AFTER_A_FAULT)
        await asyncio.sleep(pause)
