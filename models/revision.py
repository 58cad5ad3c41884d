"""Which schema is the newest, for those who ask without loading SQLAlchemy or Alembic."""

from __future__ import annotations

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"


def newest_revision() -> str:
    """The last migration in the tree, read from the file names (importing Alembic costs most of a second)."""
    return max(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]
