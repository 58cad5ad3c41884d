"""What the workflows that keep an installation in order are told, and tell.

Standard library only, like `models.wire`. Their histories stay readable (their ids begin with `platform/`), so there are ids
and numbers in here, and no content of any tenant.
"""

# no `from __future__ import annotations` here: annotations that are text make decoding three times as slow
from dataclasses import dataclass, field


@dataclass
class ExportInput:
    """An export of everything of a tenant, or with `user_id` of one of its people. Kept for `keep_seconds` once ready."""

    tenant_id: str
    request_id: str
    user_id: str = ""
    keep_seconds: float = 7 * 86400.0


@dataclass
class PartInput:
    """The next part of one table. `offset` counts its rows so far, `after` is the id of the last one where rows have ids.

    `before` counts the rows of the tables before it.
    """

    export: ExportInput
    table: str
    number: int = 0
    after: str = ""
    offset: int = 0
    before: int = 0


@dataclass
class PartDone:
    """Where the next part begins. `rows` were written; `done` when the table has no more."""

    rows: int = 0
    after: str = ""
    offset: int = 0
    done: bool = True


@dataclass
class ExportEnd:
    """How an export ended: `error` is a code, empty when it is ready."""

    export: ExportInput
    error: str = ""


@dataclass
class ErasureInput:
    """The erasure of a tenant, after a time in which it can be taken back."""

    tenant_id: str
    request_id: str
    grace_seconds: float = 0.0


@dataclass
class RetentionInput:
    """Where a run of retention is: after the tenant of this id. `removed` counts what is gone, by kind."""

    after: str = ""
    removed: dict[str, int] = field(default_factory=dict)


@dataclass
class TenantBatch:
    """The next tenants, and whether there are more."""

    tenants: list[str] = field(default_factory=list)
    more: bool = False


@dataclass
class Removed:
    """What was removed, by kind."""

    counts: dict[str, int] = field(default_factory=dict)
