"""Limits of tenants: requests, quotas of a month, and executions that wait for their turn."""
