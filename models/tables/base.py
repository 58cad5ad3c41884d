"""What all tables share: ids that sort by time, times with a zone, JSON columns, names for constraints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, MetaData
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(SQLModel):
    """Base of every table."""

    metadata = MetaData(naming_convention=NAMING)


def new_id() -> UUID:
    """A UUIDv7: rows made later sort later, so ids serve as cursors."""
    return uuid7()


def now() -> datetime:
    return datetime.now(UTC)


def id_field() -> Any:
    return Field(default_factory=new_id, primary_key=True)


def time_field() -> Any:
    """A time that is set when the row is made."""
    return Field(default_factory=now, sa_type=DateTime(timezone=True), nullable=False)


def optional_time_field() -> Any:
    return Field(default=None, sa_type=DateTime(timezone=True), nullable=True)


def json_field(*, as_written: bool = False, **options: Any) -> Any:
    """A JSONB column; None is stored as SQL NULL.

    JSONB sorts the keys of objects. `as_written` keeps them in order, for documents whose order means something.
    """
    if "default_factory" not in options:
        options.setdefault("default", None)
        options.setdefault("nullable", True)
    kind = JSON(none_as_null=True) if as_written else JSONB(none_as_null=True)
    return Field(sa_type=kind, **options)
