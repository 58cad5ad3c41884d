"""Fixtures of the gateway's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import pytest

from tests.gateway.support import Scene, running_scene
from tests.support.database import PostgresServer, Rows
from tests.support.model_server import ModelServer

MakeScene = Callable[..., AbstractContextManager[Scene]]


@pytest.fixture(scope="session")
def rows(postgres: PostgresServer) -> Iterator[Rows]:
    rows = Rows(postgres.url)
    yield rows
    rows.close()


@pytest.fixture(scope="module")
def _model_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def _scene(rows: Rows, _model_server: ModelServer, postgres: PostgresServer) -> Iterator[Scene]:
    with running_scene(rows, _model_server, postgres.url) as scene:
        yield scene


@pytest.fixture
def model(_model_server: ModelServer) -> ModelServer:
    """The model server of the module, as if it were new."""
    _model_server.set_script([])
    _model_server.log.clear()
    return _model_server


@pytest.fixture
def scene(model: ModelServer, _scene: Scene) -> Scene:
    """The gateway of the module; each test makes steps of its own."""
    return _scene


@pytest.fixture
def make_scene(rows: Rows, model: ModelServer, postgres: PostgresServer) -> MakeScene:
    """Starts a gateway with settings of one's own."""
    return partial(running_scene, rows, model, postgres.url)
