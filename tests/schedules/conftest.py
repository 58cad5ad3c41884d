"""A tenant with a workflow, on a real database and a real Temporal."""

from tests.support.light import app, database, http, settings, temporal, temporal_address, tenant, workflow_id

__all__ = ["app", "database", "http", "settings", "temporal", "temporal_address", "tenant", "workflow_id"]
