"""The API in this process, as its own tests have it."""

from __future__ import annotations

from tests.api.conftest import app as app
from tests.api.conftest import as_caller as as_caller
from tests.api.conftest import database as database
from tests.api.conftest import http as http
from tests.api.conftest import key_of as key_of
from tests.api.conftest import settings as settings
from tests.api.conftest import tenant as tenant
