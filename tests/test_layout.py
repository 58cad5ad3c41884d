"""The layout of the tree: its import names, the length of its files, and what the API does not load."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from omium_core.settings import OWN_MODULES

ROOT = Path(__file__).parents[1]
OURS = {"omium", "omium-server"}
LONGEST = 400
TREES = ("api", "models", "workflows", "activities", "workers", "omium_core", "sdk", "tests", "benchmarks")


def test_no_other_distribution_has_one_of_our_import_names() -> None:
    owners = packages_distributions()
    # an editable installation may not list what it holds; then nobody else may either
    others = {name: set(owners.get(name, ())) - OURS for name in OWN_MODULES}
    assert not {name: owner for name, owner in others.items() if owner}


@pytest.mark.parametrize("name", sorted(OWN_MODULES))
def test_our_names_lead_to_this_tree(name: str) -> None:
    found = __import__(name).__file__
    assert found is not None
    assert Path(found).is_relative_to(ROOT)


def test_no_file_is_too_long_to_be_read() -> None:
    files = [path for tree in TREES for path in (ROOT / tree).rglob("*.py")]
    assert len(files) > 100
    long = {str(path.relative_to(ROOT)): n for path in files if (n := len(path.read_text().splitlines())) > LONGEST}
    assert not long


def test_api_loads_no_framework() -> None:
    frameworks = ("crewai", "langgraph", "langchain_core", "openai", "litellm")
    code = f"import sys, api.app; print([name for name in {frameworks!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
