"""The master key in AWS KMS: keys of tenants are wrapped and unwrapped by the service, and the master key never leaves it."""

from __future__ import annotations

import asyncio
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from omium_core.errors import KeyUnavailable, Unavailable

_MARK = "kms:"
#: What KMS says of a wrapped key that it cannot open, now or later.
_REFUSALS = frozenset(
    {
        "AccessDeniedException",
        "DisabledException",
        "IncorrectKeyException",
        "InvalidCiphertextException",
        "KMSInvalidStateException",
        "NotFoundException",
        "ValidationException",
    }
)


class KmsKeys:
    """A `KeyWrapper` over one key of AWS KMS, named by its id, its ARN or an alias.

    Unwraps what any key of KMS wrapped that the process may use, so that `key_id` can be changed.
    """

    def __init__(self, key_id: str, *, region: str | None = None, endpoint_url: str | None = None) -> None:
        """Credentials come from where boto3 looks for them. Connects when it is first used."""
        self._key_id = key_id
        self._client: Any = boto3.client(
            "kms",
            region_name=region,
            endpoint_url=endpoint_url,
            config=Config(connect_timeout=3, read_timeout=5, retries={"max_attempts": 3, "mode": "standard"}),
        )

    async def wrap(self, key: bytes, context: bytes) -> tuple[str, bytes]:
        answer = await self._ask("encrypt", KeyId=self._key_id, Plaintext=key, EncryptionContext=_bound(context))
        return _named(answer["KeyId"]), answer["CiphertextBlob"]

    async def unwrap(self, master_id: str, wrapped: bytes, context: bytes) -> bytes:
        # which key it was is in the ciphertext
        answer = await self._ask("decrypt", CiphertextBlob=wrapped, EncryptionContext=_bound(context))
        if _named(answer["KeyId"]) != master_id:
            raise KeyUnavailable("A wrapped key is not of the master key that its row names.")
        key: bytes = answer["Plaintext"]
        return key

    def holds(self, master_id: str) -> bool:
        return master_id.startswith(_MARK)

    async def _ask(self, operation: str, **values: Any) -> Any:
        try:
            return await asyncio.to_thread(getattr(self._client, operation), **values)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _REFUSALS:
                raise KeyUnavailable(f"KMS refuses to {operation}: {code}.") from error
            raise Unavailable(f"KMS cannot {operation} now: {code or type(error).__name__}.") from error
        except BotoCoreError as error:
            raise Unavailable(f"KMS cannot be reached: {type(error).__name__}.") from error


def _bound(context: bytes) -> dict[str, str]:
    """The encryption context, which KMS binds to what it wraps and writes into its own audit trail."""
    return {"omium-tenant-key": context.hex()}


def _named(arn: str) -> str:
    """The id under which a key of KMS is known to us: short enough for its column, and the same for each of its names."""
    return _MARK + arn.rpartition("/")[2]
