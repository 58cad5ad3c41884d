"""Payloads of Temporal's histories, sealed and opened outside a worker."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from google.protobuf.json_format import MessageToDict, ParseDict
from temporalio.api.common.v1 import Payload

from activities.payload_codec import is_sealed, open_payload, seal_payload
from models.database import Database
from omium_core.keyring import Cipher, DataKey, MasterKeys
from tests.support.stack import Stack
from workers.local.datadir import DataDir


class KnownKeys:
    """Ciphers that were read before; what a codec needs where no database is."""

    def __init__(self, ciphers: Iterable[Cipher]) -> None:
        self._ciphers = {cipher.tenant_id: cipher for cipher in ciphers}

    async def cipher(self, tenant_id: UUID) -> Cipher:
        return self._ciphers[tenant_id]

    def forget(self, tenant_id: UUID) -> None:
        """They stay as they are."""


class StackKeys:
    """The keys of a stack's tenants, for any event loop: each tenant's are read once, over a connection of their own."""

    def __init__(self, stack: Stack) -> None:
        self._url = stack["database_url"].replace("postgresql://", "postgresql+asyncpg://") + "?ssl=disable"
        self._master = DataDir(stack.data_dir).load_secrets().master_key
        self._known: dict[UUID, Cipher] = {}

    async def cipher(self, tenant_id: UUID) -> Cipher:
        if tenant_id not in self._known:
            database = Database(self._url, MasterKeys(self._master), pool_size=1)
            self._known[tenant_id] = await database.keys.cipher(tenant_id)
            await database.close()
        return self._known[tenant_id]

    def forget(self, tenant_id: UUID) -> None:
        self._known.pop(tenant_id, None)


def a_cipher(tenant_id: UUID, number: int = 1) -> Cipher:
    """A cipher that is the same in every test run."""
    return Cipher(tenant_id, DataKey(UUID(int=number), bytes([number]) * 32))


def sealed(part: Any, cipher: Cipher) -> Any:
    """A history as JSON, with all payloads sealed but the search attributes."""
    return _payloads(part, lambda payload: seal_payload(cipher, payload))


def opened(part: Any, cipher: Cipher) -> Any:
    """A history as JSON, with all payloads opened."""
    return _payloads(part, lambda payload: open_payload(cipher, payload) if is_sealed(payload) else payload)


def _payloads(part: Any, change: Callable[[Payload], Payload]) -> Any:
    if isinstance(part, list):
        return [_payloads(item, change) for item in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("metadata"), dict) and "encoding" in part["metadata"]:
        return MessageToDict(change(ParseDict(part, Payload())))
    return {name: value if name == "searchAttributes" else _payloads(value, change) for name, value in part.items()}


def encoding_of(payload: dict[str, Any]) -> str:
    """How a payload says that its bytes are to be read."""
    return base64.b64decode(payload["metadata"]["encoding"]).decode()
