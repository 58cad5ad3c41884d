"""The double of the services, and the clients that talk to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.connections.doubles import Double, running_double


@pytest.fixture(scope="session")
def _double() -> Iterator[Double]:
    with running_double() as double:
        yield double


@pytest.fixture
def double(_double: Double) -> Double:
    """The services, as if they were new."""
    _double.reset()
    return _double
