"""Builds the API: `create_app(settings)`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi_offline import FastAPIOffline
from temporalio.client import Client

from activities.adapters.registry import definition_for
from activities.payload_codec import sealing_converter
from activities.stores.factory import open_object_store
from activities.stores.values import ValueStore
from api import errors
from api.auth.keys import KeyAuthenticator
from api.middleware import Front
from api.routes import (
    approvals,
    checkpoints,
    consensus,
    executions,
    failures,
    frameworks,
    health,
    history,
    notifications,
    policies,
    recovery,
    steering,
    workflows,
)
from api.wiring import Wiring
from models.database import open_database
from omium_core.settings import FRAMEWORKS, Settings

PREFIX = "/api/v1"

# the middleware checks the key; these tell the API's description, and its pages, how one is sent
_SHOWN_IN_DOCS = [Security(APIKeyHeader(name="X-API-Key", auto_error=False)), Security(HTTPBearer(auto_error=False))]


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application. Connects when it starts, and lazily: it comes up while the database or Temporal is away.

    Raises `ConfigurationError` when the object store cannot be used.
    """

    # here and not when the server is up, so that a folder that cannot be used is told in a sentence
    objects = open_object_store(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = open_database(settings)
        temporal = await Client.connect(
            settings.temporal_address,
            namespace=settings.temporal_namespace,
            data_converter=sealing_converter(database.keys),
            lazy=True,
        )
        values = ValueStore(objects, inline_bytes=settings.inline_bytes)
        app.state.wiring = Wiring(settings, database, temporal, values)
        app.state.authenticator = KeyAuthenticator(database, settings.api_key_pepper.get_secret_value())
        for framework in FRAMEWORKS:
            # the first request must not pay for the imports
            definition_for(framework)
        if settings.ready_file is not None:
            settings.ready_file.touch()
        yield
        await database.close()

    # FastAPI's own pages load their scripts from the internet; these do not
    app: FastAPI = FastAPIOffline(
        title="Omium",
        version="0.1.0",
        description="Durable runs of AI agents: register a workflow, execute it, steer it, read its checkpoints.",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.add_middleware(Front, max_body_bytes=settings.max_body_bytes)
    errors.install(app)
    resources = (
        workflows,
        executions,
        steering,
        history,
        checkpoints,
        approvals,
        consensus,
        failures,
        recovery,
        policies,
        notifications,
        frameworks,
    )
    for resource in resources:
        app.include_router(resource.router, prefix=PREFIX, dependencies=_SHOWN_IN_DOCS)
    app.include_router(health.router)
    app.include_router(health.router, prefix=PREFIX, include_in_schema=False)
    return app
