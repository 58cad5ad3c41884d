"""Stacks for the tests of the stack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stack import Stack, start_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests of a module that leave it running."""
    with start_stack(tmp_path_factory.mktemp("stack") / "data") as running:
        yield running
