"""What all parts of the suite share: the adapter's cases, its two halves, a model server, and steps in other processes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import pytest

from activities.adapters.base import Adapter, Answer, FrameworkDefinition, JsonObject
from activities.adapters.registry import PACKAGES, definition_for, load_adapter
from omium_core.settings import Settings
from tests.conformance.runs import DEFAULT_MODEL, Case
from tests.support.model_server import ModelServer


class Setting:
    """Every case begins with a step that calls the model."""

    framework: ClassVar[str]
    cases: ClassVar[tuple[Case, ...]]
    #: Cases with steps that ask people. They are run by the tests of questions only.
    asking_cases: ClassVar[tuple[Case, ...]] = ()

    @pytest.fixture(scope="class")
    def adapter(self, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
        return load_adapter(self.framework, Settings(), tmp_path_factory.mktemp("scratch"))

    @pytest.fixture
    def definition(self) -> FrameworkDefinition:
        return definition_for(self.framework)

    @pytest.fixture
    def server(self) -> Iterator[ModelServer]:
        with ModelServer() as server:
            yield server


async def step_in_a_process(
    framework: str,
    case: Case,
    server: ModelServer,
    state: JsonObject | None,
    index: int,
    answers: Mapping[str, Answer] | None = None,
) -> dict[str, Any]:
    """One step in a new process; a state of None is the one before the first step."""
    assert framework in PACKAGES
    given = {name: asdict(answer) for name, answer in (answers or {}).items()}
    asked: dict[str, Any] = {"framework": framework, "definition": case.definition, "inputs": case.inputs}
    asked |= {"state": state, "index": index, "attempt": len(given) + 1, "answers": given}
    asked |= {"base_url": server.base_url, "default_model": DEFAULT_MODEL, "execution_id": "elsewhere"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.conformance.step_process",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    out, err = await process.communicate(json.dumps(asked).encode())
    assert process.returncode == 0, err.decode()
    answer: dict[str, Any] = json.loads(out.decode().splitlines()[-1])
    return answer
