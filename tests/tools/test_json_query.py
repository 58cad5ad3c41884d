"""JMESPath over data and over JSON text."""

from __future__ import annotations

from typing import Any

import pytest

from activities.adapters.base import ToolFailed
from activities.tools.json_query import json_query

ORDERS = {"orders": [{"id": 1, "total": 5}, {"id": 2, "total": 50}]}


@pytest.mark.parametrize("data", [ORDERS, '{"orders": [{"id": 1, "total": 5}, {"id": 2, "total": 50}]}'])
def test_data_and_text(data: Any) -> None:
    assert json_query(data, "orders[?total > `10`].id") == [2]
    assert json_query(data, "sum(orders[].total)") == 55
    assert json_query(data, "nothing.here") is None


@pytest.mark.parametrize(
    ("data", "query", "told"),
    [
        ("{broken", "a", "not JSON"),
        (ORDERS, "orders[", "cannot be answered"),
        (ORDERS, "", "cannot be answered"),
        (ORDERS, "unknown(orders)", "cannot be answered"),
        (ORDERS, "abs(orders)", "cannot be answered"),
        ("[" * 100_000, "a", "nested too deeply"),
        (ORDERS, "!" * 2000 + "a", "nested too deeply"),
    ],
)
def test_refusals(data: Any, query: str, told: str) -> None:
    with pytest.raises(ToolFailed, match=told):
        json_query(data, query)
