"""What Temporal keeps is sealed with the key of the tenant whose workflow it is: inputs, results, signals, failures, notes.

The id of a workflow (of an activity, where there is no workflow) begins with its tenant, so the id says which key to use.
Names, ids, task queues and search attributes stay readable: Temporal works with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, Self
from uuid import UUID

import structlog
from cachetools import TTLCache
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from models.database import is_database_away
from omium_core.errors import KeyUnavailable
from omium_core.keyring import Cipher

log = structlog.get_logger(__name__)

ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
#: Workflows of the platform itself have ids that begin so. What they are told holds no tenant's content and stays readable.
PLATFORM = "platform"
#: While the database is away, keys that were read before are good for this many seconds.
_OUTAGE_SECONDS = 300.0
#: How long to wait for the database when a tenant's key was never read.
_PATIENCE_SECONDS = 60.0


class Keys(Protocol):
    """Where the ciphers of tenants come from: `models.keyring.TenantKeyring`."""

    async def cipher(self, tenant_id: UUID) -> Cipher: ...

    def forget(self, tenant_id: UUID) -> None: ...


def sealing_converter(keys: Keys) -> DataConverter:
    """What every client and worker of the platform converts values with."""
    return DataConverter(
        payload_codec=TenantPayloadCodec(keys),
        # messages and traces of failures are content too
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


def seal_payload(cipher: Cipher, payload: Payload) -> Payload:
    """A payload that tells nothing but the id of its key. What is sealed already stays as it is."""
    if is_sealed(payload):
        return payload
    metadata = {"encoding": ENCODING, KEY_ID: str(cipher.key_id).encode()}
    return Payload(metadata=metadata, data=cipher.seal(payload.SerializeToString()))


def open_payload(cipher: Cipher, payload: Payload) -> Payload:
    """The payload that was sealed. Raises `KeyUnavailable`: also for one of another tenant, and for what is no payload."""
    if payload.data[:1] != b"\x01":
        raise KeyUnavailable("A payload is marked as encrypted and is not.")
    return Payload.FromString(cipher.open(payload.data))


def is_sealed(payload: Payload) -> bool:
    return payload.metadata.get("encoding") == ENCODING


class TenantPayloadCodec(PayloadCodec, WithSerializationContext):
    """Seals and opens payloads with the key of the tenant that the context names.

    A payload that was never sealed, such as a signal from the `temporal` command line, passes. One that does not open stays
    sealed, and whoever reads it finds no value: to raise here would wedge a run for ever because of one bad signal.
    """

    def __init__(self, keys: Keys, owner: UUID | str | None = None) -> None:
        self._ciphers = keys if isinstance(keys, _Remembering) else _Remembering(keys)
        self._owner = owner

    def with_context(self, context: SerializationContext) -> Self:
        owner = _owner(_id_of(context))
        return self if owner == self._owner else type(self)(self._ciphers, owner)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises `ValueError` without a tenant: nothing may reach Temporal in the clear by an oversight."""
        if not payloads or self._owner == PLATFORM:
            return list(payloads)
        if not isinstance(self._owner, UUID):
            raise ValueError(
                "Temporal was to be sent a value under an id that names no tenant: ids begin with 'TENANT/' or 'platform/'."
            )
        cipher = await self._ciphers.cipher(self._owner)
        return [seal_payload(cipher, payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if not isinstance(self._owner, UUID):
            return list(payloads)
        return [await self._open(self._owner, payload) if is_sealed(payload) else payload for payload in payloads]

    async def _open(self, tenant_id: UUID, payload: Payload) -> Payload:
        cipher = await self._ciphers.cipher(tenant_id)
        if _key_of(payload) > cipher.key_id:
            # another process made this key after we had read ours
            self._ciphers.forget(tenant_id)
            cipher = await self._ciphers.cipher(tenant_id)
        try:
            return open_payload(cipher, payload)
        except (KeyUnavailable, ValueError) as error:
            log.warning("a payload stays sealed", tenant_id=str(tenant_id), reason=str(error))
            return payload


class _Remembering:
    """Keys that outlive an outage of the database: a run that needs nothing else of it goes on."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._last: TTLCache[UUID, Cipher] = TTLCache(maxsize=10_000, ttl=_OUTAGE_SECONDS)

    async def cipher(self, tenant_id: UUID) -> Cipher:
        try:
            cipher = await self._keys.cipher(tenant_id)
        except Exception as error:
            if not is_database_away(error):
                self._last.pop(tenant_id, None)
                raise
            known = self._last.get(tenant_id)
            return known or await self._patiently(tenant_id)
        if self._last.get(tenant_id) is not cipher:
            self._last[tenant_id] = cipher
        return cipher

    def forget(self, tenant_id: UUID) -> None:
        self._keys.forget(tenant_id)

    async def _patiently(self, tenant_id: UUID) -> Cipher:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(is_database_away),
            wait=wait_exponential_jitter(multiplier=0.05, max=1.0, jitter=0.1),
            stop=stop_after_delay(_PATIENCE_SECONDS),
            reraise=True,
        ):
            with attempt:
                return await self._keys.cipher(tenant_id)
        raise AssertionError("unreachable: the last attempt returns or raises")


def _id_of(context: SerializationContext) -> str | None:
    if isinstance(context, WorkflowSerializationContext):
        return context.workflow_id
    if isinstance(context, ActivitySerializationContext):
        # one that no workflow started goes by its own id
        return context.workflow_id or context.activity_id
    return None


@lru_cache(maxsize=10_000)
def _owner(name: str | None) -> UUID | str | None:
    """The tenant of an id, or `PLATFORM`; None when it tells neither."""
    first, slash, _ = (name or "").partition("/")
    if not slash:
        return None
    if first == PLATFORM:
        return PLATFORM
    try:
        return UUID(first)
    except ValueError:
        return None


def _key_of(payload: Payload) -> UUID:
    """The id of the key that the bytes name; ids of keys grow with time."""
    return UUID(bytes=payload.data[1:17]) if len(payload.data) > 16 else UUID(int=0)
