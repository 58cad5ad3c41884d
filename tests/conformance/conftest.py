"""Runs the tests that take a `case` once for each case of the adapter."""

from __future__ import annotations

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames and metafunc.cls is not None:
        cases = getattr(metafunc.cls, "cases", ())
        metafunc.parametrize("case", cases, ids=[case.name for case in cases])
