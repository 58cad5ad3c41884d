"""Options of the whole suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run exhaustive matrices in full")
    parser.addoption("--seed", type=int, default=20_261_122, help="chooses the sample of the exhaustive matrices")


def pytest_report_header(config: pytest.Config) -> str:
    chosen = "all cases" if config.getoption("--all") else f"a sample with --seed {config.getoption('--seed')}"
    return f"exhaustive matrices: {chosen}"
