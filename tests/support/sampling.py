"""Exhaustive matrices: in full with `make test-all`, a seeded sample otherwise."""

from __future__ import annotations

import random
from typing import Any

import pytest


def sampled(config: pytest.Config, cases: list[Any], count: int) -> list[Any]:
    """All cases with `--all`, else `count` of them, chosen by the seed that the report names."""
    if config.getoption("--all"):
        return cases
    return sorted(random.Random(config.getoption("--seed")).sample(cases, min(count, len(cases))))
