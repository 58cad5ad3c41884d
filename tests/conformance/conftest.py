"""Runs the tests that take a `case` once for each case of the adapter, those that take an `asking` case for these."""

from __future__ import annotations

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, attribute in (("case", "cases"), ("asking", "asking_cases")):
        if name in metafunc.fixturenames and metafunc.cls is not None:
            cases = getattr(metafunc.cls, attribute, ())
            metafunc.parametrize(name, cases, ids=[case.name for case in cases])
