"""Names of the tools that come with the platform. Imports nothing, so that the API can judge definitions with it."""

from __future__ import annotations

BUILTIN_TOOLS = frozenset({"calculator", "http_request", "json_query"})
