"""The API in this process, as its own tests have it, and a sealer that works when it is told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from activities.maintenance.sealing import Sealer
from activities.stores.file import FileStore
from models.database import Database
from omium_core.settings import Settings
from tests.api.conftest import app as app
from tests.api.conftest import as_caller as as_caller
from tests.api.conftest import database as database
from tests.api.conftest import http as http
from tests.api.conftest import key_of as key_of
from tests.api.conftest import settings as settings
from tests.api.conftest import tenant as tenant


@pytest.fixture
def objects(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "anchors")


@pytest.fixture
def sealer(database: Database, settings: Settings, objects: FileStore) -> Sealer:
    return Sealer(database, settings, objects)
