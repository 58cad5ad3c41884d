"""One platform, on which all scenarios are run once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.platform import Platform, running_platform
from tests.workflows.scenarios import SERVED, Recorded, record


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(tmp_path_factory.mktemp("workflows") / "data", env=SERVED) as platform:
        yield platform


@pytest.fixture(scope="package")
def runs(platform: Platform) -> dict[str, Recorded]:
    """The scenarios' runs, by name."""
    return record(platform)
