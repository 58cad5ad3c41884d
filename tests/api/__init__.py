"""The API over HTTP, beyond what the end-to-end tests see: tenants, permissions, errors."""
