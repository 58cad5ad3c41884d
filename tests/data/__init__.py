"""The data on a real PostgreSQL: migrations, the statements of a step, repositories and their tenants."""
