"""Client of Omium, the platform for durable AI agent runs.

`tool` marks functions that agents may call.
`OmiumClient` blocks, `AsyncOmiumClient` is its twin for asyncio; both have the same resources and methods. Names are
loaded when first used, so that the command line starts quickly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omium.client import AsyncOmiumClient, OmiumClient
    from omium.errors import (
        AuthenticationError,
        ConfigurationError,
        Conflict,
        ExecutionTimeout,
        InvalidArgument,
        InvalidInput,
        NotFound,
        OmiumAPIError,
        OmiumConnectionError,
        OmiumError,
    )
    from omium.tools import tool

__all__ = [
    "AsyncOmiumClient",
    "AuthenticationError",
    "ConfigurationError",
    "Conflict",
    "ExecutionTimeout",
    "InvalidArgument",
    "InvalidInput",
    "NotFound",
    "OmiumAPIError",
    "OmiumClient",
    "OmiumConnectionError",
    "OmiumError",
    "__version__",
    "tool",
]

_HOMES = {"AsyncOmiumClient": "omium.client", "OmiumClient": "omium.client", "tool": "omium.tools"}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("omium")
    if name in __all__:
        value: object = getattr(import_module(_HOMES.get(name, "omium.errors")), name)
        return value
    raise AttributeError(f"module 'omium' has no attribute {name!r}")
