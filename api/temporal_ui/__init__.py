"""Temporal's Web UI under the API's own origin: what a tenant may see of it, and how it is fetched."""
