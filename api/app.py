"""Builds the API: `create_app(settings)`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from temporalio.client import Client

from activities.adapters.registry import definition_for
from activities.connections.book import Services
from activities.payload_codec import sealing_converter
from activities.payments.client import open_stripe
from activities.payments.starting import Starter
from activities.stores.encrypted import EncryptedStore
from activities.stores.factory import open_bytes
from activities.stores.values import ValueStore
from api import errors
from api.audit_trail import AuditWriter
from api.auth.authenticator import Authenticator
from api.auth.cookies import SessionCookies
from api.auth.keys import KeyAuthenticator
from api.auth.people_wiring import open_people
from api.described import describe_credentials
from api.limits.metering import Metering
from api.limits.requests import RequestLimits
from api.limits.windows import Windows
from api.middleware import Front
from api.refusals import describe_refusals
from api.routes import (
    analytics,
    api_keys,
    approvals,
    audit,
    auth,
    billing,
    billing_payments,
    budgets,
    checkpoints,
    codec,
    connections,
    consensus,
    costs,
    credentials,
    data_rights,
    executions,
    failures,
    frameworks,
    health,
    history,
    limits,
    members,
    notifications,
    policies,
    recovery,
    roles,
    schedules,
    sign_in,
    steering,
    stripe_events,
    temporal_ui,
    tenants,
    webhooks,
    workflows,
)
from api.temporal_ui.proxy import open_temporal_ui
from api.wiring import Wiring
from api.wording import describe_operations
from models.database import open_database
from omium_core.settings import FRAMEWORKS, Settings

PREFIX = "/api/v1"


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application. Connects when it starts, and lazily: it comes up while the database or Temporal is away.

    Raises `ConfigurationError` when the object store cannot be used.
    """

    # here and not when the server is up, so that a folder that cannot be used is told in a sentence
    objects = open_bytes(settings)
    windows = Windows(settings.rate_limit_store.get_secret_value())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = open_database(settings)
        temporal = await Client.connect(
            settings.temporal_address,
            namespace=settings.temporal_namespace,
            data_converter=sealing_converter(database.keys),
            lazy=True,
        )
        values = ValueStore(EncryptedStore(objects, database.keys), inline_bytes=settings.inline_bytes)
        metering = Metering(database, settings.usage_flush_interval)
        keys = KeyAuthenticator(database, settings.api_key_pepper.get_secret_value(), metering.key_used)
        people = open_people(settings, database)
        requests = RequestLimits(settings, database, metering, windows)
        external = Services(settings)
        stripe, events = open_stripe(settings), Starter(temporal)
        app.state.wiring = Wiring(
            settings, database, temporal, values, keys, metering, requests, people, external, stripe, events
        )
        app.state.authenticator = Authenticator(keys, people.authenticator)
        app.state.temporal_ui = open_temporal_ui(settings)
        app.state.audit = AuditWriter(database)
        for framework in FRAMEWORKS:
            # the first request must not pay for the imports
            definition_for(framework)
        if settings.ready_file is not None:
            settings.ready_file.touch()
        counting = asyncio.create_task(metering.run())
        yield
        counting.cancel()
        await metering.flush()
        await external.close()
        await events.close()
        if stripe is not None:
            await stripe.close()
        await app.state.audit.close()
        await people.mailroom.close()
        if app.state.temporal_ui is not None:
            await app.state.temporal_ui.close()
        await database.close()

    # FastAPI's own pages load their scripts from the internet; these do not
    app: FastAPI = FastAPIOffline(
        title="Omium",
        version="0.1.0",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.sessions = SessionCookies(settings)
    app.add_middleware(Front, settings=settings)
    errors.install(app)
    resources = (
        # routes are tried in this order: first what clients ask for again and again while they wait
        executions,
        auth,
        credentials,
        members,
        roles,
        tenants,
        workflows,
        steering,
        history,
        checkpoints,
        codec,
        approvals,
        consensus,
        failures,
        recovery,
        policies,
        connections,
        notifications,
        audit,
        data_rights,
        api_keys,
        limits,
        analytics,
        frameworks,
        schedules,
        # before the webhooks: their ids would take its path
        stripe_events,
        billing,
        costs,
        billing_payments,
        budgets,
        webhooks,
    )
    for resource in resources:
        app.include_router(resource.router, prefix=PREFIX)
    describe_operations(app, PREFIX + "/")
    describe_credentials(app, PREFIX + "/")
    describe_refusals(app, PREFIX + "/")
    app.include_router(sign_in.router)
    app.include_router(temporal_ui.router)
    app.include_router(auth.keys)
    app.include_router(auth.keys, prefix=PREFIX, include_in_schema=False)
    app.include_router(health.router)
    app.include_router(health.router, prefix=PREFIX, include_in_schema=False)
    return app
