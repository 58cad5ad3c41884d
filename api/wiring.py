"""What one API process holds: made once at start, given to the use cases of each request."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.client import Client

from activities.stores.values import ValueStore
from models.database import Database
from omium_core.settings import Settings


@dataclass(frozen=True)
class Wiring:
    settings: Settings
    database: Database
    temporal: Client
    values: ValueStore
