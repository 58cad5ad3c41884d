"""A tenant, a receiver, and a worker of the light queue on a real database and a real Temporal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.notifications.receiver import Receiver, listening
from tests.support.light import app, database, http, settings, temporal, temporal_address, tenant, workflow_id

__all__ = ["app", "database", "http", "settings", "temporal", "temporal_address", "tenant", "workflow_id"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as receiver:
        yield receiver


@pytest.fixture
def another() -> Iterator[Receiver]:
    with listening() as receiver:
        yield receiver
