"""Payloads of Temporal's histories for people: what the Web UI and the command line cannot open by themselves."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload

from activities.payload_codec import TenantPayloadCodec
from api.auth.principal import Principal
from api.schemas.codec import CodecPayload
from api.wiring import Wiring
from omium_core.errors import InvalidInput, Problem


class CodecService:
    """Opens and seals with the keys of the caller's tenant, and no others."""

    def __init__(self, process: Wiring) -> None:
        self._keys = process.database.keys

    async def decode(self, caller: Principal, payloads: Sequence[CodecPayload]) -> list[CodecPayload]:
        """What is not sealed, or is another tenant's, comes back as it is. Raises `InvalidInput`, `TenantErased`."""
        read = [_read(payload, f"payloads[{place}]") for place, payload in enumerate(payloads)]
        return [_written(payload) for payload in await self._codec(caller).decode(read)]

    async def encode(self, caller: Principal, payloads: Sequence[CodecPayload]) -> list[CodecPayload]:
        read = [_read(payload, f"payloads[{place}]") for place, payload in enumerate(payloads)]
        return [_written(payload) for payload in await self._codec(caller).encode(read)]

    def _codec(self, caller: Principal) -> TenantPayloadCodec:
        return TenantPayloadCodec(self._keys, caller.tenant_id)


def _read(payload: CodecPayload, path: str) -> Payload:
    metadata = {name: _bytes(text, f"{path}.metadata.{name}") for name, text in payload.metadata.items()}
    return Payload(metadata=metadata, data=_bytes(payload.data or "", f"{path}.data"))


def _bytes(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        problem = Problem(path, "Must be base64")
        raise InvalidInput(f"{path}: Must be base64.", [problem]) from None


def _written(payload: Payload) -> CodecPayload:
    return CodecPayload(
        metadata={name: base64.b64encode(value).decode() for name, value in payload.metadata.items()},
        data=base64.b64encode(payload.data).decode(),
    )
