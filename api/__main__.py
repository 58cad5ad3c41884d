"""The API process: `python -m api`."""

from __future__ import annotations

import asyncio
import sys

import uvicorn

from api.app import create_app
from api.server import server_options
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
    uvicorn.run(app, **server_options(settings))


if __name__ == "__main__":
    main()
