"""The examples of the page for users are right."""

from __future__ import annotations

import json
import re
from pathlib import Path

from activities.contracts.problems import contract_problems
from activities.contracts.reading import SECTIONS, read

PAGE = Path(__file__).parents[2] / "docs" / "contracts.md"


def test_examples_of_the_page() -> None:
    examples = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)]
    assert {section for example in examples for section in example} == set(SECTIONS) - {"policies"}
    names = {"verify", "pay_out", "write", "publish"}
    for example in examples:
        assert contract_problems(example, names) == []
        assert read(example)
