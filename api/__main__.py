"""The API process: `python -m api`."""

from __future__ import annotations

import asyncio
import sys

import uvicorn

from api.app import create_app
from models.startup import check_settings
from omium_core.errors import ConfigurationError
from omium_core.logging import configure_logging
from omium_core.settings import load_settings


def main() -> None:
    try:
        settings = load_settings()
        configure_logging(settings, service="api")
        app = create_app(settings)
        asyncio.run(check_settings(settings))
    except ConfigurationError as error:
        sys.exit(f"omium api: {error.message}")
    uvicorn.run(
        app,
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        # longer than clients and proxies keep an idle connection: whoever closes first must not be the one that is asked
        timeout_keep_alive=75,
        server_header=False,
        # which proxies are believed is a setting of ours (api/proxies.py); the server would believe any on this machine
        proxy_headers=False,
    )


if __name__ == "__main__":
    main()
