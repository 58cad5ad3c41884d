"""The API in this process, and runs as they are after days of work, written straight into the database."""

from __future__ import annotations

from tests.api.conftest import app, as_caller, database, http, key_of, settings, tenant

__all__ = ["app", "as_caller", "database", "http", "key_of", "settings", "tenant"]
