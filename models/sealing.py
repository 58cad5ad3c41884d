"""Columns whose values are sealed with the key of the tenant whose transaction it is.

`Database.transaction(tenant_id)` says which tenant: its cipher is bound for the time of the block, as its rows are. A value
that is written or read outside such a block is an error, never a plain text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Column, Dialect, LargeBinary
from sqlalchemy.types import TypeDecorator

from omium_core.keyring import Cipher

_bound: ContextVar[Cipher | None] = ContextVar("omium_cipher", default=None)


@contextmanager
def sealed_with(cipher: Cipher) -> Iterator[None]:
    """Inside the block, sealed columns are written and read with this cipher."""
    token = _bound.set(cipher)
    try:
        yield
    finally:
        _bound.reset(token)


def _cipher() -> Cipher:
    cipher = _bound.get()
    if cipher is None:
        raise LookupError("sealed values are read and written inside Database.transaction(tenant_id) only")
    return cipher


class SealedJson(TypeDecorator[Any]):
    """JSON data, sealed; the order of keys stays. None is SQL NULL."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        return None if value is None else _cipher().seal_json(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        return None if value is None else _cipher().open_json(value)


class SealedText(TypeDecorator[str]):
    """A text, sealed. None is SQL NULL. Takes any text, also what PostgreSQL's own type refuses."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else _cipher().seal(value.encode(errors="surrogatepass"))

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        return None if value is None else _cipher().open(value).decode(errors="surrogatepass")


class SealedBytes(TypeDecorator[bytes]):
    """Bytes, sealed. None is SQL NULL."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        return None if value is None else _cipher().seal(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        return None if value is None else _cipher().open(value)


#: `info` of a column whose texts are Fernet tokens of the tenant's cipher (`Cipher.seal_token`).
TOKEN = {"sealed": "token"}


def is_token(column: Column[Any]) -> bool:
    """Whether a column holds tokens that `Cipher.seal_token` made."""
    return column.info.get("sealed") == TOKEN["sealed"]
