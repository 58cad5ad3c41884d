"""Connections to Temporal, made when a process starts."""

from __future__ import annotations

import structlog
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.service import RPCError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from omium_core.errors import Unavailable
from omium_core.settings import Settings

log = structlog.get_logger(__name__)


async def connect_temporal(settings: Settings, converter: DataConverter, *, patience: float = 60.0) -> Client:
    """A client, when the server answers; waits for it up to `patience` seconds, then raises `Unavailable`.

    The converter is that of `activities.payload_codec`: without it, what is sent would lie in Temporal in the clear.
    """
    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((RuntimeError, RPCError)),
            wait=wait_exponential_jitter(multiplier=0.05, max=1.0, jitter=0.05),
            stop=stop_after_delay(patience),
            reraise=True,
        ):
            with attempt:
                return await Client.connect(
                    settings.temporal_address, namespace=settings.temporal_namespace, data_converter=converter
                )
    except (RuntimeError, RPCError) as error:
        raise Unavailable(
            f"Temporal at {settings.temporal_address} (OMIUM_TEMPORAL_ADDRESS) did not answer within {patience:.0f} s."
        ) from error
    raise AssertionError("unreachable: the last attempt returns or raises")
