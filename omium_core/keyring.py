"""Keys that protect what tenants store: a master key wraps one data key per tenant and version; data keys seal values.

A sealed value tells which key opens it: a kind byte, the id of the key, a nonce, the ciphertext (AES-256-GCM, bound to the
tenant). Values of older keys still open; destroying all keys of a tenant makes everything it stored unreadable at once,
wherever copies of it lie.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from omium_core.errors import ConfigurationError, KeyUnavailable

KEY_BYTES = 32
_NONCE_BYTES = 12
_SEALED, _PLAIN = b"\x01", b"\x00"
_ID_BYTES = 16
# characters as they are: two halves of a pair, escaped one after the other, would come back as one character
_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False)


class KeyWrapper(Protocol):
    """What holds the master key: the settings, or a key management service. `context` is bound to what is wrapped.

    Every master key has an id, which lies beside what it wrapped.
    """

    async def wrap(self, key: bytes, context: bytes) -> tuple[str, bytes]:
        """The id of the master key that was used, and the wrapped key. Raises `Unavailable` when it cannot be reached."""

    async def unwrap(self, master_id: str, wrapped: bytes, context: bytes) -> bytes:
        """The key; raises `KeyUnavailable`."""

    def holds(self, master_id: str) -> bool:
        """Whether a key that this master key wrapped can be unwrapped here, as far as the id tells."""


class MasterKeys:
    """Master keys from a file or the environment: the first wraps, all unwrap, so that they can be rotated."""

    def __init__(self, text: str) -> None:
        """`text` is one or more keys of 32 bytes in base64, separated by commas or white space; `ConfigurationError`."""
        keys = [_decoded(part) for part in text.replace(",", " ").split()]
        if not keys:
            raise ConfigurationError("The master key is empty: it must be 32 random bytes in base64.")
        self._keys = {hashlib.sha256(b"omium-master" + key).hexdigest()[:16]: AESGCM(key) for key in keys}

    @property
    def current(self) -> str:
        return next(iter(self._keys))

    async def wrap(self, key: bytes, context: bytes) -> tuple[str, bytes]:
        nonce = os.urandom(_NONCE_BYTES)
        return self.current, nonce + self._keys[self.current].encrypt(nonce, key, context)

    async def unwrap(self, master_id: str, wrapped: bytes, context: bytes) -> bytes:
        key = self._keys.get(master_id)
        if key is None:
            raise KeyUnavailable("A key was wrapped by a master key that this process does not have.")
        try:
            return key.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
        except InvalidTag as error:
            raise KeyUnavailable("A wrapped key is damaged, or belongs to another tenant.") from error

    def holds(self, master_id: str) -> bool:
        return master_id in self._keys


class Wrappers:
    """Several holders of master keys: the first wraps, each unwraps its own, so that one can take over from another."""

    def __init__(self, first: KeyWrapper, *others: KeyWrapper) -> None:
        self._all = (first, *others)

    async def wrap(self, key: bytes, context: bytes) -> tuple[str, bytes]:
        return await self._all[0].wrap(key, context)

    async def unwrap(self, master_id: str, wrapped: bytes, context: bytes) -> bytes:
        for wrapper in self._all:
            if wrapper.holds(master_id):
                return await wrapper.unwrap(master_id, wrapped, context)
        raise KeyUnavailable("A key was wrapped by a master key that this process does not have.")

    def holds(self, master_id: str) -> bool:
        return any(wrapper.holds(master_id) for wrapper in self._all)


def new_master_key() -> str:
    """A fresh master key, as settings take it."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def _decoded(part: str) -> bytes:
    try:
        key = base64.b64decode(part, altchars=b"-_" if {"-", "_"} & set(part) else None, validate=True)
    except ValueError as error:
        raise ConfigurationError("A master key is not valid base64.") from error
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"A master key has {len(key)} bytes: it must be {KEY_BYTES} random bytes in base64.")
    return key


@dataclass(frozen=True)
class DataKey:
    """One version of a tenant's key."""

    id: UUID
    secret: bytes


class Cipher:
    """Seals and opens the values of one tenant. Immutable; opens what any of its keys sealed."""

    def __init__(self, tenant_id: UUID, current: DataKey, older: tuple[DataKey, ...] = ()) -> None:
        self.tenant_id = tenant_id
        self.key_id = current.id
        keys = (current, *older)
        self._ciphers: Mapping[bytes, AESGCM] = {key.id.bytes: AESGCM(_derived(key.secret, b"data")) for key in keys}
        self._head = _SEALED + current.id.bytes
        self._sealing = self._ciphers[current.id.bytes]
        self._bound = tenant_id.bytes
        self._keys = keys

    def seal(self, data: bytes, context: bytes = b"") -> bytes:
        """`context` says what the value is (the name of an object): it opens with the same one only."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._head + nonce + self._sealing.encrypt(nonce, data, self._bound + context)

    def open(self, sealed: bytes, context: bytes = b"") -> bytes:
        """What was sealed. Raises `KeyUnavailable` when the key is gone or the bytes are not whole.

        What was written before values were sealed is marked as plain, and is read as it is.
        """
        if sealed[:1] == _PLAIN:
            return sealed[1:]
        start, end = 1 + _ID_BYTES, 1 + _ID_BYTES + _NONCE_BYTES
        cipher = self._ciphers.get(sealed[1:start])
        if sealed[:1] != _SEALED or cipher is None:
            raise KeyUnavailable("The key that sealed a value is not among the tenant's keys.")
        try:
            return cipher.decrypt(sealed[start:end], sealed[end:], self._bound + context)
        except (InvalidTag, ValueError) as error:
            # a value that was cut off has no whole nonce
            raise KeyUnavailable("A sealed value is damaged, or belongs to another tenant.") from error

    def seal_json(self, value: Any) -> bytes:
        return self.seal(_JSON.encode(value).encode(errors="surrogatepass"))

    def open_json(self, sealed: bytes) -> Any:
        return json.loads(self.open(sealed))

    @property
    def head(self) -> bytes:
        """What everything begins with that the present key seals."""
        return self._head

    def is_current(self, sealed: bytes) -> bool:
        """Whether the present key sealed this."""
        return sealed.startswith(self._head)

    def seal_token(self, token: str) -> str:
        """A secret of a connection, as a Fernet token."""
        return self._fernet().encrypt(token.encode()).decode()

    def open_token(self, sealed: str) -> str:
        try:
            return self._fernet().decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise KeyUnavailable("A connection's token cannot be opened: its key is gone.") from error

    def reseal_token(self, sealed: str) -> str:
        """The same secret as a token of the present key."""
        return self.seal_token(self.open_token(sealed))

    def is_current_token(self, sealed: str) -> bool:
        """Whether the present key made this token."""
        try:
            Fernet(_fernet_key(self._keys[0])).decrypt(sealed.encode())
        except InvalidToken:
            return False
        return True

    def _fernet(self) -> MultiFernet:
        return MultiFernet([Fernet(_fernet_key(key)) for key in self._keys])


def _fernet_key(key: DataKey) -> bytes:
    return base64.urlsafe_b64encode(_derived(key.secret, b"fernet"))


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"omium-" + purpose).derive(secret)
