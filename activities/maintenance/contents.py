"""What an export holds: which tables, which columns of them, and how a row becomes a line.

Everything of a tenant is in it but what would let its holder act as somebody: hashes of keys, tokens and passwords, secrets of
connections and receivers, keys. A column is left out by name, so that one that is added later is not forgotten.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import zstandard
from pydantic_core import to_jsonable_python
from sqlalchemy import Column, ColumnElement, String, Table, Uuid, false, or_

from models.tables import Table as Base

#: Tables of a tenant that are the platform's own bookkeeping.
LEFT_OUT = frozenset({"tenant_keys", "audit_pending", "audit_chain", "unreferenced_objects"})
#: Columns that would let whoever has the export act as somebody.
SECRET = re.compile(
    r"(?:key|token|state|previous)_hash|.*(?:secret|password).*|salt|wrapped_key|bearer_token.*|recovery_codes|mfa_.*"
)
#: Columns that name a person beside foreign keys to `users`.
_OF_PERSON = frozenset({"user_id", "created_by", "requested_by_user", "subject_user_id"})


def tables() -> list[Table]:
    """The tables of an export, in an order in which what is referred to comes first."""
    return [table for table in Base.metadata.sorted_tables if _belongs_to_tenant(table)]


def table_named(name: str) -> Table:
    found: Table = Base.metadata.tables[name]
    return found


def _belongs_to_tenant(table: Table) -> bool:
    return table.name == "tenants" or ("tenant_id" in table.c and table.name not in LEFT_OUT)


def columns(table: Table) -> list[ColumnElement[Any]]:
    return [column for column in table.c if not SECRET.fullmatch(column.name)]


def cursor(table: Table) -> Column[Any] | None:
    """By what the rows of a table are read in their order: an id, or the number of an entry, of which each tenant counts its own."""
    return table.c.number if table.name == "ledger_entries" else table.c.get("id")


def of_tenant(table: Table, tenant_id: UUID) -> ColumnElement[bool]:
    return table.c.id == tenant_id if table.name == "tenants" else table.c.tenant_id == tenant_id


def of_person(table: Table, user_id: UUID) -> ColumnElement[bool]:
    """The rows of a table that are about a person, or were made by it; none where a table knows no people."""
    if table.name == "users":
        return table.c.id == user_id
    named = [
        column == user_id
        for column in table.c
        if isinstance(column.type, Uuid)
        and (column.name in _OF_PERSON or any(key.column.table.name == "users" for key in column.foreign_keys))
    ]
    if "answered_by" in table.c and isinstance(table.c.answered_by.type, String):
        named.append(table.c.answered_by == f"user:{user_id}")
    return or_(*named) if named else false()


def line(table: Table, row: Sequence[Any]) -> dict[str, Any]:
    """A row as JSON; bytes in base64, answers of models and tools as the text that they are."""
    shown: dict[str, Any] = {}
    for column, value in zip(columns(table), row, strict=True):
        if isinstance(value, (bytes, memoryview)):
            shown[column.name] = _bytes(table.name, column.name, bytes(value))
        else:
            shown[column.name] = to_jsonable_python(value, fallback=str)
    return shown


def blobs(table: Table, shown: dict[str, Any]) -> list[str]:
    """The hashes of what a row keeps in the object store."""
    names = [column.name for column in table.c if is_blob(column.name)]
    return [str(shown[name]) for name in names if shown.get(name)]


def is_blob(column: str) -> bool:
    """Whether a column holds the hash of something in the object store."""
    return column == "checksum" or column.endswith("_blob")


def _bytes(table: str, column: str, value: bytes) -> Any:
    if (table, column) == ("call_journal", "answer"):
        try:
            return zstandard.decompress(value).decode()
        except (zstandard.ZstdError, UnicodeDecodeError):
            return {"base64": base64.b64encode(value).decode()}
    return {"base64": base64.b64encode(value).decode()}
