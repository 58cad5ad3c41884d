"""What one API process holds: made once at start, given to the use cases of each request."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.client import Client

from activities.connections.book import Services
from activities.payments.client import StripeApi
from activities.payments.starting import Starter
from activities.stores.values import ValueStore
from api.auth.keys import KeyAuthenticator
from api.auth.people_wiring import People
from api.limits.metering import Metering
from api.limits.requests import RequestLimits
from models.database import Database
from omium_core.settings import Settings


@dataclass(frozen=True)
class Wiring:
    settings: Settings
    database: Database
    temporal: Client
    values: ValueStore
    authenticator: KeyAuthenticator
    metering: Metering
    limits: RequestLimits
    people: People
    external: Services
    #: None where there is no key of Stripe.
    stripe: StripeApi | None
    events: Starter
