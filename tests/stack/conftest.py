"""Stacks for the tests of the stack."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Stack, start_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests of a module that leave it running."""
    with start_stack(tmp_path_factory.mktemp("stack") / "data") as running:
        yield running
    forget_database(running)


def forget_database(stack: Stack) -> None:
    """Removes the database where it lies outside the test's own folder."""
    shutil.rmtree(Path(stack["postgres_data_dir"]), ignore_errors=True)
