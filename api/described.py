"""The API's own description: how a key or a token is sent, told without a dependency that each request would pay for."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from api.auth.authenticator import is_open

_SCHEMES = {
    "APIKeyHeader": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "A key of `POST /api/v1/api-keys`: `omium_<environment>_<32 characters>`.",
    },
    "HTTPBearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token of `POST /api/v1/auth/login`, or an API key.",
    },
}


def describe_credentials(app: FastAPI, prefix: str) -> None:
    """The middleware asks for a credential beneath `prefix`; from here on the description says so."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        components = document.setdefault("components", {})
        if "securitySchemes" not in components:
            components["securitySchemes"] = _SCHEMES
            for path, operations in document["paths"].items():
                if path.startswith(prefix) and not is_open(path):
                    for operation in operations.values():
                        operation["security"] = [{name: []} for name in _SCHEMES]
        return document

    app.openapi = openapi  # type: ignore[method-assign]
