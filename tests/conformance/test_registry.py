"""Frameworks are found by name, and only by a known one."""

from __future__ import annotations

from pathlib import Path

import pytest

from activities.adapters.registry import PACKAGES, definition_for, load_adapter
from omium_core.errors import InvalidInput
from omium_core.settings import FRAMEWORKS, Settings


def test_every_framework_of_the_settings_has_an_adapter() -> None:
    assert set(PACKAGES) == set(FRAMEWORKS)
    for name in FRAMEWORKS:
        assert definition_for(name).name == name


@pytest.mark.parametrize("name", ["", "crew", "CrewAI", "os", "..langgraph", "langgraph.adapter"])
def test_an_unknown_framework_is_told_with_the_known_ones(name: str, tmp_path: Path) -> None:
    for load in (definition_for, lambda name: load_adapter(name, Settings(), tmp_path)):
        with pytest.raises(InvalidInput) as refused:
            load(name)
        assert [problem.path for problem in refused.value.problems] == ["framework"]
        assert all(known in refused.value.message for known in PACKAGES)
