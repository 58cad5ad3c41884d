"""One adapter for the tests of a module, and a model server for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from activities.adapters.base import Adapter
from activities.adapters.registry import load_adapter
from omium_core.settings import Settings
from tests.support.model_server import ModelServer


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return load_adapter("semantic_kernel", Settings(), tmp_path_factory.mktemp("scratch"))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server
