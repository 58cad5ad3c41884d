"""What all tables share: ids that sort by time, times with a zone, columns of JSON and of what is sealed, names for constraints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

from models.sealing import SealedJson, SealedText

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


def json_field(**options: Any) -> Any:
    """A JSONB column, readable for the database; None is stored as SQL NULL."""
    return _json(JSONB(none_as_null=True), options)


def sealed_json(**options: Any) -> Any:
    """A column of JSON that only the tenant's key opens; None is stored as SQL NULL. The order of keys stays."""
    return _json(SealedJson, options)


def sealed_text(**options: Any) -> Any:
    """A column of text that only the tenant's key opens."""
    return Field(sa_type=SealedText, **options)


def _json(kind: Any, options: dict[str, Any]) -> Any:
    if "default_factory" not in options:
        options.setdefault("default", None)
        options.setdefault("nullable", True)
    return Field(sa_type=kind, **options)
